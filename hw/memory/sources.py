"""The Verilog that memories are instances of."""

from pathlib import Path

__all__ = ["verilog_source"]


def verilog_source(name: str) -> str:
    """The text of `sterna_rom.v`, `sterna_ram.v` or `sterna_spram.v`."""
    return Path(__file__).with_name(name).read_text()
