"""cocotb bench of a whole core: real images in, everything that happens checked.

Run by `sim.bench.run`; its job (which images, how they are offered) lies in the folder named by
STERNA_BENCH, where it leaves `findings.json`. The check itself is `sim.bench.checker`'s.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from random import Random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from gen.core.hardware import input_words
from gen.core.plan import plan_core
from hw.contract.network import Network
from sim.bench.checker import Checker
from sim.bench.job import Job
from sim.golden.model import GoldenModel

BATCH = 64
"""Images compared at a time."""

QUIET_CYCLES = 100
"""Cycles to watch after the last result, for what should not come."""

UNTAPPED = [("input", 1), ("result", 1)]
"""The trace of a core without taps, made from its ports."""


class Bench:
    """Driver, monitor and checker of one core."""

    def __init__(self, dut, folder: Path) -> None:
        self.dut, self.folder = dut, folder
        self.job = Job(**json.loads((folder / "job.json").read_text()))
        self.plan = plan_core(Network.load(self.job.network), self.job.lanes, self.job.banks)
        self.pixels = np.load(folder / "pixels.npy")
        self.labels = np.load(folder / "labels.npy")
        self.words = input_words(self.plan, self.pixels)
        self.golden = GoldenModel(self.plan.network)
        self.random = Random(self.job.seed)
        self.cycle = 0
        self.fields = self.job.fields if self.job.taps else UNTAPPED
        positions, start = {}, 0
        for name, width in self.fields:
            positions[name] = start
            start += width
        self._watched = self._mask(positions, ("input", "result", "event", "lif"))
        self._input, self._result = 1 << positions["input"], 1 << positions["result"]
        self._lif = [
            (1 << at, n, getattr(dut, f"tap_spikes{n}"), getattr(dut, f"tap_potentials{n}"))
            for n in range(len(self.plan.geometries) - 1)
            if self.job.taps
            for at in [positions[f"lif{n}"]]
        ]
        self.begin()

    def begin(self) -> None:
        """Forget all that was seen."""
        self.next_word = 0
        flowing = self.job.stall == 0
        self.checker = Checker(self.plan, self.fields, law=flowing)

    @staticmethod
    def _mask(positions: dict[str, int], kinds: tuple[str, ...]) -> int:
        return sum(1 << at for name, at in positions.items() if name.startswith(kinds))

    async def reset(self) -> None:
        """Two cycles of reset, with junk on the idle payload; then the core fetches its biases."""
        self.dut.rst.value = 1
        self.dut.i__valid.value = 0
        self.dut.o__ready.value = 1
        for _ in range(2):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        for _ in range(max(g.bias_rows for g in self.plan.geometries)):
            await RisingEdge(self.dut.clk)
        self.offered = False
        self.standing: int | None = None
        self.recorded = self.checker.recording

    def _drive(self) -> None:
        """Offer the next word, or junk without `valid`; never take back what was offered."""
        stall = self.job.stall
        if not self.offered:
            self.offered = self.next_word < len(self.words) and not (
                stall and self.random.random() < stall
            )
            self.dut.i__valid.value = int(self.offered)
            if self.offered:
                self.dut.i__payload.value = self.words[self.next_word]
            else:
                self.dut.i__payload.value = self.random.getrandbits(len(self.dut.i__payload))
        if stall:
            self.dut.o__ready.value = int(self.random.random() >= stall)

    async def run(self, until_cycle: int | None = None) -> None:
        """Feed and record until every image has its class (or a number of cycles has passed)."""
        dut, rising, falling = self.dut, RisingEdge(self.dut.clk), FallingEdge(self.dut.clk)
        trace, spent = self.recorded.trace, 0
        results_per_image = self.plan.network.spec.classes
        wanted, results, checked, quiet = len(self.pixels) * results_per_image, 0, 0, 0
        busy = self.job.stall > 0
        end = until_cycle  # once all results are there, a little later
        while end is None or spent < end:
            await rising  # a cycle begins: the state is new, the inputs follow
            if busy or not self.offered:
                self._drive()
            await falling  # everything has settled: what is seen now happens at the next edge
            self.cycle += 1
            spent += 1
            if busy:
                self._watch_offer()
            seen = int(dut.tap_trace.value) if self.job.taps else self._ports()
            if not seen & self._watched:
                quiet += 1
                assert quiet < self.job.watchdog, "the core does nothing any more"
                continue
            quiet = 0
            trace.append((self.cycle, seen))
            if seen & self._input:
                self.next_word += 1
                self.offered = False
            for mark, n, spikes, potentials in self._lif:
                if seen & mark:
                    self.recorded.neurons[n].append((int(spikes.value), int(potentials.value)))
            if seen & self._result:
                self.recorded.results.append((self.cycle, int(dut.o__payload.value)))
                results += 1
                done = results // results_per_image
                if results == wanted and until_cycle is None:
                    end = spent + QUIET_CYCLES
                if done == checked + BATCH or results == wanted:
                    self._check(checked, done)
                    checked, trace = done, self.recorded.trace
        if until_cycle is None:
            self.checker.finish()

    def _watch_offer(self) -> None:
        """The stream contract of `o`: what was offered and not taken stands."""
        dut = self.dut
        offer = int(dut.o__payload.value) if int(dut.o__valid.value) else None
        assert self.standing is None or offer == self.standing, "an offered result has moved"
        self.standing = None if int(dut.o__ready.value) else offer

    def _ports(self) -> int:
        """The trace of a core without taps."""
        dut = self.dut
        taken = int(dut.i__valid.value) & int(dut.i__ready.value)
        return taken | (int(dut.o__valid.value) & int(dut.o__ready.value)) << 1

    def _check(self, first: int, last: int) -> None:
        pixels = self.pixels[first:last]
        self.checker.check(pixels, self.labels[first:last], self.golden.run(pixels))
        (self.folder / "progress").write_text(str(last))


@cocotb.test()
async def core_equals_golden_model(dut) -> None:
    """Every value that a core produces is the golden model's."""
    bench = Bench(dut, Path(os.environ["STERNA_BENCH"]))
    Clock(dut.clk, 10, "ns").start()
    await bench.reset()
    if bench.job.reset_after:
        await bench.run(until_cycle=bench.job.reset_after)
        bench.begin()
        await bench.reset()
    await bench.run()
    findings = asdict(bench.checker.findings) | {"cycles": bench.cycle}
    (bench.folder / "findings.json").write_text(json.dumps(findings))
