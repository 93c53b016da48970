"""A simulation (`sim.bench.run`) as jobs: each some of the pictures. A worker generates and
compiles the core once."""

import atexit
import hashlib
import json
import shutil
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gen.core.plan import CorePlan, rebuild
from gen.core.verilog import generate
from hw.contract.checks import InputError
from hw.contract.files import write_atomically, write_json
from hw.contract.network import Network
from hw.system.jobs import Jobs, Result, RunJobs
from hw.system.process import fills_folder
from hw.system.progress import Progress, silent, under_way
from sim.bench.harness import OPTIONS
from sim.bench.job import NETWORK, Job
from sim.bench.kept import KEPT
from sim.bench.run import (
    CYCLES_A_SECOND,
    QUICK_CYCLES,
    SOURCES,
    build_core,
    checked_images,
    prepare_job,
    prepare_shard,
    report_of,
    run_shard,
)
from sim.bench.verilator import SimulationError, runtime_ahead, toolchain

__all__ = ["simulate_chunk", "simulate_spread"]

CHUNK_SECONDS = 20
"""Of a job, as expected: long against its start, short against the whole."""

FINDINGS = "findings.json"


class _Built(NamedTuple):
    folder: Path
    build: Path
    job: Job


def simulate_chunk(
    start: int,
    stop: int,
    recipe: dict[str, Any],
    verilog: str,
    stall: float,
    quick: bool,
    sent: dict[str, Any],
) -> Result:
    """A job: some pictures through the core that `recipe` describes.

    Parameters
    ----------
    start, stop
        Numbers of the first picture, and of the one behind the last.
    verilog
        Digest of the Verilog and the ROM files, which this worker must generate, too.
    stall, quick
        As of `sim.bench.run.simulate`, and of its `build_core`.
    sent
        `network` (the file), `pixels`, `labels`.

    Raises
    ------
    SimulationError
        When another core is generated here, or the simulation cannot be built or breaks off.
    """
    built = _built(json.dumps(recipe), verilog, stall, quick, sent["network"])
    shard = built.folder / f"chunk{start}"
    shutil.rmtree(shard, ignore_errors=True)  # of a job that was broken off
    prepare_shard(shard, built.job, sent["pixels"][start:stop], sent["labels"][start:stop])
    try:
        with toolchain():
            run_shard(built.build, shard, built.job)
        return {"findings": (shard / FINDINGS).read_bytes(), "kept": (shard / KEPT).read_bytes()}
    finally:
        shutil.rmtree(shard, ignore_errors=True)


@lru_cache(maxsize=4)
def _built(recipe: str, verilog: str, stall: float, quick: bool, network: bytes) -> _Built:
    """The core, compiled, in a folder that is gone with this process."""
    folder = Path(tempfile.mkdtemp(prefix="sterna-sim-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_atomically(folder / NETWORK, network)
    plan = rebuild(Network.load(folder / NETWORK), json.loads(recipe))
    with toolchain(), runtime_ahead(OPTIONS, waves=False):
        facts = generate(plan, folder, taps=True)
        if _digest(folder) != verilog:
            raise SimulationError("A worker generates another core: it must have the same Sterna")
        job = prepare_job(plan, facts, stall=stall)
        return _Built(folder, build_core(folder, job, facts["settle"], quick=quick), job)


def _digest(folder: Path) -> str:
    """SHA-256 (hex) of what was generated."""
    sha = hashlib.sha256()
    for file in (*(folder / name for name in SOURCES), *sorted(folder.glob("rom/*.hex"))):
        sha.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return sha.hexdigest()


@fills_folder
def simulate_spread(
    plan: CorePlan,
    pixels: npt.NDArray[np.integer],
    labels: npt.NDArray[np.integer],
    folder: Path,
    run: RunJobs,
    *,
    stall: float = 0.0,
    chunk: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """As `sim.bench.run.simulate`, each `chunk` of the pictures a job (by default as many as take
    `CHUNK_SECONDS`); what it leaves in `folder` is the same, but for logs.

    Raises
    ------
    InputError
        For images that do not fit the network, a stall that is no probability below 1, or an empty
        chunk.
    SpreadError, SimulationError
        As of the jobs.
    """
    started = time.monotonic()
    images = checked_images(plan, pixels, labels, stall)
    if chunk is None:
        chunk = max(1, round(CHUNK_SECONDS * CYCLES_A_SECOND / plan.expected_cycles()))
    if chunk < 1:
        raise InputError(f"Chunk must be a positive number of images, not {chunk!r}")
    folder = folder.resolve()
    report_file = folder / "report.json"
    report_file.unlink(missing_ok=True)
    for old in folder.glob("shard*"):
        shutil.rmtree(old)
    with under_way(progress, "generating the core"):
        facts = generate(plan, folder, taps=True)
    plan.network.save(folder / NETWORK)
    generated = time.monotonic()
    numbers = np.asarray(labels, dtype=np.int64)
    sent = {"network": (folder / NETWORK).read_bytes(), "pixels": images, "labels": numbers}
    sha = hashlib.sha256(plan.network.digest.encode() + np.ascontiguousarray(images).tobytes())
    sha.update(numbers.tobytes())
    # Without the file itself: its bytes have the time in them, what it holds is in the digest.
    recipe = json.loads(json.dumps(plan.recipe()))
    common = {
        "recipe": recipe,
        "verilog": _digest(folder),
        "stall": stall,
        "quick": len(images) * plan.expected_cycles() < QUICK_CYCLES,
    }
    starts = range(0, len(images), chunk)
    calls = {}
    for start in starts:
        stop = min(start + chunk, len(images))
        calls[f"images {start + 1} to {stop}"] = {"start": start, "stop": stop, **common}
    found = run(
        Jobs("parts simulated", simulate_chunk, calls, shared={"sent": (sha.hexdigest(), sent)})
    )
    job = prepare_job(plan, facts, stall=stall)
    for n, (start, result) in enumerate(zip(starts, found, strict=True)):
        shard = folder / f"shard{n}"
        part = slice(start, start + chunk)
        prepare_shard(shard, job, images[part], numbers[part])
        (shard / FINDINGS).write_bytes(result["findings"])
        (shard / KEPT).write_bytes(result["kept"])
    report = report_of(plan, [json.loads(result["findings"]) for result in found])
    finished = time.monotonic()
    report["seconds"] = round(finished - started, 2)
    report["seconds_by_phase"] = {
        "generate": round(generated - started, 2),
        "simulate": round(finished - generated, 2),
    }
    report["jobs"] = len(found)
    write_json(report_file, report)
    return report
