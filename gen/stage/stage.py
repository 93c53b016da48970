"""A stage as it is planned: what a core is a chain of, and all that anybody asks of one.

A layer with hardware of its own is one kind (`gen.layer.stage`), a program that runs layers in
turn another (`gen.program.stage`). Files, benches, planner, estimates and laws ask the stage.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gen.stage.taps import Tap
from hw.contract.checks import SternaError
from hw.contract.layout import MapLayout
from hw.contract.network import Network
from hw.stage import Stage

__all__ = ["NEVER", "Memory", "PlanError", "Rom", "StagePlan", "StageTimes", "WordFormat"]

Pixels = npt.NDArray[np.integer]
Spikes = Sequence[npt.NDArray[Any]]

NEVER = -(10**9)
"""A time before all others: what has not happened holds nothing up."""


class PlanError(SternaError, ValueError):
    """Hardware that cannot be built for this network."""


class WordFormat(NamedTuple):
    """Words of coefficients: how many in a word, bits of a magnitude, whether there is a sign."""

    count: int
    planes: int
    signed: bool

    @property
    def bits(self) -> int:
        """Bits of a word."""
        return self.count * (self.planes + self.signed)


@dataclass(frozen=True, kw_only=True)
class Rom:
    """Contents of a ROM: rows of so many bits, and a line that says what they are.

    `swappable`: large enough that random contents are unmistakable, so that others can be put into
    a routed design (`gen.family.rom_swap`).
    """

    head: str
    rows: Sequence[int]
    bits: int
    swappable: bool

    @property
    def text(self) -> str:
        """A `$readmemh` file: a comment, then a row per line."""
        digits = -(-self.bits // 4)
        return f"// {self.head}\n" + "".join(f"{row:0{digits}x}\n" for row in self.rows)


class Memory(NamedTuple):
    """A memory of a stage. `kept`: in block RAM whatever its size; `sprams`: single-port RAMs that
    it is built of in place of block RAM (an iCE40 UP5K's)."""

    bits: int
    rows: int
    kept: bool
    sprams: int = 0


class StageTimes(ABC):
    """The cycle law of a stage: when it does what, streams flowing. A time is the number of the
    cycle of a hand-shake.

    Whoever feeds a stage calls `take` for each burst of words and `play` after the last word of
    each vector (what the stage receives for a time step, or once where its input is constant).
    Every time depends on earlier ones only, so that one pass in the order of pictures and steps
    finds them all.

    Attributes
    ----------
    word_size
        Coefficients of a word that the stage takes.
    done
        Of a readout: the cycle of the last logit so far.
    """

    word_size: int
    done: int = NEVER

    @abstractmethod
    def prepare(self, pixels: Pixels, spikes: Spikes) -> None:
        """The next pictures or recordings, (n, size), and what the layers that fire send for them,
        (n, T, neurons) each."""

    @abstractmethod
    def begin(self, n: int) -> None:
        """Number n of those prepared is fed from now on."""

    @abstractmethod
    def take(self, offer: int, count: int, interval: int = 1) -> int:
        """When the last of `count` words is taken, the first offered from cycle `offer` on, each
        other one `interval` cycles after the one before was taken. All are of one vector."""

    @abstractmethod
    def play(self, vector: int) -> None:
        """All words of a vector of this picture have been taken."""


class StagePlan(ABC):
    """A stage of a core: some layers of a network, and how they are laid out.

    Attributes
    ----------
    network, layers
        The network, and the numbers of the layers that the stage runs.
    lanes, banks
        Neurons or channels per cycle, and events per cycle.
    input
        Words that the stage takes.
    words, vectors
        Words of a vector; vectors of a picture or recording (T, or 1 where the input is constant).
    sizes_of
        Whose weights the estimate of look-up tables takes (`gen.board.estimate`).
    law_images
        Pictures over which the law's mean cycles are worth their time.
    sources
        Verilog that memories are instances of.
    label_bits
        Of the class that is known of a picture, where a stage learns from it; else 0.
    """

    network: Network
    layers: range
    lanes: int
    banks: int
    input: WordFormat
    words: int
    vectors: int
    sizes_of: str
    law_images: int
    sources: tuple[str, ...] = ("sterna_rom.v",)
    label_bits: int = 0

    @abstractmethod
    def component(self, *, files: bool = True, events: bool = False, taps: bool = False) -> Stage:
        """The hardware; its ROMs are read from files, or, without `files`, are Amaranth's."""

    @abstractmethod
    def roms(self) -> dict[str, Rom]:
        """ROM contents by file name, relative to the folder of the Verilog."""

    @abstractmethod
    def times(self, after: StageTimes | None, lead: int) -> StageTimes:
        """The stage's cycle law, in front of the one `after` it. `lead`: cycles from the first
        without reset to the one that takes the first word."""

    @abstractmethod
    def expected_cycles(self) -> float:
        """Cycles of a picture at the network's own activity (`Network.densities`)."""

    @abstractmethod
    def additions(self, pixels: Pixels, spikes: Spikes) -> int:
        """Rows of weights that are added for one picture (size,) or recording, by the spikes
        (T, neurons) of the layers that fire."""

    @abstractmethod
    def taps(self) -> list[Tap]:
        """What the component's taps must show, in their order."""

    @abstractmethod
    def clock_hz(self, clocks: Any) -> int:
        """The clock of a stage like this on a board (`gen.board.boards.Board`), in Hz."""

    @abstractmethod
    def sizes(self) -> dict[str, float]:
        """Sizes of what costs look-up tables, in bits, by name."""

    def port_facts(self) -> Any:
        """What a board's host port needs to know of a stage that learns
        (`hw.link.learning.LearningFacts`); None: it does not learn."""
        return None

    def around(self, spec: Any) -> dict[str, float]:
        """Sizes of what a stage like this needs once around the core (`hw.top.board.BoardSpec`)."""
        return {}

    @abstractmethod
    def weight_memories(self) -> dict[str, list[Memory]]:
        """The memories that each layer's weights would need by themselves, by layer."""

    @abstractmethod
    def memories(self) -> dict[str, Memory]:
        """Memories by name, for counting block RAM."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Which layers it runs, and how, as plain data."""

    def layer_facts(self) -> list[dict[str, Any]]:
        """Of each layer with hardware of its own: layout, widths and ROM files, as plain data."""
        return []

    @abstractmethod
    def rows_for_people(self) -> list[tuple[str, object]]:
        """What `sterna info` prints."""

    @abstractmethod
    def how(self, count: int) -> str:
        """How so many stages like this in a row are described, beside their lanes."""

    @property
    def layout(self) -> MapLayout | None:
        """How a picture lies in the stage's words; None: one value after the other."""
        return None

    @property
    def settle(self) -> int:
        """Cycles after reset before the first word may be offered."""
        return 0

    @property
    def intake(self) -> int:
        """Cycles from the first word's being offered to its being taken."""
        return 0

    @property
    def memory(self) -> str:
        """Where the weights are: `rom`, or `ram` or `spram`, loaded at power-up."""
        return "rom"

    @abstractmethod
    def flash_rows(self) -> list[tuple[int, list[int]]]:
        """Of each weight memory that is loaded: bits of a row, and its rows."""

    @abstractmethod
    def pack(self, pixels: Pixels) -> list[int]:
        """Words of the input stream for pictures or recordings (n, size), in order."""
