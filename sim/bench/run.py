"""Runs images through golden model and Verilog, in one or more processes, and reports."""

import json
import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.core.plan import CorePlan
from gen.core.verilog import TOP, generate
from hw.contract.checks import InputError
from hw.contract.files import write_atomically, write_json
from hw.neuron.readout import result_layout
from hw.system.process import fills_folder
from hw.system.progress import Progress, Step, announced, silent, under_way
from sim.bench.harness import BENCH_TOP, OPTIONS, PUBLIC, harness
from sim.bench.job import NETWORK, Job
from sim.bench.neurons import Watch, decoded, watches
from sim.bench.verilator import build, run_bench, runtime_ahead, toolchain
from sim.bench.waves import save_file, vcd_names, vcd_to_fst
from sim.golden.model import GoldenModel

__all__ = [
    "CYCLES_A_SECOND",
    "QUICK_CYCLES",
    "SOURCES",
    "build_core",
    "checked_images",
    "prepare_job",
    "prepare_shard",
    "report_of",
    "run_shard",
    "simulate",
]

QUICK_CYCLES = 30_000
"""Expected cycles of a run below which it does not pay to have the compiler optimise."""

BUILD_SECONDS = 14
CYCLES_A_SECOND = 200_000
"""Of a million bytes of Verilog, and of a process, on the machine of docs/results.md: by these long
steps are announced. `mnist-dense` and `mnist-conv`, compared value by value, differ little."""

SOURCES = (f"{TOP}.v", "sterna_rom.v")

WAVES, SAVE_FILE = "waves.fst", "waves.gtkw"


def checked_images(
    plan: CorePlan, pixels: npt.NDArray[np.integer], labels: npt.NDArray[np.integer], stall: float
) -> npt.NDArray[np.uint8]:
    """The images of a simulation, once they, their labels and the stall are found right; raises
    `InputError`."""
    checked = GoldenModel(plan.network).check_pixels(pixels)
    if len(checked) == 0 or len(checked) != len(labels):
        raise InputError("Images must be at least one, and as many as labels")
    if not 0 <= stall < 1:
        raise InputError(f"Stall must be a probability from 0 to below 1, not {stall!r}")
    return checked


