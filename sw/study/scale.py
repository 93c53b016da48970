"""`sterna study scale`: cycles, memory and synaptic operations of networks as programs.

The models (`gen.program.expectation`, and of windows `gen.window.expectation`) are compared, on the
networks that ship, with the cycle law, which the hardware keeps to the cycle; then they are applied
to networks too large to build here.
"""

import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.core.law import mean_cycles
from gen.core.plan import dense_tail, has_windows, plan_programs, plan_windows, played_changes
from gen.program.expectation import Rates, expected, memory_bits
from gen.program.stage import ProgramStagePlan, plan_program
from gen.window.expectation import window_expected
from gen.window.stage import plan_window
from hw.contract.builder import random_network
from hw.contract.edge import INPUT
from hw.contract.files import write_json
from hw.contract.network import Network
from hw.contract.spec import NetworkSpec
from hw.contract.text import markdown
from hw.program.code import Played
from hw.system.jobs import InTurn, Jobs, Result, RunJobs
from hw.system.progress import Progress, silent
from sim.golden.model import GoldenModel, Trace
from sw.data.evaluate import EvaluateError, check_fits
from sw.data.split import Split
from sw.study.reference_networks import ZOO

__all__ = ["check_job", "measured_rates", "predict_job", "scale_table", "study"]

CHIP_BITS = 208 * 18 * 1024
"""Block RAM of an ECP5-85k."""

MEGAHERTZ = 80

CHANGING = 0.33
"""Events of changes for one of spikes, behind the first step, on average over the shipped ternary
networks of maps on pictures (`Network.activity`)."""


def measured_rates(
    network: Network, pixels: npt.NDArray[np.uint8], trace: Trace, changes: Collection[str] = ()
) -> Rates:
    """How often each bit of what is played is set, by source: (planes, channels, rows, columns). Of
    the layers `changes` the first step alone is played as it is."""
    spec = network.spec
    rates: dict[Played, dict[str, Any]] = {kind: {} for kind in Played}

    def bits(values: npt.NDArray[np.integer], most: int) -> npt.NDArray[np.float64]:
        """Of (n, channels, rows, columns)."""
        return np.stack([(values >> p & 1).mean(axis=0) for p in range(most.bit_length())])

    maps = pixels.reshape(-1, *spec.shape_of(INPUT)).astype(np.int64)
    rates[Played.STEP][INPUT] = bits(maps, spec.pixel_max)
    films = pixels.reshape(len(pixels), -1, *spec.shape_of(INPUT)).astype(np.int64)
    total = films.sum(axis=1) * (spec.steps if films.shape[1] == 1 else 1)
    rates[Played.SUM][INPUT] = bits(total, spec.pixel_max * spec.steps)
    for layer, spikes in zip(spec.layers, trace.spikes, strict=False):
        assert layer.neuron is not None
        most, shape = layer.neuron.limit, (*spikes.shape[:2], *layer.map_shape)
        c = spikes.reshape(shape).astype(np.int64)
        step = np.abs(c[:, :1] if layer.name in changes else c).reshape(-1, *layer.map_shape)
        diff = np.abs(np.diff(c, axis=1)).reshape(-1, *layer.map_shape)
        rates[Played.STEP][layer.name] = bits(step, most)
        if len(diff):
            rates[Played.CHANGES][layer.name] = bits(diff, most * (1 + layer.neuron.signed))
        rates[Played.SUM][layer.name] = bits(np.abs(c.sum(axis=1)), most * spec.steps)
    return rates


def _row(plan: ProgramStagePlan, rates: Any, rates_text: str) -> Result:
    scale, bits = expected(plan, rates), memory_bits(plan)
    spec = plan.network.spec
    return {
        "network": spec.name,
        "steps": spec.steps,
        "lanes": plan.lanes,
        "rates": rates_text,
        "weights": sum(layer.weights.size for layer in plan.network.layers),
        "neurons": sum(layer.neurons for layer in spec.layers[:-1]),
        "cycles": round(scale.cycles),
        "updates": round(scale.updates),
        "sops": round(scale.sops),
        "bits": bits,
    }


def _windows(network: Network, lanes: int, rates: Rates, changes: Collection[str]) -> Result:
    """What a window stage takes for a network's layers of maps, if it can have one; those behind
    work meanwhile."""
    if not has_windows(network.spec):
        return {}
    plan = plan_window(network, lanes, range(dense_tail(network.spec)), changes)
    return {"windows": round(window_expected(plan, rates))}


def check(network: Network, data: Split, lanes: int, images: int) -> Result:
    """The model against the cycle law, on a network's own test images.

    Raises
    ------
    EvaluateError
        When the data set does not fit, or holds fewer than two images.
    """
    check_fits(network, data)
    pixels = data.images[:images]
    if len(pixels) < 2:
        raise EvaluateError(f"Data set {data.name} must hold at least two images")
    core, trace = plan_programs(network, lanes, ()), GoldenModel(network).run(pixels)
    (plan,) = core.stages
    assert isinstance(plan, ProgramStagePlan)
    law = mean_cycles(core, pixels, trace.spikes)
    rates = measured_rates(network, pixels, trace, core.changes)
    row = _row(plan, rates, "measured")
    found = row | {"law": round(law, 1), "error": round(row["cycles"] / law - 1, 5)}
    if row := _windows(network, lanes, rates, core.changes):
        whole = plan_windows(network, lanes)
        law = mean_cycles(whole, pixels, trace.spikes)
        # The dense layers behind may be slower.
        row["windows"] = max([row["windows"], *(s.expected_cycles() for s in whole.stages[1:])])
        error = round(row["windows"] / law - 1, 5)
        found |= row | {"windows_law": round(law, 1), "windows_error": error}
    return found


