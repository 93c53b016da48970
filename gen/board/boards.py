"""The boards that Sterna makes bitstreams for, and the constraint files of their pins.

Pins, device and oscillator come from amaranth-boards; nothing of that is typed again here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from types import MappingProxyType
from typing import Any

from gen.family.base import Family, Pin
from gen.family.registry import FAMILIES
from gen.family.tools import ToolError
from hw.contract.checks import SternaError
from hw.contract.text import none_of, to_install

__all__ = ["BOARDS", "Board", "BoardError", "constraints", "find_board"]

PORTS = (("rx", "uart", "rx"), ("tx", "uart", "tx"), ("led", "led", ""))
FLASH_PORTS = tuple(
    (f"flash_{port}", "spi_flash_1x", name)
    for port, name in (("cs_n", "cs"), ("clk", "clk"), ("copi", "copi"), ("cipo", "cipo"))
)
"""(port of the board top, resource of amaranth-boards, its signal)"""


class BoardError(SternaError, ValueError):
    """A board that Sterna does not know."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board: what is on it, and what its tools call it.

    Parameters
    ----------
    name, title
        As on the command line, and for people.
    number
        What the bitstream answers to IDENTIFY; never changes and is never used again.
    family
        Of its chip: which tools build for it, and what they can.
    platform
        Class of amaranth-boards that has the pins, as `module:class`.
    flags
        Arguments that make nextpnr know the device.
    pack
        Arguments of the packer.
    loader
        What openFPGALoader calls the board.
    sram
        Whether a bitstream can be loaded without writing a flash.
    clocks
        Clock of the core unless asked otherwise, in Hz, by the number of banks from which on it
        holds: what a full chip reaches after routing (docs/results.md).
    shared_clock, window_clock
        The same of program stages, and of window stages.
    luts, ffs, brams, sprams
        What the device has.
    flash
        Whether the top reads the board's SPI flash (`flash_*` ports): block RAM is too small.
    model
        Network unless asked otherwise.
    """

    name: str
    title: str
    number: int
    family: Family
    platform: str
    flags: tuple[str, ...]
    pack: tuple[str, ...] = ()
    loader: str
    sram: bool = True
    clocks: Mapping[int, int]
    shared_clock: int
    window_clock: int
    luts: int
    ffs: int
    brams: int
    sprams: int = 0
    flash: bool = False
    model: str

    @cached_property
    def _class(self) -> Any:
        module, _, name = self.platform.partition(":")
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError:
            raise ToolError(
                f"amaranth-boards is missing: {to_install('amaranth-boards')}"
            ) from None

    def _resource(self, name: str) -> Any:
        return next(r for r in self._class.resources if (r.name, r.number) == (name, 0))

    def clock_hz(self, banks: int) -> int:
        """Clock of a core with so many banks, in Hz, unless asked otherwise."""
        return self.clocks[max(n for n in self.clocks if n <= banks)]

    @property
    def oscillator_hz(self) -> int:
        """Frequency at the pin of port `clk`."""
        return round(self._resource(self._class.default_clk).clock.frequency)

    @property
    def part(self) -> str:
        """The device in its vendor's words, for people."""
        cls = self._class
        return getattr(cls, "part", None) or f"{cls.device}-{cls.package}"

    @cached_property
    def pins(self) -> tuple[Pin, ...]:
        """Pins of the top's ports."""
        ports = (("clk", self._class.default_clk, ""), *PORTS)
        return tuple(self._pin(*port) for port in ports + (FLASH_PORTS if self.flash else ()))

    def _pin(self, port: str, resource: str, signal: str) -> Pin:
        found = self._resource(resource)
        ios = [io for io in found.ios if not signal or io.name == signal]
        pins = ios[0].ios[0] if signal else ios[0]
        attributes = {**found.attrs, **(ios[0].attrs if signal else {})}
        return Pin(
            port=port,
            site=pins.names[0],
            output=pins.dir == "o",
            inverted=pins.invert,
            attributes=MappingProxyType(attributes),
        )

    @property
    def led_active_low(self) -> bool:
        """Whether the LED shines at 0."""
        return next(pin.inverted for pin in self.pins if pin.port == "led")


BOARDS = {
    board.name: board
    for board in (
        Board(
            name="ulx3s_85f",
            title="Radiona ULX3S-85F",
            number=1,
            family=FAMILIES["ecp5"],
            platform="amaranth_boards.ulx3s:ULX3S_85F_Platform",
            flags=("--85k", "--package", "CABGA381", "--speed", "6"),
            pack=("--compress",),
            loader="ulx3s",
            clocks={1: 100_000_000, 2: 87_500_000, 8: 75_000_000},
            shared_clock=45_000_000,
            window_clock=55_000_000,
            luts=83640,
            ffs=83640,
            brams=208,
            model="mnist-dense",
        ),
        Board(
            name="icebreaker",
            title="1BitSquared iCEBreaker",
            number=2,
            family=FAMILIES["ice40"],
            platform="amaranth_boards.icebreaker:ICEBreakerPlatform",
            # -s: do not put the flash to sleep after configuration; the top reads on.
            flags=("--up5k", "--package", "sg48"),
            pack=("-s",),
            loader="ice40_generic",
            sram=False,
            clocks={1: 24_000_000},
            shared_clock=18_000_000,
            window_clock=18_000_000,
            luts=5280,
            ffs=5280,
            brams=30,
            sprams=4,
            flash=True,
            model="mnist-dense",
        ),
        Board(
            name="tang_nano_9k",
            title="Sipeed Tang Nano 9K",
            number=3,
            family=FAMILIES["gowin"],
            platform="amaranth_boards.tang_nano_9k:TangNano9kPlatform",
            flags=("--device", "GW1NR-LV9QN88PC6/I5", "--vopt", "family=GW1N-9C"),
            pack=("-d", "GW1N-9C"),
            loader="tangnano9k",
            clocks={1: 67_500_000},
            shared_clock=27_000_000,
            window_clock=27_000_000,
            luts=8640,
            ffs=6480,
            brams=26,
            model="digits-dense",
        ),
    )
}


def find_board(name: str) -> Board:
    """The board of that name.

    Raises
    ------
    BoardError
        For any other name; the sentence lists the boards.
    """
    if name not in BOARDS:
        raise BoardError(none_of("Board", name, BOARDS))
    return BOARDS[name]


def constraints(board: Board) -> tuple[str, str]:
    """(file name, text) of the constraints that nextpnr reads: pins, levels, oscillator."""
    lines = board.family.constraints(board.pins, board.oscillator_hz)
    return board.family.flow.constraints, "".join(line + "\n" for line in lines)
