"""The memories of a component, as synthesis gets them."""

import re
from collections import Counter

from amaranth.back import rtlil  # type: ignore[attr-defined]
from amaranth.hdl import Elaboratable

__all__ = ["memories_of"]


def memories_of(component: Elaboratable) -> Counter[tuple[int, int]]:
    """How many memories of so many words of so many bits it has."""
    text = rtlil.convert(component, name="component")
    found = re.findall(r"memory width (\d+) size (\d+) ", text)
    return Counter((int(words), int(bits)) for bits, words in found)
