"""A network with all that can be done with it: run, learn on, made hardware of."""

import math
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gen.board.boards import find_board
from gen.board.planner import plan_board
from gen.core.plan import plan_network
from hw.contract import network as contract
from hw.contract.checks import InputError, SpecError, plain_array, require_int
from hw.contract.encoding import plain_labels
from hw.contract.learning import LearningSpec
from hw.learn.masters import Masters, before_learning, masters_path
from sim.golden.model import GoldenModel, Trace
from sw.data.arrays import Dataset
from sw.data.evaluate import Accuracy, accuracy
from sw.data.shipped import load_test_images, model_path
from sw.front.core import BoardPlan, Core, path_of, writing
from sw.host.address import BUILD

__all__ = ["Network", "load"]


class Network(contract.Network):
    """A network: specification, integers, and what can be done with them.

    `x` below are raw examples (n, ...) where the specification has an `encoding` (networks made
    from data of one's own), else pixels (n, pixels) or (n, ...), whole numbers 0 .. 2^bits - 1.
    Labels are those of the encoding, else class numbers.
    """

    masters: Masters | None = None
    """What learning goes on from, where the network has learned."""

    def __repr__(self) -> str:
        spec = self.spec
        sizes = "-".join(map(str, (spec.input_size, *(layer.neurons for layer in spec.layers))))
        return f"Network({spec.name!r}: {sizes}, T = {spec.steps}, digest {self.digest[:16]})"

    @classmethod
    def of(cls, network: contract.Network, masters: Masters | None = None) -> Self:
        """A network as `hw.contract` has it."""
        made = cls(**{f.name: getattr(network, f.name) for f in fields(contract.Network)})
        object.__setattr__(made, "masters", masters)
        return made

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a network file, and the masters beside it if there are any.

        Raises
        ------
        NetworkError, MastersError
            One sentence, for a file that is not what it should be.
        """
        network, beside = contract.Network.load(path), masters_path(path)
        learns = network.spec.learning is not None and beside.exists()
        return cls.of(network, Masters.load(beside, network) if learns else None)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the network file, and the masters beside it where it has learned."""
        file = path_of("Network file", path)
        with writing(file):
            super().save(file)
            if self.masters is not None:
                self.masters.save(masters_path(file))
        return file

    def encode(self, x: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Pixels of examples, uint8 (n, image_size): what hardware and boards are given.

        Raises
        ------
        InputError
            When they are not such as the network takes.
        """
        spec = self.spec
        if spec.encoding is not None:
            return spec.encoding.encode(x, spec.input_bits)
        array = plain_array("Pixels", x)
        if array.ndim > 2:
            array = array.reshape(len(array), math.prod(array.shape[1:]))
        try:
            return GoldenModel(self).check_pixels(array)
        except InputError as error:
            bytes_given = array.dtype == np.uint8 and int(array.max(initial=0)) > spec.pixel_max
            more = f": x >> {8 - spec.input_bits} makes such pixels of bytes" * bytes_given
            raise InputError(f"{error}{more}") from None

    def classify(self, x: npt.ArrayLike) -> npt.NDArray[Any]:
        """Labels (n,) of examples, by the golden model.

        Raises
        ------
        InputError
            As of `encode`.
        """
        classes = GoldenModel(self).classify(self.encode(x))
        encoding = self.spec.encoding
        return classes if encoding is None else encoding.names(classes)

    def trace(self, x: npt.ArrayLike) -> Trace:
        """All that happens for examples, by the golden model: of each firing layer `spikes` and
        `potentials` (n, T, neurons); `logits` (n, classes); `classes` (n,), numbers.

        Raises
        ------
        InputError
            As of `encode`.
        """
        return GoldenModel(self).run(self.encode(x))

    def accuracy(self, data: Dataset) -> Accuracy:
        """Correct answers on the test part of a data set, with their number.

        Raises
        ------
        DataError, EvaluateError
            When the data set does not fit.
        """
        if not isinstance(data, Dataset):
            raise InputError(f"Data must be a sterna.Dataset, not a {type(data).__name__}")
        return accuracy(self, load_test_images(self, folder=data))

    def learn(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        passes: int = 1,
        readout_only: bool = False,
        learning: LearningSpec | None = None,
    ) -> "Network":
        """The network after it has learned from labelled examples, one after the other, by spikes
        alone (SPIDE, arXiv 2302.00232; docs/learning.md); this one is not changed. Every value is
        that of a learning core.

        Parameters
        ----------
        y
            Labels (n,).
        passes
            Over the examples, in the order they come in.
        readout_only
            Nothing but the readout learns. So does a network whose specification has no
            `learning`: `sw.spide.start.readout_learning` gives it one.
        learning
            In place of that.

        Raises
        ------
        InputError
            For examples that the network does not take, labels that it does not know, and fewer
            passes than one.
        SpecError
            When the network cannot learn.
        """
        from sw.spide.start import readout_learning, readout_masters
        from sw.spide.twin import FastLearner

        pixels, numbers = self.encode(x), self.numbers(y)
        if len(pixels) != len(numbers):
            raise InputError(f"Labels must be {len(pixels)}, one for each example")
        if type(passes) is not int or passes < 1:
            raise InputError(f"Passes must be a positive number, not {passes!r}")
        if learning is not None and (self.masters or not isinstance(learning, LearningSpec)):
            raise InputError(
                "Learning must be a LearningSpec, of a network that has not learned yet, not "
                f"{learning!r}"
            )
        begun = self.masters
        if begun is not None:
            begun = replace(begun, arrays=[array.copy() for array in begun.arrays])
        elif learning is not None:
            begun = Masters.of(replace(self, spec=replace(self.spec, learning=learning)))
        elif self.spec.learning is None:
            begun = Masters.of(readout_learning(self))
        else:
            begun = Masters.of(self)
        assert begun.spec.learning is not None
        if readout_only and not begun.spec.learning.readout_only:
            begun = readout_masters(begun)
        learner = FastLearner(begun)
        for _ in range(passes):
            learner.learn_all(pixels, numbers)
        made = begun.working()
        return Network.of(replace(made, meta=before_learning(made.meta)), begun)

    def numbers(self, y: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Classes (n,) of labels.

        Raises
        ------
        InputError
            For a label that no class has.
        """
        encoding = self.spec.encoding
        array = plain_labels("Labels", y)
        if array.ndim != 1:
            raise InputError(f"Labels must have shape (n,), not {array.shape}")
        if encoding is not None and encoding.labels:
            return encoding.numbers(array)
        most = self.spec.classes - 1
        if array.dtype.kind != "i":
            raise InputError("Labels must be class numbers, not text")
        if array.size and not 0 <= int(array.min()) <= int(array.max()) <= most:
            raise InputError(f"Labels must lie in 0..{most}")
        return array.astype(np.int64)

    def core(self, lanes: int | None = None, banks: int = 1, schedule: str = "auto") -> Core:
        """Hardware for it.

        Parameters
        ----------
        lanes
            Neurons per cycle; by default 128, of a program 16.
        banks
            Events per cycle: 1, 2, 4, 8 or 16.
        schedule
            `pipelined`, `shared`, `mixed`, `windows`, or what suits the network
            (docs/program.md).

        Raises
        ------
        PlanError
            When there is no such core.
        """
        _check_layout(lanes, banks)
        return Core(plan_network(self, lanes, banks, schedule))

    def plan(
        self,
        board: str,
        *,
        lanes: int | None = None,
        banks: int | None = None,
        megahertz: float | None = None,
        schedule: str = "auto",
    ) -> BoardPlan:
        """How it would lie on a board: the layout of most images a second that fits, or the one
        that is asked for.

        Parameters
        ----------
        board
            One of `gen.board.boards.BOARDS`, the path of a board's file (docs/add-a-board.md), a
            board of amaranth-boards, or the name of one of a file that was built in `build/NAME`.
        megahertz
            Clock; by default what the layout is known to reach.
        lanes, banks, schedule
            As of `core`.

        Raises
        ------
        BoardError, PlanError
            When there is no such board, or the network does not fit on it.
        """
        _check_layout(lanes, banks)
        clock = () if megahertz is None else (megahertz,)
        if not all(isinstance(f, (int, float)) and 0 < f < 10_000 for f in clock):
            raise SpecError(f"Clock must be a number of MHz, not {megahertz!r}")
        return BoardPlan(
            plan_board(
                find_board(str(board), BUILD / str(board)),
                self,
                lanes=lanes,
                banks=banks,
                megahertz=megahertz,
                schedule=schedule,
            )
        )


def _check_layout(lanes: int | None, banks: int | None) -> None:
    for what, value in (("Lanes", lanes), ("Banks", banks)):
        if value is not None:
            require_int(what, value, 1, 65536)


def load(name_or_path: str | os.PathLike[str]) -> Network:
    """A shipped network by its name, or a network file.

    Raises
    ------
    UsageError, NetworkError
        When there is none, or it is not what it should be.
    """
    path = path_of("Network", name_or_path)
    try:
        return Network.load(model_path(str(path)))
    except OSError as error:
        raise contract.NetworkError(f"Network file {path} cannot be read: {error}") from None
