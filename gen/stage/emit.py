"""The Verilog of a design, always by the same tool: equal designs give equal bytes everywhere."""

from amaranth.back import verilog
from amaranth.hdl import Elaboratable

from hw.contract.process import built_environment

__all__ = ["emit"]


def emit(design: Elaboratable, name: str) -> str:
    """Verilog of a component whose top module is called `name`; by the Yosys that comes with
    Amaranth, whatever the system has."""
    with built_environment(AMARANTH_USE_YOSYS="builtin"):
        return verilog.convert(design, name=name, strip_internal_attrs=True, emit_src=False)
