"""A board's description, tried on its tools before a long build: some seconds, once."""

from pathlib import Path

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from gen.board.bitstream import pack, place_and_route, synthesize, write_constraints
from gen.family.tools import ToolError
from gen.stage.emit import verilog_text
from gen.wiring.board import Board, BoardError
from hw.contract.files import write_atomically
from hw.system.progress import Progress, announced, silent
from hw.top.pll import PllSpec, pll_instance

__all__ = ["try_board"]

TOP = "top"


def try_board(
    board: Board,
    pll: PllSpec | None,
    folder: Path,
    *,
    megahertz: float,
    progress: Progress = silent,
) -> None:
    """Build a bitstream of nothing but the board's pins and clock in `folder`: so a pin that the
    package has not, a level that its bank cannot have, or a clock generator that the oscillator's
    pin does not reach is known at once, and not after synthesis.

    Parameters
    ----------
    pll
        Clock generator of the design that is to be built; None: the oscillator is the clock.
    megahertz
        The clock.

    Raises
    ------
    BoardError
        With the tool's own words.
    """
    flow = board.family.flow
    folder.mkdir(parents=True, exist_ok=True)
    with announced(progress, "trying the board's pins and clock"):
        text = verilog_text(Pins(board, pll), TOP)
        write_atomically(folder / f"{TOP}.v", text.encode())
        try:
            synthesize(flow, folder, TOP, [f"{TOP}.v"], silent)
            limits = write_constraints(board, folder)
            arguments = [*board.flags, *limits, flow.routed_flag, flow.routed]
            place_and_route(flow, arguments, folder, megahertz, 1)
            pack(board, folder, flow.routed, f"{TOP}.{flow.bitstream}")
        except ToolError as error:
            raise BoardError(f"Board {board.name} cannot be as it is described: {error}") from None


class Pins(wiring.Component):
    """Uses every pin, and the clock: what comes in goes out through a register for each output.

    Members
    -------
    One bit of each of the board's ports, by its name.
    """

    clk: Signal

    def __init__(self, board: Board, pll: PllSpec | None) -> None:
        self._pins, self._pll = board.pins, pll
        super().__init__({p.port: Out(1) if p.output else In(1) for p in board.pins})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = ClockDomain("sync", reset_less=True)
        clock, locked = Signal(), Signal()
        if self._pll is None:
            m.d.comb += [clock.eq(self.clk), locked.eq(1)]
        else:
            m.submodules.pll = pll_instance(self._pll, self.clk, clock, locked)
        m.d.comb += ClockSignal("sync").eq(clock)
        inputs = [getattr(self, p.port) for p in self._pins if not p.output and p.port != "clk"]
        outputs = [getattr(self, p.port) for p in self._pins if p.output]
        bits = Signal(len(outputs) + 1)
        m.d.sync += bits.eq(Cat(Cat(locked, *inputs).xor(), bits))
        m.d.comb += [port.eq(bit) for port, bit in zip(outputs, bits[1:], strict=True)]
        return m
