"""Neurons by name in a waveform: beside the core, the bench holds what each of them sent and kept
when it last fired.

A core's taps show a group of neurons or a word of a map at a time, in lanes; which neuron a lane is
at a time, only the plan knows. For `WAVES=1` each such tap gets a module that counts its rows and
puts them where they belong: the layer, the step, the place of lane 0, what each lane has, and, of
layers with at most `NAMED` neurons, a pair of signals for each neuron. All of them change in the
cycle after the tap's `valid`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gen.core.plan import CorePlan
from gen.stage.taps import NeuronTap, WordTap
from hw.neuron.readout import result_layout

__all__ = ["NAMED", "Watch", "decoded", "watches"]

NAMED = 256
"""Neurons of a layer up to which each has signals of its own."""

Place = str
"""What a neuron is called: its number, or its channel, row and column."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Rows of a tap that are a layer's, of one step or of all; `step`, `word` and `place` are
    expressions in `at`, the number of the row among them."""

    layer: str
    rows: int
    step: str
    word: str
    place: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Watch:
    """A tap whose neurons are named.

    Parameters
    ----------
    tap
        As the core has it: `{stage}_{tap}`.
    lanes, planes, sign, bits
        Of a row: lanes, bits of a spike's magnitude, whether it has a sign, bits of a potential.
    segments
        The rows of an image, in order.
    neurons
        By layer, as it is called here, and word: the lanes that hold neurons, and which.
    """

    tap: str
    lanes: int
    planes: int
    sign: bool
    bits: int
    segments: Sequence[Segment]
    neurons: Mapping[str, Sequence[Sequence[tuple[int, Place]]]] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """Name of the module, and of its instance in the bench."""
        return f"neurons_{self.tap}"

    @property
    def layers(self) -> list[str]:
        """Names of the layers, as signals have them."""
        return list(dict.fromkeys(segment.layer for segment in self.segments))

    @property
    def named(self) -> dict[str, list[Place]]:
        """By layer, the neurons that have signals of their own."""
        found = {}
        for layer, words in self.neurons.items():
            places = [place for word in words for _, place in word]
            if len(places) <= NAMED:
                found[layer] = places
        return found

    @property
    def places(self) -> list[str]:
        """Signals that say which neuron lane 0 is."""
        return list(self.segments[0].place)

    @property
    def instance(self) -> str:
        """What stands in the bench."""
        tap = f"tap_{self.tap}"
        return (
            f"  {self.module} {self.module}"
            f"(.clk(clk), .rst(rst || core_rst), .valid({tap}_valid), .value({tap}));\n"
        )

    @property
    def text(self) -> str:
        """The module."""
        width = self.planes + self.sign
        letters = 8 * max(len(layer) for layer in self.layers)
        lanes = range(self.lanes)
        each = [f"lane{k}" for k in lanes]
        each += [f"{layer}_{p}" for layer, places in self.named.items() for p in places]
        lines = [
            f"module {self.module}(",
            "  input clk, input rst, input valid,",
            f"  input [{self.lanes * (width + self.bits) - 1}:0] value",
            ");",
            f"  reg [{letters - 1}:0] layer;",
            f"  reg [31:0] number = 0, at, step, word, {', '.join(self.places)};",
        ]
        for name in each:
            lines.append(f"  reg signed [{self.planes}:0] {name}_spike;")
            lines.append(f"  reg signed [{self.bits - 1}:0] {name}_potential;")
        for k in lanes:
            low = k * width
            size = f"$signed({{1'b0, value[{low + self.planes - 1}:{low}]}})"
            sent = f"value[{low + self.planes}] ? -{size} : {size}" if self.sign else size
            low = self.lanes * width + k * self.bits
            lines.append(f"  wire signed [{self.planes}:0] sent{k} = {sent};")
            lines.append(
                f"  wire signed [{self.bits - 1}:0] kept{k} = value[{low} +: {self.bits}];"
            )
        lines.append("  always @(posedge clk) if (rst) number <= 0; else if (valid) begin")
        total = sum(segment.rows for segment in self.segments)
        lines.append(f"    number <= number == {total - 1} ? 0 : number + 1;")
        first = 0
        for n, segment in enumerate(self.segments):
            last = n == len(self.segments) - 1
            test = "" if last else f"if (number < {first + segment.rows}) "
            lines.append(f"    {'else ' * (n > 0)}{test}begin")
            lines.append(f'      layer = "{segment.layer}"; at = number - {first};')
            lines.append(f"      step = {segment.step}; word = {segment.word};")
            lines += [f"      {name} = {value};" for name, value in segment.place.items()]
            lines.append("    end")
            first += segment.rows
        lines += [f"    lane{k}_spike = sent{k}; lane{k}_potential = kept{k};" for k in lanes]
        for layer in self.named:
            lines.append(f'    if (layer == "{layer}") case (word)')
            for word, held in enumerate(self.neurons[layer]):
                put = [
                    f"{layer}_{p}_spike = sent{k}; {layer}_{p}_potential = kept{k};"
                    for k, p in held
                ]
                lines.append(f"      {word}: begin {' '.join(put)} end")
            lines.append("    endcase")
        return "\n".join([*lines, "  end", "endmodule", ""])


def watches(plan: CorePlan) -> list[Watch]:
    """Of every tap of a core that shows neurons, in order."""
    names = [re.sub(r"\W", "_", layer.file_name) for layer in plan.network.spec.layers]
    if len(set(names)) < len(names):
        names = [f"layer{n}" for n in range(len(names))]
    found = []
    for n, stage in enumerate(plan.stages):
        for tap in stage.taps():
            match tap:
                case NeuronTap():
                    found.append(_of_group(tap, f"{n}_{tap.name}", names, plan))
                case WordTap() if tap.sweeps:
                    found.append(_of_words(tap, f"{n}_{tap.name}", names))
    return found


def _of_group(tap: NeuronTap, name: str, names: Sequence[str], plan: CorePlan) -> Watch:
    g, steps, layer = tap.geometry.firing, plan.network.spec.steps, names[tap.number]
    inner = steps if tap.group_major else g.groups
    outer, within = f"at / {inner}", f"at % {inner}"
    step, group = (within, outer) if tap.group_major else (outer, within)
    words = [
        [
            (k, str(n * g.lanes + k))
            for k in range(g.lanes)
            if n * g.lanes + k < tap.geometry.neurons
        ]
        for n in range(g.groups)
    ]
    segment = Segment(
        layer=layer,
        rows=steps * g.groups,
        step=step,
        word=group,
        place={"neuron": f"word * {g.lanes}"},
    )
    return Watch(
        tap=name,
        lanes=g.lanes,
        planes=tap.neuron.magnitude_bits,
        sign=tap.neuron.signed,
        bits=tap.neuron.potential_bits,
        segments=[segment],
        neurons={layer: words},
    )


def _of_words(tap: WordTap, name: str, names: Sequence[str]) -> Watch:
    segments, neurons = [], {}
    for sweep in tap.sweeps:
        layout, layer = sweep.layout, names[sweep.number]
        segments.append(
            Segment(
                layer=layer,
                rows=layout.words,
                step=str(sweep.step),
                word="at",
                place={
                    "channel": f"at / {layout.set_words} * {layout.lanes * layout.sets}",
                    "row": f"at % {layout.set_words} / {layout.columns} * {layout.rows}",
                    "column": f"at % {layout.columns} * {layout.positions}",
                },
            )
        )
        _, rows, columns = layout.shape
        flat = rows * columns == 1
        if layer not in neurons and layout.shape[0] * rows * columns <= NAMED:
            held: list[list[tuple[int, Place]]] = [[] for _ in range(layout.words)]
            for number, (word, lane) in enumerate(zip(*layout.places(), strict=True)):
                c, rest = divmod(number, rows * columns)
                place = str(c) if flat else f"c{c}_y{rest // columns}_x{rest % columns}"
                held[word].append((int(lane), place))
            neurons[layer] = held
    return Watch(
        tap=name,
        lanes=tap.lanes,
        planes=tap.planes,
        sign=tap.sign,
        bits=tap.bits,
        segments=segments,
        neurons=neurons,
    )


def decoded(plan: CorePlan) -> str:
    """The fields of a result as signals of the bench."""
    layout = result_layout(plan.network.spec.classes, plan.network.layers[-1].logit_bits)
    return "".join(
        f"  wire {'signed ' * (name == 'logit')}[{part.width - 1}:0] {name} = "
        f"o__payload[{part.offset} +: {part.width}];\n"
        for name, part in layout
    )
