"""Whole boards under Verilator: the top that goes to synthesis, with what is soldered around it."""

from pathlib import Path

from gen.board.files import BOARD_TOP, StoredImages, generate_board
from gen.board.planner import BoardPlan
from hw.contract.files import write_atomically
from hw.system.process import fills_folder
from sim.board.simulation import WATCHDOG, BoardPins, BoardSimulation

__all__ = ["SIMULATED_TOP", "board_sources", "simulate_board"]

MODELS = Path(__file__).parent / "models"
SIMULATED_TOP = "sterna_board_sim"

FLASH = """
    wire cs_n, sck, copi, cipo;
    sterna_spi_flash #(.FILE("flash.hex"), .ADDRESS({address}), .SIZE({size}))
        flash (.cs_n(cs_n), .clk(sck), .copi(copi), .cipo(cipo));
"""
FLASH_PINS = ", .flash_cs_n(cs_n), .flash_clk(sck), .flash_copi(copi), .flash_cipo(cipo)"


def board_sources(plan: BoardPlan, folder: Path, stored: StoredImages | None = None) -> list[str]:
    """Write the board's design and a top around it with only the pins of clock, link and LED;
    return the names of the Verilog files.

    The clock pin of the simulation carries the system clock: the clock generator is a wire there.
    `stored`: what is put on the chip.
    """
    facts = generate_board(plan.core, plan.spec, plan.board, folder, stored)
    models = ["plls.v", "plls.vlt"]
    flash = pins = ""
    if plan.spec.flash_address is not None:
        models += ["spram.v", "spi_flash.v"]
        data = (folder / "flash.bin").read_bytes()
        write_atomically(folder / "flash.hex", "".join(f"{b:02x}\n" for b in data).encode())
        flash = FLASH.format(address=plan.spec.flash_address, size=len(data))
        pins = FLASH_PINS
    top = (
        f"module {SIMULATED_TOP} (input wire clk, input wire rx, output wire tx, output wire led);"
        f"{flash}\n    {BOARD_TOP} board (.clk(clk), .rx(rx), .tx(tx), .led(led){pins});\n"
        "endmodule\n"
    )
    write_atomically(folder / f"{SIMULATED_TOP}.v", top.encode())
    for name in models:
        write_atomically(folder / name, (MODELS / name).read_bytes())
    return [f"{SIMULATED_TOP}.v", *facts["sources"], *models]


@fills_folder
def simulate_board(
    plan: BoardPlan, folder: Path, *, stored: StoredImages | None = None, watchdog: float = WATCHDOG
) -> BoardSimulation:
    """Build and start a planned board; the transport of a host (docs/link.md). `stored`: what is
    put on the chip; for `watchdog` see `BoardSimulation`.

    Raises
    ------
    SimulationError
        When it cannot be built or started.
    """
    sources = board_sources(plan, folder, stored)
    pins = BoardPins(top=SIMULATED_TOP, clock_hz=plan.spec.clock_hz, baud=plan.spec.baud)
    return BoardSimulation(folder, sources, pins, watchdog=watchdog)
