"""A clock generator as plain data, which a chip family chooses, and as the instance in a design."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from amaranth.hdl import Const, Instance, Signal, Value

__all__ = ["PllSpec", "pll_instance"]


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


def pll_instance(spec: PllSpec, source: Value, clock: Signal, locked: Signal) -> Instance:
    """The instance, fed by `source`, that drives `clock` and `locked`, all of one bit."""
    outputs: dict[str, Value] = {name: Signal(name=f"unused_{name}") for name in spec.unused}
    outputs |= {spec.clock_out: clock, spec.locked: locked}
    inputs: dict[str, Value] = {name: Const(*c) for name, c in spec.constants.items()}
    if spec.feedback is not None:
        output, target = spec.feedback
        inputs[target] = outputs.setdefault(output, Signal(name="feedback"))
    return Instance(
        spec.module,
        **{f"p_{name}": value for name, value in spec.parameters.items()},
        **{f"a_{name}": value for name, value in spec.attributes.items()},
        **{f"o_{name}": value for name, value in outputs.items()},
        **{f"i_{name}": value for name, value in inputs.items()},
        **{f"i_{spec.clock_in}": source},
    )
