"""cocotb bench of a core: real images in, everything that happens checked.

Run by `sim.bench.run`; its job (which images, how they are offered) lies in the folder named by
STERNA_BENCH, where it leaves `findings.json`. What happens every cycle is `sim.bench.harness`'s:
Python wakes when the results of some images have come, and holds what was recorded till then
against the golden model (`sim.bench.checker`).
"""

import gc
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cocotb
import numpy as np

from gen.core.plan import rebuild
from sim.bench.checker import Checker
from sim.bench.driver import Driver
from sim.bench.harness import word_bytes
from sim.bench.job import Job, job_folder
from sim.bench.kept import KEPT
from sim.bench.recording import Recording
from sim.golden.model import GoldenModel

BLOCK = 64
"""Images compared at a time, at most."""

QUIET_CYCLES = 100
"""Cycles to watch after the last result, for what should not come."""


class Bench:
    """Runs one core through the images of a job."""

    def __init__(self, dut: Any, folder: Path) -> None:
        self.dut, self.folder = dut, folder
        self.driver = Driver(dut)
        self.job = Job(**json.loads((folder / "job.json").read_text()))
        network = self.job.network(folder)
        self.plan = rebuild(network, self.job.recipe)
        self.pixels = np.load(folder / "pixels.npy")
        self.labels = np.load(folder / "labels.npy")
        self.golden = GoldenModel(network)
        self.cycles = 0  # before the last reset
        size = word_bytes(self.job.word_bits)
        words = b"".join(word.to_bytes(size, "big") for word in self.plan.pack(self.pixels))
        (folder / "words.bin").write_bytes(words)
        gc.freeze()  # what has been imported is not searched for garbage again and again

    async def reset(self) -> None:
        """Reset the core and begin anew: the first word, empty records, cycle 0."""
        job = self.job
        await self.driver.reset()
        self.recording = Recording(self.folder, [*job.taps, ("results", job.result_bits)])
        self.checker = Checker(self.plan, self.recording, tapped=bool(job.taps), law=job.stall == 0)

    async def run(self) -> None:
        """Feed and check, block by block, until every image has its class."""
        block, classes = min(BLOCK, self.golden.batch), self.golden.network.spec.classes
        for first in range(0, len(self.pixels), block):
            pixels = self.pixels[first : first + block]
            done = first + len(pixels)
            await self.driver.wait(target=done * classes)
            self.recording.start = int(self.dut.start.value)
            self.checker.check(pixels, self.labels[first:done], self.golden.run(pixels))
            (self.folder / "progress").write_text(str(done))
        await self.driver.wait(deadline=int(self.dut.cycle.value) + QUIET_CYCLES)
        self.checker.finish()


@cocotb.test()
async def core_equals_golden_model(dut: Any) -> None:
    """Every value that a core produces is the golden model's."""
    bench = Bench(dut, job_folder())
    await bench.reset()
    if bench.job.reset_after:
        await bench.driver.wait(deadline=bench.job.reset_after)
        bench.cycles = bench.job.reset_after
        await bench.reset()
    await bench.run()
    findings = asdict(bench.checker.findings) | {"cycles": bench.cycles + int(dut.cycle.value)}
    bench.checker.kept.save(bench.folder / KEPT)
    (bench.folder / "findings.json").write_text(json.dumps(findings))
