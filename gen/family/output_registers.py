"""Output registers of an ECP5's block RAMs, which Yosys leaves unused: the registers that stand
behind a block RAM move into it.

A DP16KD needs 5.6 ns from its clock to its outputs, and 2 ns less with its output registers. The
netlist that is placed, and simulated, is the one with them (sim/board/models/dp16kd.v).
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

__all__ = ["absorb_registers"]

RAM, REGISTER = "DP16KD", "TRELLIS_FF"
PLAIN = {"CEMUX": "1", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"}
"""Of a register that takes its input at every rising edge, and is 0 at power-up."""

Module = dict[str, Any]
Bit = int | str
"""In a netlist of Yosys: a net's number, or a constant."""


def absorb_registers(module: Module) -> None:
    """Move registers into the block RAMs in front of them, in a module of a JSON netlist of Yosys.

    A port's outputs have registers all or none. They get them where each output that is used goes
    to one register and nowhere else, and all of these registers are plain, without enable or reset,
    and have the port's clock. Behaviour stays as it is, cycle by cycle.
    """
    sinks = _sinks(module)
    for ram in [cell for cell in module["cells"].values() if cell["type"] == RAM]:
        # 36 bits wide, port B reads through the outputs of both.
        wide = int(ram["parameters"]["DATA_WIDTH_B"], 2) == 36
        for ports, clock in (("AB", "B"),) if wide else (("A", "A"), ("B", "B")):
            registers = _registers(module, ram, ports, clock, sinks)
            for pin, name in registers.items():
                ram["connections"][pin] = module["cells"].pop(name)["connections"]["Q"]
            for port in ports if registers else "":
                ram["parameters"][f"REGMODE_{port}"] = "OUTREG"
                ram["connections"][f"OCE{port}"] = ["1"]


def _sinks(module: Module) -> Mapping[Bit, list[tuple[str, str]]]:
    """Where each net goes: cells and their pins; a port of the module is a cell without a name."""
    found: defaultdict[Bit, list[tuple[str, str]]] = defaultdict(list)
    for name, cell in module["cells"].items():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] != "output":
                for bit in bits:
                    found[bit].append((name, pin))
    for pin, port in module["ports"].items():
        if port["direction"] != "input":
            for bit in port["bits"]:
                found[bit].append(("", pin))
    return found


def _registers(
    module: Module,
    ram: dict[str, Any],
    ports: str,
    clock: str,
    sinks: Mapping[Bit, list[tuple[str, str]]],
) -> dict[str, str]:
    """The register behind each output that is used, by the pin; none, unless all can be moved."""
    found = {}
    pins = [pin for port in ports for pin in ram["connections"] if pin.startswith(f"DO{port}")]
    for pin in pins:
        for bit in ram["connections"][pin]:
            goes = sinks.get(bit, [])
            if not goes:
                continue
            if len(goes) > 1 or not _is_plain(module["cells"].get(goes[0][0], {}), bit, ram, clock):
                return {}
            found[pin] = goes[0][0]
    return found


def _is_plain(cell: dict[str, Any], bit: Bit, ram: dict[str, Any], clock: str) -> bool:
    """Whether a cell is a plain register of a bit, clocked as the block RAM's port is."""
    if cell.get("type") != REGISTER:
        return False
    pins, parameters = cell["connections"], cell["parameters"]
    return (
        pins["DI"] == [bit]
        and pins["LSR"] == ["0"]
        and pins["CLK"] == ram["connections"][f"CLK{clock}"]
        and ram["parameters"][f"CLK{clock}MUX"] == f"CLK{clock}"
        and all(parameters[name].strip() == value for name, value in PLAIN.items())
    )