def predict(spec: NetworkSpec, lanes: int, rate: float) -> Result:
    """A network that was never trained, every neuron firing at the same rate."""
    network = random_network(spec, bias=0)
    plan = plan_program(network, lanes, changes=played_changes(network))
    spikes = {INPUT: 0.5, **{layer.name: rate for layer in spec.layers[:-1]}}
    single = np.array([rate * CHANGING, 0.0]).reshape(-1, 1, 1, 1)
    changes = dict.fromkeys(spikes, single)
    rates = {Played.STEP: spikes, Played.CHANGES: changes, Played.SUM: spikes}
    return _row(plan, rates, f"{rate:g}") | _windows(network, lanes, rates, played_changes(network))


def study(
    shipped: Mapping[str, tuple[Network, Split]],
    *,
    lanes: Sequence[int],
    rate: float,
    images: int,
    out: Path,
    run: RunJobs | None = None,
    progress: Progress = silent,
) -> Result:
    """Check the model on networks, by name, predict the large ones, write the facts.

    Parameters
    ----------
    run
        Who does both, each network a job, a large one with each number of lanes; None: one after
        the other.

    Raises
    ------
    EvaluateError
        As of `check`.
    """
    started, run = time.monotonic(), run or InTurn(progress)
    few = slice(images)
    sent, sha = {}, hashlib.sha256()
    for name, (network, data) in shipped.items():
        part = replace(data, images=data.images[few], labels=data.labels[few])
        sent[name] = network, part
        sha.update(f"{name} {network.spec.name} {network.digest} {part.digest}".encode())
    checked = run(
        Jobs(
            "networks checked",
            check_job,
            {name: {"name": name, "lanes": lanes[0], "images": images} for name in shipped},
            shared={"sent": (sha.hexdigest(), sent)},
        )
    )
    calls = {
        f"{name}, {n} lanes": {"name": name, "lanes": n, "rate": rate}
        for name in ZOO
        for n in lanes
    }
    foretold = run(Jobs("large networks", predict_job, calls))
    facts = {
        "checked": checked,
        "foretold": foretold,
        "images": images,
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(out, facts)
    return facts


def check_job(
    name: str,
    lanes: int,
    images: int,
    sent: Mapping[str, tuple[Network, Split]],
    progress: Progress = silent,
) -> Result:
    """A job: `check` of a network, which was sent with its test images."""
    network, data = sent[name]
    progress(f"{network.spec.name}: model against cycle law")
    return check(network, data, lanes, images)


def predict_job(name: str, lanes: int, rate: float, progress: Progress = silent) -> Result:
    """A job: `predict` of one of `ZOO`."""
    progress(f"{name}, {lanes} lanes")
    return predict(ZOO[name](), lanes, rate)


def scale_table(facts: Result) -> str:
    """Both tables, as docs/results.md has them."""
    head = ["network", "T", "lanes", "cycles, law", "cycles, model", "error"]
    head += ["windows, law", "windows, model", "error"]
    rows = [
        [
            r["network"],
            str(r["steps"]),
            str(r["lanes"]),
            f"{r['law']:,.1f}",
            f"{r['cycles']:,}",
            f"{100 * r['error']:+.2f} %",
            *(
                [
                    f"{r['windows_law']:,.1f}",
                    f"{r['windows']:,.0f}",
                    f"{100 * r['windows_error']:+.2f} %",
                ]
                if "windows" in r
                else [""] * 3
            ),
        ]
        for r in facts["checked"]
    ]
    first = markdown(head, rows)
    head = [
        "network",
        "weights",
        "neurons",
        "T",
        "lanes",
        "SOPs",
        "cycles",
        f"images/s at {MEGAHERTZ} MHz",
        "cycles, windows",
        f"images/s at {MEGAHERTZ} MHz",
        "weights, Kibit",
        "potentials",
        "spikes",
        "images",
        "of an ECP5-85k's block RAM",
    ]
    rows = []
    for r in facts["foretold"]:
        kibit = [
            f"{r['bits'][name] / 1024:,.0f}"
            for name in ("weights", "potentials", "spikes", "images")
        ]
        rows.append(
            [
                r["network"],
                f"{r['weights'] / 1e6:.2f} M",
                f"{r['neurons']:,}",
                str(r["steps"]),
                str(r["lanes"]),
                f"{r['sops'] / 1e6:,.0f} M",
                f"{r['cycles'] / 1e6:,.1f} M",
                f"{MEGAHERTZ * 1e6 / r['cycles']:.1f}",
                *(
                    [f"{r['windows'] / 1e6:,.1f} M", f"{MEGAHERTZ * 1e6 / r['windows']:.1f}"]
                    if "windows" in r
                    else [""] * 2
                ),
                *kibit,
                f"{sum(r['bits'].values()) / CHIP_BITS:.1f} times",
            ]
        )
    return f"{first}\n\n{markdown(head, rows)}"
