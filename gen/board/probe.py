"""A board's description, tried on its tools before a long build: some seconds, once."""

from pathlib import Path

from gen.board.bitstream import pack, place_and_route, synthesize, write_constraints
from gen.family.tools import ToolError
from gen.wiring.board import Board, BoardError
from hw.contract.files import write_atomically
from hw.system.progress import Progress, silent
from hw.top.pll import PllSpec

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
    progress("trying the board's pins and clock")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{TOP}.v", _design(board, pll).encode())
    try:
        synthesize(flow, folder, TOP, [f"{TOP}.v"], silent)
        limits = write_constraints(board, folder)
        arguments = [*board.flags, *limits, flow.routed_flag, flow.routed]
        place_and_route(flow, arguments, folder, megahertz, 1)
        pack(board, folder, flow.routed, f"{TOP}.{flow.bitstream}")
    except ToolError as error:
        raise BoardError(f"Board {board.name} cannot be as it is described: {error}") from None


def _design(board: Board, pll: PllSpec | None) -> str:
    """Verilog that uses every port, and the clock generator."""
    ports = ", ".join(f"{'output' if p.output else 'input'} {p.port}" for p in board.pins)
    outputs = [pin.port for pin in board.pins if pin.output]
    inputs = [pin.port for pin in board.pins if not pin.output and pin.port != "clk"]
    lines = [f"module {TOP}({ports});", "wire sys, locked, loop;"]
    lines.append("assign sys = clk, locked = 1;" if pll is None else _instance(pll))
    lines.append(f"reg [{len(outputs)}:0] bits;")
    lines.append(f"always @(posedge sys) bits <= {{bits, ^{{locked, {', '.join(inputs)}}}}};")
    lines += [f"assign {port} = bits[{n + 1}];" for n, port in enumerate(outputs)]
    return "\n".join([*lines, "endmodule", ""])


def _instance(spec: PllSpec) -> str:
    def value(given: int | str) -> str:
        return f'"{given}"' if isinstance(given, str) else str(given)

    parameters = ", ".join(f".{name}({value(v)})" for name, v in spec.parameters.items())
    attributes = "".join(f'(* {name}="{v}" *) ' for name, v in spec.attributes.items())
    ports = {name: f"{width}'d{v}" for name, (v, width) in spec.constants.items()}
    ports |= {spec.clock_in: "clk", spec.clock_out: "sys", spec.locked: "locked"}
    if spec.feedback is not None:
        source, target = spec.feedback
        ports[target] = ports.setdefault(source, "loop")
    wires = ", ".join(f".{name}({wire})" for name, wire in ports.items())
    return f"{attributes}{spec.module} #({parameters}) pll ({wires});"
