"""All values of one sample that a network learned from: what models and hardware agree on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Sample"]

Int = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """All that happened for one sample.

    spikes, potentials
        Of each firing layer, (T_F, neurons).
    counts
        N of each firing layer, (neurons,): its coefficients, added up over the steps.
    logits
        (classes,).
    error
        (classes,); all 0: nothing was learned.
    learned
        Whether anything is changed.
    back_spikes, back_potentials
        r, before the mask, and u of the backward stage, (T_B, neurons) of each learning group.
    masks, back_counts
        a, and B after the mask, (neurons,) of each learning group.
    random
        R, the word of the dither; the same as before where nothing was learned.
    """

    spikes: tuple[Int, ...]
    potentials: tuple[Int, ...]
    counts: tuple[Int, ...]
    logits: Int
    error: Int
    learned: bool
    back_spikes: tuple[Int, ...]
    back_potentials: tuple[Int, ...]
    masks: tuple[Int, ...]
    back_counts: tuple[Int, ...]
    random: int

    @property
    def label(self) -> int:
        """The class: the first maximum of the logits."""
        return int(self.logits.argmax())
