"""Reports as tables of `what  value`, for people: each takes the plain data of a command."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hw.contract.text import percent, share, table

__all__ = [
    "bench_table",
    "board_table",
    "plan_table",
    "sim_table",
    "timing_table",
    "told_accuracies",
]

Rows = list[tuple[str, object]]


def told_accuracies(test: object) -> Rows:
    """Rows for the accuracies in a network's `meta`, which is free: what has another form
    than ours says nothing to us."""
    rows: Rows = []
    for kind, figures in test.items() if isinstance(test, dict) else ():
        hits, n = (
            (figures.get(key) for key in ("hits", "n")) if isinstance(figures, dict) else (0, 0)
        )
        if isinstance(hits, int) and isinstance(n, int) and 0 <= hits <= n > 0:
            rows.append((f"{kind} network", f"{percent(hits, n)} of test images"))
    return rows


def sim_table(report: Mapping[str, Any], images: str, out: Path, page: Path | None = None) -> str:
    """The report of `sim.bench.run.simulate`; `images` names the data set, `out` is the folder."""
    n, cycles = report["images"], report["cycles_per_image"]
    seconds = report["seconds_by_phase"]
    law = "not checked (streams were stalled)"
    if report["cycle_law_checked"]:
        law = f"{report['cycle_law_violations']} violations"
    rows: Rows = [
        ("network", f"{report['network']}, {report['layout']}"),
        ("images", f"{n} of {images}"),
        ("accuracy, hardware", percent(report["correct_rtl"], n)),
        ("accuracy, golden model", percent(report["correct_golden"], n)),
        ("values compared", f"{report['values_compared']:,}"),
        ("mismatches", report["mismatches"]),
        ("cycle law", law),
        ("cycles per image", f"min {cycles['min']}, mean {cycles['mean']}, max {cycles['max']}"),
        ("latency of the first", f"{report['latency_first_image']} cycles"),
        ("events per image", report["events_per_image"]),
        ("synaptic operations", f"{report['sops_per_image']:,.0f} per image"),
        *utilisation_rows(report),
        (
            "wall time",
            f"{report['seconds']} s ("
            + ", ".join(f"{phase} {spent}" for phase, spent in seconds.items())
            + ")",
        ),
        ("report", out / "report.json"),
    ]
    if page is not None:
        rows.append(("to look at", page))
    if report["first_mismatch"]:
        rows.append(("first mismatch", report["first_mismatch"]))
    if (out / "waves.fst").exists():
        rows.append(("waveform", out / "waves.fst"))
        rows.append(("for GTKWave", out / "waves.gtkw"))
    return table(rows)


def utilisation_rows(report: Mapping[str, Any]) -> Rows:
    """What is told of a pipeline alone."""
    if "lane_utilisation" not in report:
        return []
    return [
        (
            "lane utilisation",
            f"{share(report['lane_utilisation'])} (cycle law: "
            f"{share(report['lane_utilisation_law'])}; layer "
            f"{report['bottleneck']}, the busiest)",
        )
    ]


def timing_table(report: Mapping[str, Any]) -> str:
    """The report of `gen.board.timing.close_timing`."""
    verdict = "met" if report["met"] else "MISSED"
    rows: Rows = [
        ("network", f"{report['network']}, {report['layout']}"),
        ("device", report["device"]),
        (
            "fmax after routing",
            f"{report['fmax_mhz']} MHz ({report['asked_mhz']:g} asked: "
            f"{verdict}; seed {report['seed']})",
        ),
    ]
    for kind, (used, available) in report["resources"].items():
        rows.append((kind, f"{used} of {available} ({100 * used / available:.0f} %)"))
    return table(rows)


def bench_table(facts: Mapping[str, Any]) -> str:
    """The figures of `sim.bench.benchmark.benchmark`."""
    rows: Rows = [
        ("machine", facts["machine"]),
        ("network", f"{facts['network']}, {facts['lanes']} lanes, {facts['banks']} bank(s)"),
        ("golden model", f"{facts['golden_images_per_second']:,} images/s (one core)"),
        (
            "RTL, Verilator",
            f"{facts['rtl_images_per_second']} images/s, "
            f"{facts['rtl_cycles_per_second']:,} cycles/s "
            f"({facts['rtl_processes']} processes, {facts['rtl_mismatches']} "
            f"mismatches in {facts['rtl_images']} images)",
        ),
        ("golden / RTL", f"{facts['golden_over_rtl']} times"),
        ("image to Verilog", f"{facts['generate_seconds']} s"),
        ("Verilator build", f"{facts['build_seconds']} s"),
    ]
    return table(rows)


def _of(pair: Sequence[int]) -> str:
    used, there = pair
    return f"{used:,} of {there:,} ({100 * used / there:.0f} %)" if there else f"{used:,}"


RESOURCE_NAMES = {"luts": "look-up tables", "brams": "block RAMs", "sprams": "single-port RAMs"}


def plan_table(plan: Mapping[str, Any]) -> str:
    """A board's plan, `gen.board.planner.BoardPlan.to_dict`."""
    rows: Rows = [
        ("board", plan["board"]),
        ("network", f"{plan['network']}, digest {plan['digest'][:16]}"),
        ("layout", plan["layout"]),
        (
            "weights",
            "from flash: " * (plan["flash_address"] is not None) + ", ".join(plan["memories"]),
        ),
        ("clock", _clock(plan["clock_hz"], plan["full_chip_hz"], plan["clock_measured"])),
    ]
    rows += [
        (f"{RESOURCE_NAMES[name]}, estimated", _of(pair))
        for name, pair in plan["estimate"].items()
        if pair[1]
    ]
    speed = (
        f"about {plan['expected_cycles']:,.0f} cycles an image, "
        f"{plan['expected_images_per_second']:,} images/s at the network's own activity"
    )
    return table([*rows, ("expected", speed)])


