"""The paper's loss on the rule of this project: a host gives the error, cross entropy's gradient.

Xiao et al. (arXiv 2302.00232), section 4: the error of class i is the label's 0 or 1 less the
softmax of the logits. Here the host makes it of the integers that the core has sent, and gives it
back in `error_bits` bits and a sign; everything behind it is the same as with the judge's.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hw.contract.checks import require
from hw.contract.learning import RATES
from hw.contract.network import Network
from hw.learn.masters import Masters
from sw.spide.twin import FastLearner, Outcome

__all__ = ["SoftmaxTeacher", "softmax_error", "softmax_network"]


def softmax_network(network: Network, error_bits: int) -> Network:
    """The same network for errors of so many bits: what they are larger than 1, the injection and
    the readout's rate are smaller."""
    learning = network.spec.learning
    assert learning is not None
    inject = learning.inject_shift - error_bits
    require(inject >= 0, f"Errors must have at most {learning.inject_shift} bits here")
    rates = (*learning.rates[:-1], min(learning.rates[-1] + error_bits, RATES.stop - 1))
    return replace(
        network,
        spec=replace(
            network.spec,
            learning=replace(learning, error_bits=error_bits, inject_shift=inject, rates=rates),
        ),
    )


def softmax_error(
    logits: npt.NDArray[np.integer], label: int, most: int, temperature: float
) -> npt.NDArray[np.int64]:
    """(classes,) integers in +-`most`: most * (label's 0 or 1 - softmax(logits / temperature))."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max())
    wanted = np.zeros(len(logits))
    wanted[label] = 1
    return np.rint(most * (wanted - powers / powers.sum())).astype(np.int64)


class SoftmaxTeacher:
    """A learner of a session (`sw.spide.session.Learns`) whose error is always given.

    Parameters
    ----------
    masters
        Of a `softmax_network`; changed.
    temperature
        What the logits are divided by.

    Attributes
    ----------
    masters
        As they are now.
    """

    def __init__(self, masters: Masters, temperature: float) -> None:
        self._learner, self._temperature = FastLearner(masters), temperature
        self.masters = masters
        learning = masters.spec.learning
        assert learning is not None
        self._most = learning.error_max

    @property
    def rates(self) -> list[int]:
        """k of each learned edge; it may be set."""
        return self._learner.rates

    @rates.setter
    def rates(self, rates: list[int]) -> None:
        self._learner.rates = rates

    def learn_all(self, images: npt.ArrayLike, labels: npt.ArrayLike) -> Sequence[Outcome]:
        """Learn from images (n, pixels) with labels (n,), in their order."""
        found = []
        for image, label in zip(np.asarray(images), np.asarray(labels).tolist(), strict=True):
            logits = self._learner.infer(image).logits
            error = softmax_error(logits, label, self._most, self._temperature)
            found.append(self._learner.learn(image, label, error))
        return found

    def classify(self, images: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Classes (n,) of images (n, pixels); nothing is learned."""
        return self._learner.classify(images)
