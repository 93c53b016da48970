"""The Verilog of a design, always by the same tool: equal designs give equal bytes everywhere."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from amaranth.back import verilog
from amaranth.hdl import Elaboratable

from hw.contract.checks import SternaError
from hw.system.process import built_environment

__all__ = ["VerilogError", "verilog_text"]


class VerilogError(SternaError, RuntimeError):
    """A Yosys that does not write Verilog."""


def verilog_text(component: Elaboratable, name: str) -> str:
    """The Verilog of a component, its module called `name`; by the Yosys that comes with Amaranth,
    whatever the system has.

    Raises
    ------
    VerilogError
        When that Yosys cannot be run to its end.
    """
    with built_environment(AMARANTH_USE_YOSYS="builtin"), _no_collection():
        try:
            return verilog.convert(component, name=name, strip_internal_attrs=True, emit_src=False)
        except verilog.YosysError as error:
            lines = str(error).strip().splitlines() or ["it printed nothing"]
            raise VerilogError(f"Yosys did not write the Verilog: {lines[-1]}") from None


@contextmanager
def _no_collection() -> Iterator[None]:
    """Elaboration only ever adds objects: looking for garbage among them takes a quarter of its
    time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
