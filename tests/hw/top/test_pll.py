"""The instance of a PLL: what is connected to what, read from the RTLIL that synthesis gets."""

import re

import pytest
from amaranth.back import rtlil  # type: ignore[attr-defined]
from amaranth.hdl import Module, Signal

from gen.board.boards import BOARDS, find_board
from gen.family.pll import pll
from hw.top.pll import PllSpec, pll_instance

NAMES = [name for name in BOARDS if find_board(name).family.pll is not None]


def cell(spec: PllSpec) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Parameters, attributes and connections of the instance."""
    m = Module()
    source, clock, locked = Signal(name="source"), Signal(name="clock"), Signal(name="locked")
    m.submodules.pll = pll_instance(spec, source, clock, locked)
    text = rtlil.convert(m, name="top", ports=[source, clock, locked])
    before, _, rest = text.partition(f"  cell \\{spec.module} ")
    body = rest.partition("\n  end\n")[0].replace(" [0]", "")
    return (
        dict(re.findall(r"parameter \\(\w+) (.*)", body)),
        dict(re.findall(r"attribute \\(\w+) (.*)", before.rpartition("\n\n")[2])),
        dict(re.findall(r"connect \\(\w+) \\?(.*)", body)),
    )


def constant(text: str) -> int:
    """Of RTLIL: text, or bits."""
    return int(text.partition("'")[2], 2)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_fed_and_drives_what_it_should(name: str) -> None:
    board = find_board(name)
    spec = pll(board, 1.5 * board.oscillator_hz).instance
    assert spec is not None
    parameters, attributes, connections = cell(spec)
    assert parameters.keys() == spec.parameters.keys()
    for key, value in spec.parameters.items():
        assert parameters[key] == (f'"{value}"' if isinstance(value, str) else str(value))
    for key, value in spec.attributes.items():
        assert attributes[key] == f'"{value}"'
    assert connections.pop(spec.clock_in) == "source"
    assert connections.pop(spec.locked) == "locked"
    loop = connections[spec.feedback[0]] if spec.feedback else ""
    assert connections.pop(spec.clock_out) == "clock"
    for port, (value, width) in spec.constants.items():
        told = connections.pop(port)
        assert (told.partition("'")[0], constant(told)) == (str(width), value)
    if spec.feedback is not None:
        output, target = spec.feedback
        assert connections.pop(target) == loop
        connections.pop(output, None)  # it may be the clock
    assert connections.keys() == {*spec.unused}
    assert not {"clock", "locked", "source"} & {*connections.values()}
