"""A stage: what a core is a chain of. A stream of words in, a stream of words or logits out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, stream, wiring

__all__ = ["Stage", "TapPoint"]


class TapPoint(NamedTuple):
    """A place to watch in simulation: `data` counts in the cycles with `valid`."""

    valid: Value
    data: Value


class Stage(wiring.Component):
    """A component with the streams `i` and `o`; what only some stages have is empty in the others.

    Members
    -------
    i : In(stream of coefficients)
    o : Out(stream of coefficients, or of results)
    load : In(load_layout(parts))
        Of a stage whose weights are loaded; absent where `parts` is empty.

    Attributes
    ----------
    parts
        (bits, rows) of each weight memory that is loaded at power-up.
    additions
        Not a port: a bit per memory of weights, a row was added in the cycle before. Driven only
        where a stage was built with `events`.
    teacher
        Signature of `teaching`, the port of a stage that learns; None: it does not.
    taps
        Not ports: places to watch by name, where a stage was built with `taps`. Nobody who does
        not look at them has logic for them.
    """

    i: stream.Interface
    o: stream.Interface
    load: data.View
    parts: Sequence[tuple[int, int]] = ()
    additions: Signal
    teacher: wiring.Signature | None = None
    teaching: Any
    taps: dict[str, TapPoint]

    if TYPE_CHECKING:

        def elaborate(self, platform) -> Module: ...
