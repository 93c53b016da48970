"""The chip families by name: each is a file of this folder with a `FAMILY`, and its name here."""

from importlib import import_module

from gen.family.base import Family

__all__ = ["FAMILIES"]

NAMES = ("ice40", "ecp5", "gowin")

FAMILIES: dict[str, Family] = {name: import_module(f"gen.family.{name}").FAMILY for name in NAMES}
"""More may be added: their boards then name `FAMILIES[...]` (`gen.board.boards.BOARDS`)."""
