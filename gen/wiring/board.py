"""A board: what is on it, what its tools call it, and the constraint file of its pins."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gen.family.base import Chip, Family, Part, Pin
from gen.family.pll import clock_up_to
from gen.wiring.platforms import oscillator_of, part_of, pins_of, platform_class
from hw.contract.checks import SternaError
from hw.contract.link import FROM_FILE

__all__ = ["Board", "BoardError", "Wiring", "constraints"]


class BoardError(SternaError, ValueError):
    """A board that Sterna does not know, or cannot be made of its description."""


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """Pins of the top's ports, and the frequency in Hz at port `clk`."""

    pins: tuple[Pin, ...]
    oscillator_hz: int


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board.

    Parameters
    ----------
    name, title
        As on the command line, and for people.
    number
        What the bitstream answers to IDENTIFY; never changes and is never used again, but for that
        of boards that are described.
    family
        Of its chip, as it is on that: which tools build for it, and what they can.
    chip, package, grade
        The device, and its package and speed grade in the tools' words.
    platform
        Class of amaranth-boards that has pins and oscillator, as `module:class`; "" with `wiring`.
    wiring
        Pins and oscillator of a board that is described.
    loader
        What openFPGALoader calls the board; "" where nobody said it.
    sram
        Whether a bitstream can be loaded without writing a flash.
    core_hz
        Clock of every core unless asked otherwise; None: the chip's, by kind of core.
    flash
        Whether the top reads the board's SPI flash (`flash_*` ports): block RAM is too small.
    model
        Network unless asked otherwise.
    description
        Of a board that is described: what `gen.wiring.board_file` makes it of again.
    """

    name: str
    title: str
    number: int
    family: Family
    chip: Chip
    package: str
    grade: str = ""
    platform: str = ""
    wiring: Wiring | None = None
    loader: str = ""
    sram: bool = True
    core_hz: int | None = None
    flash: bool = False
    model: str = "digits-dense"
    description: Mapping[str, Any] | None = None
    _made: dict[float, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def luts(self) -> int:
        """Look-up tables of the device."""
        return self.chip.luts

    @property
    def ffs(self) -> int:
        """Flip-flops of the device."""
        return self.chip.ffs

    @property
    def brams(self) -> int:
        """Block RAMs of the device."""
        return self.chip.brams

    @property
    def sprams(self) -> int:
        """Single-port RAMs of the device."""
        return self.chip.sprams

    @cached_property
    def flags(self) -> tuple[str, ...]:
        """Arguments that make nextpnr know the device."""
        return Part(chip=self.chip, package=self.package, grade=self.grade).flags

    @property
    def pack(self) -> tuple[str, ...]:
        """Arguments of the packer."""
        return self.chip.pack

    @property
    def described(self) -> bool:
        """Whether it is a board of a file or of amaranth-boards: nothing was measured on it."""
        return self.number == FROM_FILE

    def clock_hz(self, banks: int) -> int:
        """Clock of a core of layer stages with so many banks, in Hz, unless asked otherwise."""
        clocks = self.chip.clocks.layers
        return self._clock(clocks[max(n for n in clocks if n <= banks)])

    @property
    def shared_clock(self) -> int:
        """The same of program stages."""
        return self._clock(self.chip.clocks.shared)

    @property
    def window_clock(self) -> int:
        """The same of window stages."""
        return self._clock(self.chip.clocks.windows)

    def _clock(self, hz: int) -> int:
        """`hz`, or the nearest below it that the board's oscillator makes."""
        if self.core_hz is not None:
            return self.core_hz
        if hz not in self._made:
            self._made[hz] = clock_up_to(self, hz)
        return self._made[hz]

    @property
    def oscillator_hz(self) -> int:
        """Frequency at the pin of port `clk`."""
        if self.wiring is not None:
            return self.wiring.oscillator_hz
        return oscillator_of(platform_class(self.platform))

    @property
    def part(self) -> str:
        """The device in its vendor's words, for people."""
        if self.platform:
            return part_of(platform_class(self.platform))
        return "-".join(word for word in (self.chip.name, self.package, self.grade) if word)

    @cached_property
    def pins(self) -> tuple[Pin, ...]:
        """Pins of the top's ports."""
        if self.wiring is not None:
            return self.wiring.pins
        return pins_of(platform_class(self.platform), self.flash)

    @property
    def led_active_low(self) -> bool:
        """Whether the LED shines at 0."""
        return next(pin.inverted for pin in self.pins if pin.port == "led")


def constraints(board: Board) -> tuple[str, str]:
    """(file name, text) of the constraints that nextpnr reads: pins, levels, oscillator."""
    lines = board.family.constraints(board.pins, board.oscillator_hz)
    return board.family.flow.constraints, "".join(line + "\n" for line in lines)
