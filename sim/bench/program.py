"""cocotb bench of a shared core: real images in, everything that happens checked.

Run by `sim.bench.run`, as `sim.bench.core` is. It sleeps while nothing crosses a port: a shared
core
takes tens of thousands of cycles for an image.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import Random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import Event, FallingEdge, RisingEdge, Timer, with_timeout
from cocotb.utils import get_sim_time

from gen.core.hardware import input_words
from gen.core.plan import CorePlan
from gen.core.schedule import plan_network
from hw.contract.network import Network
from sim.bench.job import Job
from sim.bench.program_checker import SharedChecker
from sim.golden.model import GoldenModel

BATCH = 16
"""Images compared at a time."""

QUIET_CYCLES = 100
"""Cycles to watch after the last result, for what should not come."""

PERIOD = 10  # nanoseconds

SLOW = 100
"""Times the watchdog's quiet cycles of a pipelined core that may pass between two results."""


class Bench:
    """Driver, monitors and checker of one shared core."""

    def __init__(self, dut, folder: Path) -> None:
        self.dut, self.folder = dut, folder
        self.job = Job(**json.loads((folder / "job.json").read_text()))
        network = Network.load(self.job.network)
        plan = plan_network(network, self.job.lanes, self.job.banks, self.job.schedule)
        assert not isinstance(plan, CorePlan)
        self.plan = plan
        self.pixels = np.load(folder / "pixels.npy")
        self.labels = np.load(folder / "labels.npy")
        self.words = input_words(self.plan, self.pixels)
        self.golden = GoldenModel(self.plan.network)
        self.random = Random(self.job.seed)
        self.tasks: list = []

    def cycle(self) -> int:
        """Number of the cycle that goes on; one begins at each rising edge."""
        return int(get_sim_time("ns")) // PERIOD

    async def reset(self) -> None:
        """Two cycles of reset, with junk on the idle payload."""
        dut = self.dut
        for task in self.tasks:
            task.cancel()
        dut.rst.value = 1
        dut.i__valid.value = 0
        dut.i__payload.value = self.random.getrandbits(len(dut.i__payload))
        dut.o__ready.value = int(self.job.stall == 0)
        for _ in range(2):
            await RisingEdge(dut.clk)
        dut.rst.value = 0
        flowing = self.job.stall == 0
        self.checker = SharedChecker(self.plan, tapped=self.job.taps, lead=0 if flowing else None)
        self.moved = Event()  # a result has come
        self.checked = 0
        watching = [self._feed(), self._watch("o__valid", self._result)]
        if self.job.taps:
            watching += [
                self._watch(f"tap_valid{n}", partial(self._word, n))
                for n in range(len(self.plan.stages))
            ]
        if not flowing:
            watching.append(self._hesitate())
        self.tasks = [cocotb.start_soon(task) for task in watching]

    async def _feed(self) -> None:
        """Offer every word; with stalls, junk between them."""
        dut, stall = self.dut, self.job.stall
        for n, word in enumerate(self.words):
            while stall and self.random.random() < stall:
                dut.i__valid.value = 0
                dut.i__payload.value = self.random.getrandbits(len(dut.i__payload))
                await RisingEdge(dut.clk)
            dut.i__valid.value = 1
            dut.i__payload.value = word
            await FallingEdge(dut.clk)
            if not int(dut.i__ready.value):
                await RisingEdge(dut.i__ready)
                await FallingEdge(dut.clk)
            if n == 0:
                self.checker.recording.start = self.cycle()
            await RisingEdge(dut.clk)
        dut.i__valid.value = 0

    async def _hesitate(self) -> None:
        """Take a result now and then; what was offered and not taken stands."""
        dut, standing = self.dut, None
        while True:
            await RisingEdge(dut.clk)
            dut.o__ready.value = int(self.random.random() >= self.job.stall)
            await FallingEdge(dut.clk)
            offer = int(dut.o__payload.value) if int(dut.o__valid.value) else None
            assert standing is None or offer == standing, "an offered result has moved"
            standing = None if int(dut.o__ready.value) else offer

    async def _watch(self, name: str, see: Callable[[], None]) -> None:
        """Look at every cycle, when all has settled, in which a port is up."""
        port = getattr(self.dut, name)
        while True:
            await FallingEdge(self.dut.clk)
            if int(port.value):
                see()
            else:
                await RisingEdge(port)

    def _word(self, stage: int) -> None:
        spikes, potentials = (
            getattr(self.dut, f"tap_{what}{stage}").value for what in ("spikes", "potentials")
        )
        self.checker.recording.words[stage].append((int(spikes), int(potentials)))

    def _result(self) -> None:
        if not int(self.dut.o__ready.value):
            return
        results, classes = self.checker.recording.results, self.plan.network.spec.classes
        results.append((self.cycle(), int(self.dut.o__payload.value)))
        self.moved.set()
        if len(results) % classes:
            return
        done = self.checked + len(results) // classes
        if done - self.checked == BATCH or done == len(self.pixels):
            part = slice(self.checked, done)
            pixels = self.pixels[part]
            self.checker.check(pixels, self.labels[part], self.golden.run(pixels))
            self.checked = done
            (self.folder / "progress").write_text(str(done))


@cocotb.test()
async def core_equals_golden_model(dut) -> None:
    """Every value that a core produces is the golden model's."""
    bench = Bench(dut, Path(os.environ["STERNA_BENCH"]))
    Clock(dut.clk, PERIOD, "ns").start()
    await bench.reset()
    if bench.job.reset_after:
        await Timer(bench.job.reset_after * PERIOD, "ns")
        await RisingEdge(dut.clk)
        await bench.reset()
    while bench.checked < len(bench.pixels):
        await with_timeout(bench.moved.wait(), bench.job.watchdog * SLOW * PERIOD, "ns")
        bench.moved.clear()
    await Timer(QUIET_CYCLES * PERIOD, "ns")
    bench.checker.finish()
    findings = asdict(bench.checker.findings) | {"cycles": bench.cycle()}
    (bench.folder / "findings.json").write_text(json.dumps(findings))
