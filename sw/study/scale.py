"""`sterna study scale`: cycles, memory and synaptic operations of networks as programs.

The model (`gen.program.expectation`) is compared, on the networks that ship, with the cycle law,
which the hardware keeps to the cycle; then it is applied to networks too large to build here.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.core.law import mean_cycles
from gen.core.plan import plan_programs
from gen.program.expectation import expected, memory_bits
from gen.program.stage import ProgramStagePlan, plan_program
from hw.contract.builder import random_network
from hw.contract.edge import INPUT
from hw.contract.files import write_json
from hw.contract.network import Network
from hw.contract.spec import NetworkSpec
from hw.contract.text import markdown
from sim.golden.model import GoldenModel, Trace
from sw.data.evaluate import EvaluateError, check_fits
from sw.data.split import Split
from sw.study.reference_networks import ZOO

__all__ = ["measured_rates", "scale_table", "study"]

CHIP_BITS = 208 * 18 * 1024
"""Block RAM of an ECP5-85k."""

MEGAHERTZ = 80

Result = dict[str, Any]


def measured_rates(
    network: Network, pixels: npt.NDArray[np.uint8], trace: Trace
) -> dict[str, npt.NDArray[np.float64]]:
    """How often each coefficient's bit is set, by source: (planes, channels, rows, columns)."""
    spec = network.spec
    maps = pixels.reshape(-1, *spec.shape_of(INPUT))
    found = {INPUT: np.stack([(maps >> p & 1).mean(axis=0) for p in range(spec.input_bits)])}
    for layer, spikes in zip(spec.layers, trace.spikes, strict=False):
        found[layer.name] = np.abs(spikes).mean(axis=(0, 1)).reshape(1, *layer.map_shape)
    return found


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
    plan, trace = plan_program(network, lanes), GoldenModel(network).run(pixels)
    law = mean_cycles(plan_programs(network, lanes, ()), pixels, trace.spikes)
    row = _row(plan, measured_rates(network, pixels, trace), "measured")
    return row | {"law": round(law, 1), "error": round(row["cycles"] / law - 1, 5)}


def predict(spec: NetworkSpec, lanes: int, rate: float) -> Result:
    """A network that was never trained, every neuron firing at the same rate."""
    plan = plan_program(random_network(spec, bias=0), lanes)
    rates = {INPUT: 0.5, **{layer.name: rate for layer in spec.layers[:-1]}}
    return _row(plan, rates, f"{rate:g}")


def study(
    shipped: Sequence[tuple[Network, Split]],
    *,
    lanes: Sequence[int],
    rate: float,
    images: int,
    out: Path,
    progress: Callable[[str], None],
) -> Result:
    """Check the model, predict the large networks, write the facts."""
    started, checked, predicted = time.monotonic(), [], []
    for network, data in shipped:
        progress(f"{network.spec.name}: model against cycle law")
        checked.append(check(network, data, lanes[0], images))
    for name, make in ZOO.items():
        for n in lanes:
            progress(f"{name}, {n} lanes")
            predicted.append(predict(make(), n, rate))
    facts = {
        "checked": checked,
        "foretold": predicted,
        "images": images,
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(out, facts)
    return facts


def scale_table(facts: Result) -> str:
    """Both tables, as docs/results.md has them."""
    head = ["network", "T", "lanes", "cycles, law", "cycles, model", "error"]
    rows = [
        [
            r["network"],
            str(r["steps"]),
            str(r["lanes"]),
            f"{r['law']:,.1f}",
            f"{r['cycles']:,}",
            f"{100 * r['error']:+.2f} %",
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
                *kibit,
                f"{sum(r['bits'].values()) / CHIP_BITS:.1f} times",
            ]
        )
    return f"{first}\n\n{markdown(head, rows)}"
