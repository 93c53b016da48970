"""cocotb module of `test_harness.py`: runs as many rounds as its job says; leaves what it saw."""

import json
import os
from pathlib import Path

import cocotb

from sim.bench.driver import Driver
from sim.bench.recording import Recording


@cocotb.test()
async def rounds(dut) -> None:
    folder = Path(os.environ["STERNA_BENCH"])
    job = json.loads((folder / "job.json").read_text())
    driver, seen = Driver(dut), []
    for targets, deadline in job["rounds"]:
        await driver.reset()
        recording = Recording(folder, job["widths"])
        blocks = []
        for target in targets:
            await driver.wait(target=target)
            blocks.append(
                {
                    name: [rows.tolist() for rows in recording.take(name, 10**6)]
                    for name in recording.names
                }
            )
        if deadline:
            await driver.wait(deadline=int(dut.cycle.value) + deadline)
        seen.append(
            {
                "blocks": blocks,
                "left": {name: recording.left(name) for name in recording.names},
                "start": int(dut.start.value),
                "cycle": int(dut.cycle.value),
            }
        )
    (folder / "seen.json").write_text(json.dumps(seen))
