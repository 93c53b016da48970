"""A window stage by itself, on some images, held against golden model and law."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from amaranth.hdl import Value

from gen.window.cycles import window_plays
from gen.window.stage import WindowStagePlan
from hw.program.code import Operation, Scan, Send, Sweep
from hw.program.stage import ProgramStage
from sim.golden.model import GoldenModel
from tests.hw.driving import FLOWING, Bench, Pace
from tests.hw.program.programs import split

__all__ = ["WindowRun"]


class WindowRun:
    """What a window stage shows: every spike, every potential, every row of weights added, and all
    that it sends.

    trace: the golden model's. operations: the number of the operation in each cycle.
    """

    def __init__(
        self, plan: WindowStagePlan, pixels: np.ndarray, pace: Pace = FLOWING, **run: Any
    ) -> None:
        self.plan, self.pixels, self.p = plan, pixels, plan.program
        stage = plan.component(files=False, taps=True)
        bench = Bench(stage, pace, limit=200_000)
        bench.feed(stage.i, plan.pack(pixels))
        send = self.p.operations[-1]
        assert isinstance(send, Send)
        self.sink = bench.collect(stage.o, len(pixels) * (send.last_word + 1))
        taps = ("tap_operation", "tap_update", "tap_valid", "tap_spikes", "tap_potentials")
        seen = bench.watch(*(Value.cast(getattr(stage, tap)) for tap in taps))
        bench.run(extra=30, **run)
        self.trace = GoldenModel(plan.network).run(pixels)
        self.operations = [number for number, *_ in seen]
        self.updates = [update for _, update, *_ in seen]
        self.words = [(number, *word) for number, _, valid, *word in seen if valid]
        self._check_words()
        self._check_updates()
        self._check_sent()

    def _spikes(self, words: Sequence[int]) -> np.ndarray:
        p = self.p
        coded = np.array([split(word, p.spike_planes + p.spike_sign, p.word) for word in words])
        size, side = coded & (1 << p.spike_planes) - 1, coded >> p.spike_planes
        return size * (1 - 2 * side)

    def _check_words(self) -> None:
        """Every spike and every potential, in the order of the program; no spike where there is no
        neuron."""
        p, spec, words = self.p, self.plan.network.spec, self.words
        fires = [(n, op) for n, op in enumerate(p.operations) if isinstance(op, Sweep) and op.fires]
        order = [n for n, op in fires for _ in range(op.last_word + 1)]
        assert [number for number, _, _ in words] == order * len(self.pixels)
        spikes, bits = self._spikes([word for _, word, _ in words]), p.membrane_bits
        raw = np.array([split(word, bits, p.word) for _, _, word in words], dtype=np.int64)
        potentials = raw - (raw >> (bits - 1) << bits)
        where = np.array([number for number, _, _ in words])
        for n in self.plan.layers:
            one = spec.layers[n]
            layout = self.plan.words_of(one.name)
            mine = np.isin(where, [number for number, op in fires if op.name == one.name])
            shape = (len(self.pixels), spec.steps, one.neurons)
            sent = spikes[mine].reshape(-1, layout.words, p.word)
            kept = layout.unpack(potentials[mine].reshape(sent.shape)).reshape(shape)
            expected = self.trace.spikes[n].reshape(len(sent), -1)
            assert np.array_equal(sent, layout.pack(expected)), one.name
            assert np.array_equal(kept, self.trace.potentials[n]), one.name

    def _check_updates(self) -> None:
        """Rows of weights that each operation adds, of each image: as many as a plan counts."""
        count = len(self.p.operations)
        found = [
            sum(update for _, update in same)
            for _, same in groupby(zip(self.operations, self.updates, strict=True), itemgetter(0))
        ]
        found[:0] = [0] * self.operations[0]
        for n, pixels in enumerate(self.pixels):
            spikes = [s[n] for s in self.trace.spikes]
            plays = [play for _, play in window_plays(self.plan, pixels, spikes)]
            expected = [0 if play is None else play.updates for play in plays]
            assert found[n * count : (n + 1) * count - 1] == expected
            assert self.plan.additions(pixels, spikes) == sum(expected)

    def _check_sent(self) -> None:
        """The last layer's spikes, of all steps."""
        last = self.plan.layers[-1]
        layout, sent = self.plan.output, self._spikes(self.sink.values)
        expected = self.trace.spikes[last]
        expected = expected.reshape(-1, expected.shape[-1])
        assert np.array_equal(sent, layout.pack(expected).reshape(sent.shape))

    def check_law(self) -> None:
        """Every operation that does not wait ends when the law says."""
        spent = [len(list(same)) for _, same in groupby(self.operations)]
        operations = self.p.operations
        own = ProgramStage.FETCH_CYCLES + 1  # fetched before, and seen to have ended
        for n, pixels in enumerate(self.pixels):
            costs = self.plan.operation_cycles(pixels, [s[n] for s in self.trace.spikes])
            expected = [cycles + own for cycles in costs]
            waiting = _waiting(operations)
            found = spent[n * len(operations) : (n + 1) * len(operations) - 1]
            assert found[waiting] >= expected[waiting]
            found[waiting] = expected[waiting]
            assert found == expected


def _waiting(operations: Sequence[Operation]) -> int:
    """The first scan of an image."""
    return next(n for n, op in enumerate(operations) if isinstance(op, Scan) and op.from_input)
