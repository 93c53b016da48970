"""Runs labelled pictures through golden model and the Verilog of a learning core, and reports."""

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.core.plan import CorePlan
from gen.core.verilog import TOP, generate
from gen.learn.stage import learning_stage, plan_learning
from hw.contract.checks import InputError
from hw.contract.files import write_atomically, write_json
from hw.contract.network import Network
from hw.learn.masters import Masters
from hw.learn.stage import MODE_JUDGE
from hw.neuron.readout import result_layout
from hw.system.process import fills_folder
from hw.system.progress import Progress, announced, silent, under_way
from sim.bench.harness import BENCH_TOP, OPTIONS
from sim.bench.job import NETWORK
from sim.bench.run import QUICK_CYCLES
from sim.bench.verilator import build, run_bench, runtime_ahead, toolchain
from sim.golden.model import GoldenModel
from sim.learn.harness import PUBLIC, Shape, learning_harness
from sim.learn.job import MASTERS, LearningJob

__all__ = ["Lesson", "learn_in_simulation"]

CURVE, APART = 50, 20
"""Points of a report's curve, at most, and how many samples lie between two, at least."""

Int = npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """A sequence of samples, and what the teacher says to each.

    Parameters
    ----------
    pixels, labels
        (n, input_size), (n,).
    margins, rates
        (n,), (n, learned edges); None: those of the specification.
    modes, errors
        (n,) of `hw.learn.stage.MODE_...`, (n, classes) for `MODE_GIVEN`; None: the judge says.
    """

    pixels: Int
    labels: Int
    margins: Int | None = None
    rates: Int | None = None
    modes: Int | None = None
    errors: Int | None = None

    def filled(self, masters: Masters) -> "Lesson":
        """With what is None made explicit, and all of it checked.

        Raises
        ------
        InputError
            For pictures, labels, rates or errors that the network does not have.
        """
        spec, learning = masters.spec, masters.spec.learning
        assert learning is not None
        n, classes = len(self.labels), spec.classes
        pixels = GoldenModel(masters.network).check_pixels(self.pixels)
        labels = np.asarray(self.labels, dtype=np.int64)
        if n == 0 or len(pixels) != n:
            raise InputError("Samples must be at least one, and pictures as many as labels")
        if labels.min() < 0 or labels.max() >= classes:
            raise InputError(f"Labels must lie in 0..{classes - 1}")

        def given(values: Int | None, usual: Any, shape: tuple[int, ...]) -> Int:
            if values is None:
                return np.broadcast_to(np.asarray(usual, dtype=np.int64), shape).copy()
            if values.shape != shape:
                raise InputError(f"What is said to {n} samples must have shape {shape}")
            return np.asarray(values, dtype=np.int64)

        lesson = Lesson(
            pixels=pixels,
            labels=labels,
            margins=given(self.margins, learning.margin, (n,)),
            rates=given(self.rates, learning.rates, (n, len(learning.rates))),
            modes=given(self.modes, MODE_JUDGE, (n,)),
            errors=given(self.errors, 0, (n, classes)),
        )
        assert lesson.errors is not None
        if np.abs(lesson.errors).max() > learning.error_max:
            raise InputError(f"Errors must lie within +-{learning.error_max}")
        return lesson