def _clock(hz: float, full_chip: float, measured: bool) -> str:
    """A planned clock, with a word where it is more than what a full chip was seen to reach, or
    where none was `measured` on such a board."""
    told = f"{hz / 1e6:g} MHz"
    if not measured:
        return f"{told}: by the chip's family, not measured on this board; routing tells"
    if hz <= full_chip:
        return told
    return f"{told}: not expected to close, a full chip of this layout does at {full_chip / 1e6:g}"


def board_table(report: Mapping[str, Any]) -> str:
    """A board's report: planned against actual, clock, speed, files."""
    rows: Rows = [
        ("board", report["board"]),
        ("network", f"{report['network']}, digest {report['digest'][:16]}"),
        ("layout", report["layout"]),
    ]
    for name, (planned, there) in report["planned"].items():
        if there:
            used = report["used"][name]
            told = f"{_of((used, there))}; planned {planned:,}"
            if used:
                told += f" ({100 * (planned - used) / used:+.0f} %)"
            rows.append((RESOURCE_NAMES[name], told))
    rows += [
        ("flip-flops", _of(report["used"]["ffs"])),
        (
            "clock",
            f"{report['asked_mhz']:g} MHz asked, {report['fmax_mhz']:.2f} MHz after routing "
            f"(seed {report['seed']})",
        ),
    ]
    if "images_per_second" in report:
        speed = (
            f"{report['images_per_second']:,} images/s at the clock asked: "
            f"{report['cycles_per_image']:,} cycles an image by the cycle law"
        )
        rows.append(("speed", speed))
    rows.append(("bitstream", report["bitstream"]))
    rows.append(("  SHA-256", report["bitstream_sha256"]))
    if "flash_image" in report:
        rows.append(("flash image", f"{report['flash_image']} at 0x{report['flash_address']:x}"))
        rows.append(("  SHA-256", report["flash_image_sha256"]))
    rows.append(("wall time, s", ", ".join(f"{k} {v}" for k, v in report["seconds"].items())))
    return table(rows)