@fills_folder
def simulate(
    plan: CorePlan,
    pixels: npt.NDArray[np.integer],
    labels: npt.NDArray[np.integer],
    folder: Path,
    *,
    waves: bool = False,
    taps: bool = True,
    stall: float = 0.0,
    reset_after: int = 0,
    processes: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Simulate a core on images (n, input_size) and compare every value with the golden model.

    Leaves Verilog, ROM files, logs and `report.json` in `folder`.

    Parameters
    ----------
    waves
        Leave an FST of everything (slow; few images), `waves.fst`, and what GTKWave is to show of
        it, `waves.gtkw`, with neurons by name (`sim.bench.neurons`).
    taps
        Without, the core that ships is simulated: it shows logits, classes and cycles only.
    stall
        Probability per cycle of holding back a word, and of not taking a result. At 0, streams
        flow and the cycle law is checked.
    reset_after
        Reset once, after so many cycles, and begin anew.
    processes
        Simulations side by side; by default one per core for 64 images or more. One with waves.

    Returns
    -------
    dict
        The report (see docs/simulation.md).

    Raises
    ------
    InputError
        For images that do not fit the network, a stall that is no probability below 1, or fewer
        processes than one.
    SimulationError
        When the simulation cannot be built or breaks off.
    """
    started = time.monotonic()
    checked = checked_images(plan, pixels, labels, stall)
    if processes is not None and processes < 1:
        raise InputError(f"Processes must be a positive number, not {processes!r}")
    folder = folder.resolve()
    report_file = folder / "report.json"
    report_file.unlink(missing_ok=True)
    for old in (folder / WAVES, folder / SAVE_FILE, *folder.glob("shard*")):
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    with toolchain(), runtime_ahead(OPTIONS, waves=waves), under_way(progress, f"generating {TOP}"):
        facts = generate(plan, folder, taps=taps)
    plan.network.save(folder / NETWORK)
    layout = plan.facts()["layout"]
    size = sum((folder / name).stat().st_size for name in SOURCES)
    seconds = BUILD_SECONDS * size / 1e6
    built = time.monotonic()
    if waves:
        processes = 1  # one waveform
    elif processes is None:
        processes = len(os.sched_getaffinity(0)) if len(checked) >= 64 else 1
    job = prepare_job(plan, facts, stall=stall, reset_after=reset_after)
    shards = np.array_split(np.arange(len(checked)), min(processes, len(checked)))
    folders = [
        prepare_shard(folder / f"shard{n}", job, checked[part], labels[part])
        for n, part in enumerate(shards)
    ]
    with toolchain():
        quick = len(checked) * plan.expected_cycles() < QUICK_CYCLES
        watched = watches(plan) if waves and taps else []
        body = decoded(plan) if waves else ""
        what = f"building {TOP} ({layout}) with Verilator"
        with announced(progress, what, seconds=seconds):
            build_folder = build_core(
                folder, job, facts["settle"], waves=waves, quick=quick, watched=watched, body=body
            )
        ran = time.monotonic()
        cycles = max(len(shard) for shard in shards) * plan.expected_cycles()
        n, what = len(checked), f"simulating {len(checked)} images"
        with (
            announced(progress, what, total=n, seconds=cycles / CYCLES_A_SECOND) as at,
            ThreadPoolExecutor(len(shards)) as pool,
        ):
            futures = [
                pool.submit(run_shard, build_folder, shard, job, waves=waves) for shard in folders
            ]
            _watch(futures, folders, n, at)
    finished = time.monotonic()
    if waves:
        with announced(progress, "converting the waveform to FST"):
            names = vcd_names(folder / "dump.vcd")
            vcd_to_fst(folder / "dump.vcd", folder / WAVES)
            write_atomically(folder / SAVE_FILE, save_file(names, WAVES, watched).encode())

    findings = [json.loads((shard / "findings.json").read_text()) for shard in folders]
    report = report_of(plan, findings)
    report["seconds"] = round(finished - started, 2)
    report["seconds_by_phase"] = {
        "generate": round(built - started, 2),
        "build": round(ran - built, 2),
        "simulate": round(finished - ran, 2),
    }
    report["processes"] = len(shards)
    write_json(report_file, report)
    return report


def prepare_job(plan: CorePlan, facts: dict[str, Any], **more: Any) -> Job:
    """The job of a core as `generate` described it, whose network lies in `NETWORK`."""
    logit_bits = plan.network.layers[-1].logit_bits
    return Job(
        digest=plan.network.digest,
        recipe=plan.recipe(),
        word_bits=plan.input_bits,
        result_bits=result_layout(plan.network.spec.classes, logit_bits).size,
        taps=facts["taps"],
        **more,
    )


def prepare_shard(
    folder: Path, job: Job, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer]
) -> Path:
    """Lay out the folder from which one bench process works; return it."""
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(asdict(job)))
    np.save(folder / "pixels.npy", pixels)
    np.save(folder / "labels.npy", np.asarray(labels, dtype=np.int64))
    return folder


def build_core(
    folder: Path,
    job: Job,
    settle: int,
    *,
    waves: bool = False,
    quick: bool = False,
    watched: Sequence[Watch] = (),
    body: str = "",
) -> Path:
    """Compile the core in `folder` with the harness around it; `watched` neurons and what else is
    in `body` are for waveforms."""
    text = harness(
        TOP,
        job.word_bits,
        job.result_bits,
        job.taps,
        settle=settle,
        waves=waves,
        body=body + "".join(watch.instance for watch in watched),
        modules="".join(watch.text for watch in watched),
    )
    write_atomically(folder / f"{BENCH_TOP}.sv", text.encode())
    sources = [*SOURCES, f"{BENCH_TOP}.sv"]
    return build(
        folder, BENCH_TOP, sources, waves=waves, ports=PUBLIC, options=OPTIONS, quick=quick
    )


def run_shard(build_folder: Path, shard: Path, job: Job, *, waves: bool = False) -> None:
    """Run one bench process; what it recorded is gone afterwards, unless it failed."""
    run_bench(
        build_folder,
        BENCH_TOP,
        "sim.bench.bench",
        shard,
        variables={"STERNA_BENCH": str(shard)},
        plusargs=job.plusargs(shard),
        waves=waves,
        cwd=shard.parent,
    )
    for recorded in shard.glob("*.bin"):
        recorded.unlink()


def _watch(futures: list[Future], folders: list[Path], images: int, at: Step) -> None:
    """Tell how many images are through while the benches run; raise what they raise."""
    told = 0
    while wait(futures, timeout=0.5).not_done:
        files = [folder / "progress" for folder in folders]
        done = sum(int(file.read_text() or 0) for file in files if file.exists())
        if done > told:
            at(done, f"simulated {done} of {images} images")
            told = done
    for future in futures:
        future.result()


def report_of(plan: CorePlan, findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up the shards' findings."""

    def total(key: str) -> int:
        return sum(f[key] for f in findings)

    images = total("images")
    intervals = np.concatenate([np.diff(f["completion"]) for f in findings])
    first = [f["completion"][0] - f["start"] for f in findings]
    if len(intervals) == 0:  # a single image has no interval: its latency stands for it
        intervals = np.array(first)
    report = {
        "network": plan.network.spec.name,
        "digest": plan.network.digest,
        **plan.facts(),
        "images": images,
        "values_compared": total("compared"),
        "mismatches": total("mismatches"),
        "first_mismatch": next((f["first_mismatch"] for f in findings if f["first_mismatch"]), ""),
        "correct_rtl": total("correct_rtl"),
        "correct_golden": total("correct_golden"),
        "accuracy_rtl": total("correct_rtl") / images,
        "accuracy_golden": total("correct_golden") / images,
        "cycles_per_image": {
            "min": int(intervals.min()),
            "mean": round(float(intervals.mean()), 2),
            "max": int(intervals.max()),
        },
        "latency_first_image": max(first),
        "cycles": total("cycles"),
        "cycle_law_checked": all(f["law_checked"] for f in findings),
        "cycle_law_violations": total("cycle_law_violations"),
        "events_per_image": round(total("events") / images, 2),
        "sops_per_image": round(total("sops") / images, 2),
    }
    return report | _utilisation(plan, findings)


def _utilisation(plan: CorePlan, findings: list[dict[str, Any]]) -> dict[str, Any]:
    """The busiest layer's share of bank-cycles with a row addition, between first and last
    result: as seen, and by the cycle law; of the layers whose taps show it, if there are any."""
    flowing, predicted = (
        sum(f[times][-1] - f[times][0] for f in findings if f[times])
        for times in ("completion", "predicted")
    )
    additions = np.sum([f["steady_additions"] for f in findings], axis=0)
    busiest = int(np.argmax(additions))
    if not additions[busiest]:
        return {}

    def share(cycles: int) -> float | None:
        return round(int(additions[busiest]) / (cycles * plan.banks), 4) if cycles else None

    return {
        "bottleneck": plan.network.spec.layers[busiest].name,
        "lane_utilisation": share(flowing),
        "lane_utilisation_law": share(predicted),
    }
