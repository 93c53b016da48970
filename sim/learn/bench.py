"""cocotb bench of a learning core: labelled pictures in, everything that happens checked.

Run by `sim.learn.run`; its job lies in the folder named by STERNA_BENCH, where it leaves
`findings.json`.
"""

import gc
import json
from dataclasses import asdict
from typing import Any

import cocotb
import numpy as np

from gen.learn.stage import plan_learning
from hw.learn.masters import Masters
from sim.bench.driver import Driver
from sim.bench.job import NETWORK, job_folder
from sim.bench.recording import Recording
from sim.golden.learning import Learner
from sim.learn.checker import LearningChecker
from sim.learn.harness import DONE_BITS
from sim.learn.job import MASTERS, LearningJob

BLOCK = 50
"""Samples compared at a time, at most."""

QUIET_CYCLES = 100


@cocotb.test()
async def core_learns_what_the_golden_model_learns(dut: Any) -> None:
    """Every value of every sample, and every master weight, is the golden model's."""
    folder = job_folder()
    job = LearningJob(**json.loads((folder / "job.json").read_text()))
    network = job.network(folder)
    masters = Masters.load(folder.parent / MASTERS, network)
    plan = plan_learning(masters, job.lanes)
    learner = Learner(masters)
    given = np.load(folder / "samples.npz")
    pixels, labels, modes, errors = (
        given[name] for name in ("pixels", "labels", "modes", "errors")
    )
    gc.freeze()
    driver = Driver(dut)
    await driver.reset()
    widths = [*job.taps, ("results", job.result_bits), ("done", DONE_BITS), ("rows", job.row_bits)]
    recording = Recording(folder, widths)
    checker = LearningChecker(plan, recording, tapped=bool(job.taps), law=job.stall == 0)
    count = len(labels)
    for first in range(0, count, BLOCK):
        last = min(first + BLOCK, count)
        await driver.wait(target=last)
        for n in range(first, last):
            learner.margin, learner.rates = int(given["margins"][n]), given["rates"][n].tolist()
            if modes[n] == 0:
                sample = learner.infer(pixels[n])
            else:
                error = errors[n] if modes[n] == 2 else None
                sample = learner.learn(pixels[n], int(labels[n]), error)
            dumped = job.dumps(n + 1)
            given_error = bool(modes[n] == 2)
            checker.check(
                pixels[n], int(labels[n]), sample, learner, dumped=dumped, given=given_error
            )
        (folder / "progress").write_text(str(last))
    await driver.wait(deadline=int(dut.cycle.value) + QUIET_CYCLES)
    checker.finish()
    masters.working().save(folder / NETWORK)
    masters.save(folder / MASTERS)
    (folder / "findings.json").write_text(json.dumps(asdict(checker.findings)))