@fills_folder
def learn_in_simulation(
    masters: Masters,
    lesson: Lesson,
    folder: Path,
    *,
    lanes: int,
    dump: int = 1,
    dump_first: int = 0,
    taps: bool = True,
    stall: float = 0.0,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[dict[str, Any], Masters]:
    """Let a learning core learn, and compare every value with the golden model after every sample.

    Leaves Verilog, ROM files, logs, `report.json`, and what was learned (network file and masters)
    in `folder`.

    Parameters
    ----------
    masters
        The state at the start; it is not changed.
    lesson
        The samples, in order.
    lanes
        Of the core.
    dump, dump_first
        Read back all masters after so many samples each time (0: after the last alone), and after
        each of the first ones.
    taps
        Without, the core that ships is simulated: it shows logits, verdicts, cycles and masters.
    stall
        Probability per cycle of holding back a word, and of not taking a result. At 0 the cycle law
        is checked.

    Returns
    -------
    tuple
        The report, and the state after the last sample.

    Raises
    ------
    InputError
        For samples that do not fit the network.
    SimulationError
        When the simulation cannot be built or breaks off.
    """
    started = time.monotonic()
    lesson = lesson.filled(masters)
    plan = plan_learning(masters, lanes)
    _check_ranges(plan, lesson)
    folder = folder.resolve()
    report_file, shard = folder / "report.json", folder / "shard0"
    report_file.unlink(missing_ok=True)
    shutil.rmtree(shard, ignore_errors=True)
    with toolchain(), runtime_ahead(OPTIONS), under_way(progress, f"generating {TOP}"):
        facts = generate(plan, folder, taps=taps)
    network = masters.working()
    network.save(folder / NETWORK)
    masters.save(folder / MASTERS)
    shape = _shape(plan)
    job = LearningJob(
        digest=network.digest,
        lanes=lanes,
        result_bits=shape.result_bits,
        row_bits=shape.row_bits,
        taps=facts["taps"],
        dump=dump,
        dump_first=dump_first,
        samples=len(lesson.labels),
        stall=stall,
        seed=seed,
    )
    _lay_out(shard, job, shape, plan, lesson)
    built = time.monotonic()
    quick = len(lesson.labels) * plan.expected_cycles() < QUICK_CYCLES
    with toolchain():
        text = learning_harness(TOP, shape, job.taps)
        write_atomically(folder / f"{BENCH_TOP}.sv", text.encode())
        sources = [f"{BENCH_TOP}.sv", f"{TOP}.v", *plan.sources]
        with announced(progress, f"building {TOP} ({lanes} lanes, learning) with Verilator"):
            build_folder = build(
                folder, BENCH_TOP, sources, ports=PUBLIC, options=OPTIONS, quick=quick
            )
        ran = time.monotonic()
        n = len(lesson.labels)
        with (
            under_way(progress, f"learning from {n} samples", total=n) as at,
            ThreadPoolExecutor(1) as pool,
        ):
            future = pool.submit(
                run_bench,
                build_folder,
                BENCH_TOP,
                "sim.learn.bench",
                shard,
                variables={"STERNA_BENCH": str(shard)},
                plusargs=job.plusargs(shard),
                cwd=folder,
            )
            told = ""
            while wait([future], timeout=0.5).not_done:
                file = shard / "progress"
                done = file.read_text() if file.exists() else ""
                if done and done != told:
                    told = done
                    at(int(done), f"learned from {done} of {n} samples")
            future.result()
    finished = time.monotonic()
    for recorded in shard.glob("*.bin"):
        recorded.unlink()
    findings = json.loads((shard / "findings.json").read_text())
    report = _report(plan, findings)
    report["seconds"] = round(finished - started, 2)
    report["seconds_by_phase"] = {
        "generate": round(built - started, 2),
        "build": round(ran - built, 2),
        "simulate": round(finished - ran, 2),
    }
    write_json(report_file, report)
    after = Masters.load(shard / MASTERS, Network.load(shard / NETWORK))
    return report, after


def _shape(plan: CorePlan) -> Shape:
    """Widths of the ports of a learning core."""
    stage = learning_stage(plan)
    p, learning = stage.program, stage.program.learning
    assert learning is not None
    low, high = learning.rate_range
    return Shape(
        word_bits=plan.input_bits,
        words=plan.words,
        result_bits=result_layout(p.classes, p.logit_bits).size,
        label_bits=max(1, (p.classes - 1).bit_length()),
        margin_bits=learning.margin_bits,
        rate_bits=learning.rates * (high - low).bit_length(),
        error_bits=1 + learning.error_planes,
        row_bits=p.master_table.width,
        classes=p.classes,
        rows=len(learning.masters),
    )


def _rate_range(plan: CorePlan) -> tuple[int, int]:
    learning = learning_stage(plan).program.learning
    assert learning is not None
    return learning.rate_range


def _check_ranges(plan: CorePlan, lesson: Lesson) -> None:
    """Refuse rates and margins that the core cannot be set to."""
    learning = learning_stage(plan).program.learning
    assert learning is not None
    assert lesson.margins is not None
    assert lesson.rates is not None
    low, high = learning.rate_range
    if lesson.rates.min() < low or lesson.rates.max() > high:
        raise InputError(f"Learning rates of this core must lie in {low}..{high}")
    if lesson.margins.min() < 0 or int(lesson.margins.max()).bit_length() > learning.margin_bits:
        raise InputError(f"Margins of this core must lie in 0..{(1 << learning.margin_bits) - 1}")


def _lay_out(shard: Path, job: LearningJob, shape: Shape, plan: CorePlan, lesson: Lesson) -> None:
    """The folder from which the bench works, with the samples as the harness reads them."""
    shard.mkdir(parents=True)
    (shard / "job.json").write_text(json.dumps(asdict(job)))
    names = [field.name for field in fields(Lesson)]
    np.savez(shard / "samples.npz", **{name: getattr(lesson, name) for name in names})
    low, high = _rate_range(plan)
    assert lesson.margins is not None
    assert lesson.rates is not None
    assert lesson.modes is not None
    assert lesson.errors is not None
    width = (high - low).bit_length()
    size = -(-plan.input_bits // 8)
    words = plan.pack(lesson.pixels)
    with open(shard / "samples.bin", "wb") as file:
        for n in range(len(lesson.labels)):
            rates = sum(int(k - low) << (e * width) for e, k in enumerate(lesson.rates[n]))
            numbers = (lesson.modes[n], lesson.labels[n], lesson.margins[n], rates)
            for number, count in zip(numbers, shape.control_bytes, strict=False):
                file.write(int(number).to_bytes(count, "big"))
            file.write(bytes(int(error) & 0xFF for error in lesson.errors[n]))
            for word in words[n * shape.words : (n + 1) * shape.words]:
                file.write(word.to_bytes(size, "big"))


def _curve(right: list[bool], learned: list[bool]) -> list[list[int]]:
    """After so many samples (the first entry: before any): how many of them were answered rightly,
    each before it was learned, and how many were learned."""
    so_far = np.cumsum([right, learned], axis=1)
    every = max(APART, -(-len(right) // CURVE))
    places = [*range(every, len(right), every), len(right)]
    return [[0, 0, 0], *([n, *so_far[:, n - 1].tolist()] for n in places)]


def _report(plan: CorePlan, found: dict[str, Any]) -> dict[str, Any]:
    """What a run came to."""
    samples = found["images"]
    inference, learning = found["cycles_inference"], found["cycles_learning"]

    def mean(values: list[int]) -> float | None:
        return round(float(np.mean(values)), 2) if values else None

    return {
        "network": plan.network.spec.name,
        **plan.facts(),
        "samples": samples,
        "values_compared": found["compared"],
        "mismatches": found["mismatches"],
        "first_mismatch": found["first_mismatch"],
        "cycle_law_checked": found["law_checked"],
        "cycle_law_violations": found["cycle_law_violations"],
        "correct_while_learning": found["correct_golden"],
        "learned": found["learned"],
        "curve": _curve(found["right_each"], found["learned_each"]),
        "share_learned": round(found["learned"] / samples, 4),
        "cycles_inference": mean(inference),
        "cycles_learning": mean(learning),
    }
