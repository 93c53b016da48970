"""A clock generator as plain data: what a board's top instantiates, and a chip family chooses."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["PllSpec"]


@dataclass(frozen=True, kw_only=True)
class PllSpec:
    """A vendor's clock generator as an instance.

    module, parameters, attributes: of the instance. clock_in, clock_out, locked: names of its
    ports. constants: input ports and their (value, width). feedback: (output, input) ports to be
    connected with each other, or None; the output may be `clock_out`. unused: other outputs.
    """

    module: str
    parameters: Mapping[str, int | str]
    attributes: Mapping[str, str] = field(default_factory=dict)
    clock_in: str
    clock_out: str
    locked: str
    constants: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    feedback: tuple[str, str] | None = None
    unused: tuple[str, ...] = ()
