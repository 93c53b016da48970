"""How fast the tools are: golden model, RTL under Verilator, generation. `make bench`."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.core.plan import CorePlan, plan_network
from gen.core.verilog import generate
from hw.contract.files import write_json
from hw.contract.network import Network
from hw.system.process import fills_folder
from hw.system.progress import Progress, announced, silent
from sim.bench.run import simulate
from sim.golden.model import GoldenModel

__all__ = ["benchmark"]


def _machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            li.partition(":")[2].strip()
            for li in cpuinfo.read_text().splitlines()
            if li.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _best(work: Callable[[], object], repeats: int) -> float:
    """Shortest time of a few runs, in seconds: noise only ever adds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


@fills_folder
def benchmark(
    plan: CorePlan,
    pixels: npt.NDArray[np.integer],
    labels: npt.NDArray[np.integer],
    folder: Path,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure one network; leaves `bench.json` in `folder`.

    golden
        Images/s of `GoldenModel.classify` with one BLAS thread, best of 5 runs over about 10,000
        images.
    rtl
        Images/s and clock cycles/s of the Verilator simulation, every value being compared, all
        processes together, building not counted.
    generate
        Seconds from the network's file to Verilog and ROM files on disk, best of 3.
    """
    from threadpoolctl import threadpool_limits

    many = np.resize(pixels, (max(1, 10_000 // len(pixels)) * len(pixels), pixels.shape[1]))
    model = GoldenModel(plan.network)
    with announced(progress, "golden model"), threadpool_limits(1):
        golden = _best(lambda: model.classify(many), 5)
    file = plan.network.save(folder / "network.npz")

    def from_file() -> None:
        again = plan_network(Network.load(file), plan.lanes, plan.banks, plan.schedule)
        generate(again, folder / "verilog")

    with announced(progress, "generation"):
        generation = _best(from_file, 3)
    report = simulate(plan, pixels, labels, folder / "sim", progress=progress)
    seconds = report["seconds_by_phase"]["simulate"]
    facts = {
        "machine": _machine(),
        "network": plan.network.spec.name,
        "digest": plan.network.digest,
        "lanes": plan.lanes,
        "banks": plan.banks,
        "golden_images_per_second": round(len(many) / golden),
        "rtl_images": report["images"],
        "rtl_images_per_second": round(report["images"] / seconds, 1),
        "rtl_cycles_per_second": round(report["cycles"] / seconds),
        "rtl_processes": report["processes"],
        "rtl_mismatches": report["mismatches"],
        "golden_over_rtl": round(len(many) / golden * seconds / report["images"], 1),
        "generate_seconds": round(generation, 2),
        "build_seconds": report["seconds_by_phase"]["build"],
    }
    write_json(folder / "bench.json", facts)
    return facts
