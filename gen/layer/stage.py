"""A dense layer as a stage with hardware of its own: its layout, and chains of such layers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.layer.cycles import LayerTimes, round_cycles
from gen.stage.rom import pack_bits, read_rows
from gen.stage.stage import Memory, PlanError, Rom, StagePlan, StageTimes, WordFormat
from gen.stage.taps import EventTap, NeuronTap, Tap, event_counts, played_vectors
from hw.contract.checks import signed_bits
from hw.contract.edge import INPUT
from hw.contract.layout import MapLayout
from hw.contract.network import Layer, Network
from hw.contract.neuron import NeuronSpec
from hw.layer.constants import DIGIT_BITS, ConstantFields, pack_constants, unpack_constants
from hw.layer.geometry import LayerGeometry
from hw.layer.lif import LifArray, divides_by_shift, is_counting
from hw.layer.rows import pack_rows, unpack_rows
from hw.layer.stage import LayerDesign, LayerStage
from hw.memory.ram import SPRAM_BITS, SPRAM_ROWS
from hw.neuron.decay import adder_bits

__all__ = [
    "DEFAULT_LANES",
    "MAX_CHUNK",
    "LayerOptions",
    "LayerStagePlan",
    "as_planned",
    "plan_layers",
]

DEFAULT_LANES = 128
MAX_CHUNK = 16
NEARLY = 0.9
"""Pictures differ: a layer that is nearly the slowest on average holds up many of them."""
MEMORIES = ("rom", "ram", "spram")


@dataclass(frozen=True, kw_only=True)
class LayerOptions:
    """How layers are laid out: see `hw.layer.geometry.LayerGeometry`.

    Parameters
    ----------
    lanes, banks
        At most so many neurons and events per cycle.
    memories
        Weight memory of each layer: all `rom` (None), or each `ram` or `spram`, loaded at power-up.
    fire_lanes, lean
        To save logic on small chips.
    repeat
        Play augmented spikes as ternary ones.
    once
        The readout plays the sum of all steps, once, which takes logic to add it up. None: where it
        would be the slowest layer otherwise, or nearly so.

    Raises
    ------
    PlanError
        When lanes is not in 1..1024, banks not 1, 2, 4, 8 or 16, or a memory is of no kind.
    """

    lanes: int = DEFAULT_LANES
    banks: int = 1
    memories: tuple[str, ...] | None = None
    fire_lanes: int = 0
    lean: bool = False
    repeat: bool = False
    once: bool | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.lanes <= 1024:
            raise PlanError(f"Lanes must be an integer from 1 to 1024, not {self.lanes!r}")
        if self.banks not in (1, 2, 4, 8, 16):
            raise PlanError(f"Banks must be 1, 2, 4, 8 or 16, not {self.banks!r}")
        fire = self.fire_lanes
        if fire and (fire & (fire - 1) or fire < self.banks):
            raise PlanError(
                f"Lanes that fire must be a power of two, and at least the banks, not {fire!r}"
            )
        for memory in self.memories or ():
            if memory not in MEMORIES:
                raise PlanError(f"Weight memory must be one of {MEMORIES}, not {memory!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerStagePlan(StagePlan):
    """A layer of its own.

    Parameters
    ----------
    network, number
        The network; which of its layers.
    geometry
        How it is laid out.
    out_word
        Coefficients of a word that it sends; 0 for the readout.
    constant
        The input is a picture, sent once for all time steps.
    weights
        Weight memory: `rom`, `ram` or `spram`.
    """

    network: Network
    number: int
    geometry: LayerGeometry
    out_word: int
    constant: bool
    weights: str = "rom"
    sizes_of = "layers"
    law_images = 1000

    @property
    def layer(self) -> Layer:
        """The integers, as the hardware has them."""
        layer = self.network.layers[self.number]
        return summed(layer) if self.geometry.sent_planes else layer

    @property
    def layers(self) -> range:
        return range(self.number, self.number + 1)

    @property
    def lanes(self) -> int:
        return self.geometry.lanes

    @property
    def banks(self) -> int:
        return self.geometry.banks

    @property
    def input(self) -> WordFormat:
        g = self.geometry
        return WordFormat(g.word, g.sent_planes or g.planes, g.signed)

    @property
    def words(self) -> int:
        return self.geometry.words

    @property
    def vectors(self) -> int:
        return 1 if self.constant else self.network.spec.steps

    @property
    def own(self) -> ConstantFields:
        """What its neurons have by channel."""
        return ConstantFields.of(self.layer.spec)

    @property
    def settle(self) -> int:
        rows, neuron = self.geometry.bias_rows, self.layer.spec.neuron
        if neuron is None or not self.own.digits:
            return rows
        return max(rows, LifArray.start_cycles(self.geometry.firing, neuron, self.own))

    @property
    def memory(self) -> str:
        return self.weights

    def how(self, count: int) -> str:
        return f"{self.banks} bank(s)"

    def rom_file(self, bank: int, part: int) -> str:
        """Path of the ROM of a slice of a bank, relative to the folder of the Verilog."""
        name = self.layer.spec.file_name
        return str(PurePosixPath("rom") / f"{self.number}_{name}_bank{bank}_slice{part}.hex")

    @property
    def constant_files(self) -> tuple[str, ...]:
        """Paths of the ROMs of constants by channel, one for each slice of neurons, likewise."""
        start = f"{self.number}_{self.layer.spec.file_name}_constants_slice"
        slices = range(len(self.geometry.firing.slices) if self.own.digits else 0)
        return tuple(str(PurePosixPath("rom") / f"{start}{n}.hex") for n in slices)

    @cached_property
    def _constants(self) -> list[list[int]]:
        """Rows of each slice of neurons that have constants by channel."""
        return pack_constants(self.layer, self.geometry.firing) if self.own.digits else []

    @cached_property
    def _rows(self) -> list[list[list[int]]]:
        """Rows of each bank and slice."""
        layer = self.layer
        bits = layer.spec.weight_bits
        return pack_rows(layer.dense_weights, layer.dense_bias, self.geometry, bits)

    def component(
        self, *, files: bool = True, events: bool = False, taps: bool = False
    ) -> LayerStage:
        g = self.geometry
        paths = tuple(
            tuple(self.rom_file(b, part) for part in range(len(g.slices))) for b in range(g.banks)
        )
        design = LayerDesign(
            layer=self.layer,
            geometry=g,
            constant_input=self.constant,
            out_word=self.out_word,
            sent_steps=self.network.spec.steps,
            memory=self.weights,
            files=paths if files else None,
            constant_files=self.constant_files if files else None,
        )
        return LayerStage(design, events=events)

    def roms(self) -> dict[str, Rom]:
        if self.weights != "rom":
            return {}
        files, bits = {}, self.layer.spec.weight_bits
        for b, bank in enumerate(self._rows):
            for part, rows in enumerate(bank):
                lanes = self.geometry.slices[part]
                name = self.layer.spec.file_name
                head = (
                    f"{self.network.spec.file_name} layer {self.number} ({name}), "
                    f"bank {b}, lanes {lanes.start}..{lanes.stop - 1}: {len(rows)} rows of "
                    f"{len(lanes)} x {bits} bit; network {self.network.digest[:16]}"
                )
                width = len(lanes) * bits
                files[self.rom_file(b, part)] = Rom(
                    head=head, rows=rows, bits=width, swappable=True
                )
        told = ", ".join(f"{name} {bits}" for name, bits in self.own._asdict().items() if bits)
        for part, rows in enumerate(self._constants):
            lanes = self.geometry.firing.slices[part]
            head = (
                f"{self.network.spec.file_name} layer {self.number} ({self.layer.spec.file_name}), "
                f"constants by channel ({told} bit), lanes {lanes.start}..{lanes.stop - 1}: "
                f"{len(rows)} rows of {len(lanes)} x {DIGIT_BITS} bit; network "
                f"{self.network.digest[:16]}"
            )
            width = len(lanes) * DIGIT_BITS
            files[self.constant_files[part]] = Rom(head=head, rows=rows, bits=width, swappable=True)
        return files

    def read(self, files: Mapping[str, str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Weights (neurons, inputs) and biases (neurons,) of `layer` out of the text of ROM files.

        Raises
        ------
        PlanError
            When a file is missing, is not hexadecimal, or has another number of rows.
        """
        g = self.geometry
        banks = [
            [read_rows(files, self.rom_file(b, part), g.depth) for part in range(len(g.slices))]
            for b in range(g.banks)
        ]
        return unpack_rows(banks, g, self.layer.spec.weight_bits)

    def read_constants(self, files: Mapping[str, str]) -> dict[str, npt.NDArray[np.int64]]:
        """Constants by channel, (neurons,) each, by the names of `ConstantFields`, out of the text
        of ROM files.

        Raises
        ------
        PlanError
            As `read`.
        """
        firing, depth = self.geometry.firing, self.own.depth(self.geometry.firing.groups)
        rows = [read_rows(files, name, depth) for name in self.constant_files]
        return unpack_constants(rows, self.own, firing, self.geometry.neurons)

    def flash_rows(self) -> list[tuple[int, list[int]]]:
        bits = self.layer.spec.weight_bits
        return [
            (len(lanes) * bits, rows)
            for bank in self._rows
            for lanes, rows in zip(self.geometry.slices, bank, strict=True)
        ] + [
            (len(lanes) * DIGIT_BITS, rows)
            for lanes, rows in zip(self.geometry.firing.slices, self._constants, strict=False)
        ]

    def times(self, after: StageTimes | None, lead: int) -> LayerTimes:
        return LayerTimes(
            self.geometry,
            self.layer.spec.neuron,
            steps=self.network.spec.steps,
            constant=self.constant,
            source=self.number - 1,
            out_word=self.out_word,
            after=after,
            readout=self.layer.spec.readout,
            own=self.own,
        )

    def expected_cycles(self) -> float:
        g = self.geometry
        uses = self.network.spec.steps if self.constant else 1
        layer = self.layer.spec
        least = round_cycles(g, layer.neuron, self.out_word, uses, layer.readout, self.own)
        played = 1 if g.sent_planes else self.vectors
        return max(self.playing_cycles(), g.groups * played * least)

    def playing_cycles(self) -> float:
        """Of `expected_cycles`, what events take, or, if that is more, words of the input."""
        g, spec = self.geometry, self.network.spec
        sent = INPUT if self.number == 0 else spec.layers[self.number - 1].name
        density, n = self.network.densities.get(sent, 0.5), g.inputs / g.banks
        if g.sent_planes and self.network.activity is not None and self.number:
            density = min(1.0, self.network.activity.sums[sent] / g.planes)
        # Of independent bits, the bank with the most of them (Blom's order statistics).
        most = NormalDist().inv_cdf((g.banks - 0.375) / (g.banks + 0.25))
        events = g.planes * (n * density + most * (n * density * (1 - density)) ** 0.5 + 1)
        played = 1 if g.sent_planes else self.vectors
        received = self.vectors * g.words  # one per cycle, and no more
        return max(g.groups * played * (events + g.bias_rows * (g.groups > 1)), received)

    def additions(self, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]) -> int:
        sent = pixels if self.number == 0 else spikes[self.number - 1]
        vectors = played_vectors(sent[None], self.geometry)
        return self.geometry.groups * int(event_counts(vectors, self.geometry).sum())

    def taps(self) -> list[Tap]:
        name, neuron = self.layer.spec.name, self.layer.spec.neuron
        found: list[Tap] = [
            EventTap(
                name=f"events{b}",
                layer=name,
                geometry=self.geometry,
                bank=b,
                number=self.number,
                source=self.number - 1,
            )
            for b in range(self.banks)
        ]
        if neuron is not None:
            found.append(
                NeuronTap(
                    name="neurons",
                    layer=name,
                    number=self.number,
                    neuron=neuron,
                    geometry=self.geometry,
                    group_major=self.constant,
                )
            )
        return found

    def clock_hz(self, clocks: Any) -> int:
        return clocks.clock_hz(self.banks)

    def sizes(self) -> dict[str, float]:
        layer, g, steps = self.layer, self.geometry, self.network.spec.steps
        neuron, bits = layer.spec.neuron, layer.spec.weight_bits
        tree = sum(
            (g.banks >> level + 1) * (bits + level + 1)
            for level in range((g.banks - 1).bit_length())
        )
        found: dict[str, float] = {
            "layer": 1,
            "bank": g.banks,
            "sum": g.lanes * layer.sum_bits,
            "double": g.lanes * layer.sum_bits * (g.planes > 1),
            "drive": g.lanes * layer.drive_bits,
            "mask": g.banks * g.lanes * bits,
            "tree": g.lanes * tree,
            "parts": g.lanes * layer.drive_bits * (g.firing.lanes < g.lanes),
            **dict.fromkeys(("neuron", "soft", "counting", "guard", "readout"), 0),
            "adders": 0,
            "constants": g.firing.lanes * self.own.digits * DIGIT_BITS,
        }
        if neuron is None:
            found["readout"] = g.firing.lanes * _answer_bits(layer)
            if (leak := layer.spec.readout) is not None:  # beside m, what is kept of it
                found["readout"] += g.firing.lanes * layer.integrated_bits
                wide = adder_bits([leak.decay_law], layer.integrated_bits)
                found["adders"] = g.firing.lanes * wide
        else:
            wide = g.firing.lanes * signed_bits(layer.membrane_bound)
            found["neuron"] = wide
            found["adders"] = g.firing.lanes * _adder_bits(layer, neuron)
            found["soft"] = wide * (neuron.reset == "soft")
            if is_counting(neuron):
                found["counting"] = wide * (1 + neuron.limit * (not divides_by_shift(neuron)))
            if neuron.guarded:
                found["guard"] = g.firing.lanes * neuron.count_bits(steps)
        found["sums"] = g.word * (1 + g.planes) * bool(g.sent_planes)
        found["flags"] = g.banks * g.words * g.planes * g.buffers
        found["word"] = g.word * (g.planes + g.signed)
        return found

    def around(self, spec: Any) -> dict[str, float]:
        return {"loader": spec.flash_address is not None}

    def weight_memories(self) -> dict[str, list[Memory]]:
        mine = [memory for name, memory in self.memories().items() if name.startswith("weights")]
        return {self.layer.spec.name: mine}

    def memories(self) -> dict[str, Memory]:
        g, layer, steps = self.geometry, self.layer, self.network.spec.steps
        found: dict[str, Memory] = {}
        for b in range(g.banks):
            for n, part in enumerate(g.slices):
                bits = len(part) * layer.spec.weight_bits
                sprams = -(-bits // SPRAM_BITS) if self.weights == "spram" else 0
                found[f"weights{b}_{n}"] = Memory(bits, g.depth, self.weights == "rom", sprams)
            address, width = (g.words - 1).bit_length(), g.chunk * (g.planes + g.signed)
            found[f"queue{b}"] = Memory(width, g.buffers << address, False)
        if g.sent_planes and g.words > 1:
            found["sums"] = Memory(g.word * (1 + g.planes), g.words, False)
        firing, neuron = g.firing, layer.spec.neuron
        for n, part in enumerate(firing.slices if self.own.digits else []):
            bits, rows = len(part) * DIGIT_BITS, self.own.depth(firing.groups)
            found[f"constants{n}"] = Memory(bits, rows, self.weights == "rom")
        if firing.groups == 1:
            return found
        if neuron is None:
            if not self.constant:
                wide = firing.lanes * _answer_bits(layer)
                found["logits"] = Memory(wide, firing.groups, g.fire_lanes > 0)
        elif self.constant:
            words = firing.groups * steps * -(-firing.lanes // self.out_word)
            width = self.out_word * (neuron.magnitude_bits + neuron.signed)
            found["transposer"] = Memory(width, 2 << (words - 1).bit_length(), False)
        else:
            for n, part in enumerate(firing.slices):
                bits = len(part) * _stored_bits(layer, steps)
                found[f"potentials{n}"] = Memory(bits, firing.groups, False)
        return found

    def facts(self) -> dict[str, Any]:
        return {"layers": [self.layer.spec.name], "lanes": self.lanes, "banks": self.banks}

    def layer_facts(self) -> list[dict[str, Any]]:
        layer, geometry = self.layer, self.geometry
        facts = {
            "name": layer.spec.name,
            **asdict(geometry),
            "groups": geometry.groups,
            "rows": geometry.rows,
            "depth": geometry.depth,
            "weight_bits": layer.spec.weight_bits,
            "rom_bits": self.rom_bits,
            "accumulator_bits": layer.sum_bits,
            "drive_bits": layer.drive_bits,
            "accumulator_bound": layer.accumulator_bound,
            "drive_bound": layer.drive_bound,
            "potential_bits": layer.spec.neuron and layer.spec.neuron.potential_bits,
            "neuron": layer.spec.neuron and asdict(layer.spec.neuron),
            "rom": [
                [self.rom_file(b, part) for part in range(len(geometry.slices))]
                for b in range(geometry.banks)
            ],
        }
        if self.own.digits:
            facts["constants"] = self.own._asdict()
            facts["constants_rom"] = self.constant_files
        return [facts]

    @property
    def rom_bits(self) -> int:
        """Bits of weights and of the rows' unused slots."""
        g = self.geometry
        return g.banks * g.groups * g.rows * g.lanes * self.layer.spec.weight_bits

    def rows_for_people(self) -> list[tuple[str, object]]:
        g = self.geometry
        told = f"{g.groups} group(s) of {g.lanes} lanes, ROM {self.rom_bits / 1024:.0f} Kibit"
        return [(f"core, {self.layer.spec.name}", told)]

    def pack(self, pixels: npt.NDArray[np.integer]) -> list[int]:
        g = self.geometry
        vectors = pixels.reshape(-1, g.inputs)
        padded = np.zeros((len(vectors), g.words * g.word), dtype=np.uint8)
        padded[:, g.slots()] = vectors
        return pack_bits(padded.reshape(-1, g.word), g.planes)


def _answer_bits(layer: Layer) -> int:
    """What a readout keeps of a class from step to step."""
    leak = layer.spec.readout
    if leak is None:
        return layer.logit_bits
    return layer.integrated_bits + layer.logit_bits * leak.keeps_answers


def _adder_bits(layer: Layer, neuron: NeuronSpec) -> int:
    """Of a neuron, bits of the additions of its factors; and of a synaptic current, which is a sum
    and begins at 0."""
    bits = signed_bits(layer.current_bound)
    own = 2 * bits * neuron.has_current + adder_bits([neuron.current_law], bits)
    return own + adder_bits([neuron.decay_law], neuron.potential_bits)


def _stored_bits(layer: Layer, steps: int) -> int:
    """What a neuron keeps: its potential, its synaptic current, and its count under a guard."""
    neuron = layer.spec.neuron
    assert neuron is not None
    count = neuron.count_bits(steps) if neuron.guarded else 0
    current = signed_bits(layer.current_bound) if neuron.has_current else 0
    return neuron.potential_bits + count + current


def as_planned(options: LayerOptions, stages: Sequence[LayerStagePlan]) -> LayerOptions:
    """The options with what was left to `plan_layers`, as it chose."""
    return replace(options, once=bool(stages[-1].geometry.sent_planes))


def summed(layer: Layer) -> Layer:
    """A readout that receives the sums of all steps, once: logits are what they were."""
    maxima = tuple(most * layer.steps for most in layer.coefficient_maxima)
    bias = layer.bias.astype(np.int64) * layer.steps
    accumulator, drive, largest = layer.floor
    floor = accumulator * layer.steps, drive * layer.steps, largest * layer.steps
    return replace(layer, coefficient_maxima=maxima, bias=bias, steps=1, floor=floor)


def plan_layers(
    network: Network, options: LayerOptions, first: int = 0, source: MapLayout | None = None
) -> list[LayerStagePlan]:
    """Lay out every layer from `first` on, with at most `lanes` neurons and `banks` events per
    cycle.

    A layer of n neurons runs in `ceil(n / lanes)` groups of equal size. The chunk, coefficients
    per bank and word, is 16, or the power of two that holds a narrower input.

    Parameters
    ----------
    network, options
        The network, whose layers from `first` on are dense and receive from the one before alone.
    first, source
        The first of them; how the stage before sends its spikes, None where `first` is 0.

    Raises
    ------
    PlanError
        When a layer has too many rows for single-port RAM.
    """
    if options.once is None and first < len(network.spec.layers):
        stepwise = plan_layers(network, replace(options, once=False), first, source)
        *others, readout = (stage.playing_cycles() for stage in stepwise)
        if readout <= NEARLY * max(others, default=0):
            return stepwise
        options = replace(options, once=True)
    spec, banks = network.spec, options.banks
    memories = options.memories or ("rom",) * (len(spec.layers) - first)
    if source is None:
        source = MapLayout((spec.input_size, 1, 1), spec.input_size)
        source_word = MAX_CHUNK * banks
    else:
        source_word = source.size
    geometries: list[LayerGeometry] = []
    for n in range(first, len(spec.layers)):
        layer = spec.layers[n]
        sender = spec.layers[n - 1].neuron if n else None
        groups = -(-layer.neurons // options.lanes)
        lanes = -(-layer.neurons // groups)
        fire = options.fire_lanes if 0 < options.fire_lanes < lanes else 0
        if fire and groups > 1:
            if layer.neuron is None:
                fire = 0  # its last group may be a partial one
            else:
                lanes = lanes // fire * fire
        per_bank = -(-min(source.size, source_word) // banks)
        planes = sender.magnitude_bits if sender else spec.input_bits
        once = (
            options.once
            and layer.neuron is None
            and layer.readout is None  # a leak takes every step for itself
            and spec.steps > 1
            and (n > 0 or spec.timed_input)
            and not (options.lean or options.repeat)
        )
        integers = summed(network.layers[n]) if once else network.layers[n]
        geometry = LayerGeometry(
            inputs=layer.inputs,
            neurons=layer.neurons,
            lanes=lanes,
            banks=banks,
            chunk=min(MAX_CHUNK, 1 << (per_bank - 1).bit_length()),
            planes=integers.coefficient_max.bit_length() if once else planes,
            sent_planes=planes if once else 0,
            signed=sender is not None and sender.signed,
            source_lanes=source.lanes,
            source_maps=source.shape[1:],
            source_rows=source.rows,
            source_sets=source.sets,
            bias_rows=integers.bias_rows,
            fire_lanes=fire,
            repeat=options.repeat and n > 0,
            lean=options.lean,
        )
        if memories[n - first] == "spram" and geometry.depth > SPRAM_ROWS:
            raise PlanError(
                f"Layer {layer.name} must have at most {SPRAM_ROWS} rows for single-port RAM, "
                f"not {geometry.depth}"
            )
        geometries.append(geometry)
        source = MapLayout((layer.neurons, 1, 1), geometry.lanes)
        source_word = geometry.firing.lanes
    words = [*(g.word for g in geometries[1:]), 0]
    return [
        LayerStagePlan(
            network=network,
            number=first + k,
            geometry=geometry,
            out_word=words[k],
            constant=first + k == 0 and not spec.timed_input,
            weights=memories[k],
        )
        for k, geometry in enumerate(geometries)
    ]
