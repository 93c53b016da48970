"""A core of dense layers on some images, everything that it shows held against the golden model."""

import numpy as np

from gen.core.law import CycleLaw
from gen.core.plan import CorePlan
from gen.layer.stage import LayerStagePlan
from hw.contract.checks import signed_bits
from hw.contract.network import Network
from hw.core import Core
from hw.layer.geometry import LayerGeometry
from hw.neuron.readout import result_layout
from sim.golden.model import GoldenModel, Trace
from tests.hw.driving import Bench, Pace, Sink, fields
from tests.hw.vectors import pack_vector, random_vectors


def layer_stages(plan: CorePlan) -> list[LayerStagePlan]:
    """The stages of a core, all of them layers."""
    stages = [stage for stage in plan.stages if isinstance(stage, LayerStagePlan)]
    assert len(stages) == len(plan.stages)
    return stages


def geometries(plan: CorePlan) -> list[LayerGeometry]:
    return [stage.geometry for stage in layer_stages(plan)]


def image_words(plan: CorePlan, pixels: np.ndarray) -> list[int]:
    return words_of(plan, 0, pixels)


def words_of(plan: CorePlan, layer: int, vectors: np.ndarray) -> list[int]:
    """The raw input words of a layer for vectors (n, inputs), padding included."""
    g = geometries(plan)[layer]
    words = []
    for vector in vectors.reshape(-1, g.inputs):
        slots = np.zeros(g.words * g.word, dtype=np.int64)
        slots[g.slots()] = vector
        words += pack_vector(slots.tolist(), g.word, g.sent_planes or g.planes, g.signed)
    return words


def random_pixels(network: Network, count: int, seed: int) -> np.ndarray:
    """Images of every density, among them an empty and a full one."""
    spec = network.spec
    rng = np.random.default_rng(seed)
    return random_vectors(rng, count, spec.input_size, spec.input_bits, False).astype(np.uint8)


def check_results(plan: CorePlan, sink: Sink, trace: Trace) -> None:
    """Every logit, every first maximum so far, every end of an image."""
    last = plan.network.layers[-1]
    layout = result_layout(last.spec.neurons, signed_bits(last.logit_bound))
    got = [fields(layout, raw) for raw in sink.values]
    expected = []
    for row, best in zip(trace.logits.tolist(), trace.classes.tolist(), strict=True):
        firsts = [row.index(max(row[: n + 1])) for n in range(len(row))]
        expected += [(*r, 0) for r in zip(row[:-1], firsts[:-1], strict=True)] + [
            (row[-1], best, 1)
        ]
    assert [(r.logit, r.best, r.last) for r in got] == expected


class CoreRun:
    """One core, with taps, on some images."""

    def __init__(self, plan: CorePlan, pixels: np.ndarray, pace: Pace, **run) -> None:
        self.plan = plan
        parts = [stage.component(files=False, taps=True) for stage in layer_stages(plan)]
        core = Core(parts, taps=True)
        bench = Bench(core, pace)
        bench.feed(core.i, image_words(plan, pixels))
        self.sink = bench.collect(core.o, len(pixels) * plan.network.spec.classes)
        firing = range(len(parts) - 1)
        taps = [bench.watch(*parts[n].taps["neurons"]) for n in firing]
        bench.run(extra=40, **run)
        self.trace = GoldenModel(plan.network).run(pixels)
        check_results(plan, self.sink, self.trace)
        for n in firing:
            self._check_tap(n, taps[n])

    def _check_tap(self, n: int, tap: list[tuple[int, ...]]) -> None:
        """Spikes and potentials of firing layer n, group by group."""
        geometry, spec = geometries(self.plan)[n], self.plan.network.spec
        neurons, g = geometry.neurons, geometry.firing
        neuron = spec.layers[n].neuron
        assert neuron is not None
        size = neuron.limit.bit_length()
        wide = (size + neuron.signed) * g.lanes
        fired = [(seen & (1 << wide) - 1, seen >> wide) for valid, seen in tap if valid]
        if layer_stages(self.plan)[n].constant:  # group by group
            order = np.arange(len(fired)).reshape(-1, g.groups, spec.steps).swapaxes(1, 2)
            fired = [fired[k] for k in order.reshape(-1)]
        shape = (-1, spec.steps, g.groups * g.lanes)
        spikes = np.array([unpack(s, size + neuron.signed, g.lanes) for s, _ in fired])
        spikes = spikes.reshape(shape)  # magnitude, then sign
        spikes = (spikes & (1 << size) - 1) * (1 - 2 * (spikes >> size))
        width = neuron.potential_bits
        potentials = np.array([unpack(u, width, g.lanes) for _, u in fired]).reshape(shape)
        potentials = (potentials ^ 1 << width - 1) - (1 << width - 1)
        assert np.array_equal(spikes[..., :neurons], self.trace.spikes[n])
        assert np.array_equal(potentials[..., :neurons], self.trace.potentials[n])
        assert not spikes[..., neurons:].any()


def unpack(raw: int, bits: int, count: int) -> list[int]:
    return [raw >> bits * k & (1 << bits) - 1 for k in range(count)]


# The composed cycle law


def check_cycle_law(run: CoreRun, pixels: np.ndarray) -> None:
    """Each class leaves in the very cycle that the law predicts."""
    plan, classes = run.plan, run.plan.network.spec.classes
    predicted = CycleLaw(plan).predict(pixels, run.trace.spikes).tolist()
    assert run.sink.taken[classes - 1 :: classes] == predicted
