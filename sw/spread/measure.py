"""What spreading costs and brings, measured: `sterna study spread`.

One worker and two do the same jobs by turns, so that whatever else the machine does meanwhile
falls on both alike.
"""

import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hw.contract.files import write_json
from hw.contract.network import Network
from hw.system.jobs import Jobs, Result
from hw.system.progress import Progress, silent, under_way
from sim.golden.model import GoldenModel
from sw.data.shipped import DEFAULT_MODEL, load_test_images, model_path
from sw.spread.engine import Pool
from sw.spread.runner import Runner
from sw.spread.store import Store

__all__ = ["classify_job", "empty_job", "measure", "measure_table"]

SHARED_BYTES = 50_000_000
"""About the pictures of MNIST."""


def empty_job(number: int) -> Result:
    """A job: nothing."""
    return {"number": number}


def held_job(number: int, data: Any) -> Result:
    """A job: nothing, with data."""
    return {"number": number, "bytes": int(data.nbytes)}


def classify_job(number: int, times: int) -> Result:
    """A job that computes: the digits' test images through the golden model, over and over.
    `seconds` are of the processor."""
    started = time.process_time()
    network = Network.load(model_path(DEFAULT_MODEL))
    images = load_test_images(network).images
    hits = [int(GoldenModel(network).classify(images).sum()) for _ in range(times)]
    return {"number": number, "hits": hits[0], "seconds": time.process_time() - started}


def measure(
    folder: Path,
    *,
    pairs: int = 3,
    jobs: int = 12,
    times: int = 150,
    tiny: int = 500,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure; `spread.json` in `folder`.

    Parameters
    ----------
    pairs
        How often one worker and two take turns.
    jobs, times
        Jobs that compute, and how long each does (`classify_job`).
    tiny
        Jobs that do nothing.

    Returns
    -------
    dict
        A list of turns, each with `workers`; `start`, seconds until the first job of a new pool was
        done; `shared`, seconds until each worker had data of `SHARED_BYTES`; `overhead`, seconds of
        a job that does nothing, and `overhead_cpu` those of the processor in this process, which
        has the scheduler, too; `work`, seconds of all jobs that compute, `cpu` those of the
        processor. `speedup`, by pairs; `keeping`, seconds in which a result is kept.
    """
    turns: list[dict[str, Any]] = []
    with under_way(progress, "turns", total=2 * pairs) as at:
        for pair in range(pairs):
            for workers in (1, 2) if pair % 2 == 0 else (2, 1):
                turns.append({"pair": pair, **_turn(workers, jobs, times, tiny)})
                found = turns[-1]
                at(
                    len(turns),
                    f"{workers} worker(s): start {found['start']} s, "
                    f"{1000 * found['overhead']:.1f} ms a job, work {found['work']} s",
                )
    by_pair = [{t["workers"]: t for t in turns if t["pair"] == pair} for pair in range(pairs)]
    facts = {
        "jobs": jobs,
        "tiny": tiny,
        "shared_bytes": SHARED_BYTES,
        "turns": turns,
        "speedup": [round(pair[1]["work"] / pair[2]["work"], 2) for pair in by_pair],
        "keeping": _keeping(),
    }
    write_json(folder / "spread.json", facts)
    return facts


def _turn(workers: int, jobs: int, times: int, tiny: int) -> dict[str, Any]:
    with TemporaryDirectory(prefix="sterna-spread-") as place, Pool(workers) as pool:
        run = Runner(pool, Store(Path(place)))
        started = time.monotonic()
        run(Jobs("first", empty_job, {"first": {"number": -1}}))
        first = time.monotonic()
        # As many at once as there are workers: each gets one, and the data.
        data = {"data": ("zeros", np.zeros(SHARED_BYTES, dtype=np.uint8))}
        run(
            Jobs(
                "shared", held_job, {f"{n}": {"number": n} for n in range(2 * workers)}, shared=data
            )
        )
        shared = time.monotonic()
        calls = {f"work {n}": {"number": n, "times": times} for n in range(jobs)}
        run(Jobs("warm", classify_job, {f"{n}": {"number": -n, "times": 1} for n in range(1, 5)}))
        warm = time.monotonic()
        found = run(Jobs("work", classify_job, calls))
        worked = time.monotonic()
        before = time.process_time()
        run(Jobs("tiny", empty_job, {f"tiny {n}": {"number": n} for n in range(tiny)}))
        done, spent = time.monotonic(), time.process_time() - before
    return {
        "workers": workers,
        "start": round(first - started, 2),
        "shared": round(shared - first, 2),
        "work": round(worked - warm, 2),
        "cpu": round(sum(result["seconds"] for result in found), 2),
        "overhead": round((done - worked) / tiny, 5),
        "overhead_cpu": round(spent / tiny, 5),
    }


def _keeping(results: int = 200) -> float:
    """Seconds in which a small result is put into a store."""
    with TemporaryDirectory(prefix="sterna-spread-") as place:
        store, started = Store(Path(place)), time.monotonic()
        for n in range(results):
            store.put(f"{n:064}", {"number": n})
        return round((time.monotonic() - started) / results, 6)


def measure_table(facts: dict[str, Any]) -> str:
    """For people: medians, and the range of the speed-ups."""

    def middle(what: str, workers: int) -> float:
        return median(turn[what] for turn in facts["turns"] if turn["workers"] == workers)

    lines = []
    for workers in (1, 2):
        lines.append(
            f"{workers} worker(s): {middle('start', workers):.1f} s until the first job was done, "
            f"{middle('shared', workers):.1f} s for {facts['shared_bytes'] / 1e6:.0f} MB to each, "
            f"{1000 * middle('overhead', workers):.1f} ms a job of {facts['tiny']} empty ones "
            f"({1000 * middle('overhead_cpu', workers):.1f} ms of the processor that hands out), "
            f"{middle('work', workers):.1f} s for {facts['jobs']} that take "
            f"{middle('cpu', workers):.1f} s of a processor"
        )
    each = ", ".join(f"{speedup:.2f}" for speedup in facts["speedup"])
    lines.append(f"speed-up of two, by pairs: {each}; a result is kept in")
    lines[-1] += f" {1e6 * facts['keeping']:.0f} µs"
    return "\n".join(lines)
