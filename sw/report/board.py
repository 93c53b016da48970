"""What `bitstream` left: resources, clock, the slowest path, what lies where."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gen.core.plan import rebuild
from gen.stage.stage import PlanError
from hw.contract.files import read_json
from hw.contract.network import Network
from sw.report import figures
from sw.report.memory import memory_parts, memory_sizes
from sw.report.parts import Page, Picture, Section, Table, facts_table
from sw.report.run import ReportError
from sw.report.svg import as_svg

__all__ = ["BUILT", "board_page", "board_sections", "boards_of", "path_in_words"]

BUILT = {
    "board": str,
    "network": str,
    "digest": str,
    "layout": str,
    "asked_mhz": (int, float),
    "fmax_mhz": (int, float),
    "planned": dict,
    "used": dict,
    "seconds": dict,
}
"""Of a board's `report.json`, what is shown."""

DESIGN = {"plan": dict, "stages": [dict]}
"""Of `board.json`."""

NAMES = {"luts": "look-up tables", "brams": "block RAMs", "sprams": "single-port RAMs"}

MOST = 200
"""Folders that are looked into for a board's report."""


def boards_of(folder: Path, digest: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Reports of bitstreams in the folders of a folder, of one network; others are passed by."""
    for path in sorted(folder.glob("*/report.json"))[:MOST]:
        try:
            report = read_json(path, BUILT)
        except (OSError, ValueError, RecursionError):
            continue
        if report["digest"] == digest:
            yield path.parent, report


def path_in_words(path: dict[str, Any]) -> str:
    """Of `critical_paths` of a board's report: ends without what synthesis adds to names."""
    whole = path["logic_ns"] + path["wires_ns"]
    share = path["wires_ns"] / whole if whole else 0.0
    return (
        f"from {_place(path['from'])} to {_place(path['to'])}: {whole:.2f} ns over "
        f"{path['cells']} cells, "
        f"{100 * share:.0f} % of it on wires"
    )


def _place(cell: str) -> str:
    """Where a cell of a netlist is: `core.stage0.queue0.encoder.current_SB_DFFE_Q` is in stage 0,
    queue 0, encoder, current."""
    parts = []
    for part in cell.split("."):
        name = re.sub(
            r"_(SB|TRELLIS|LUT|DFF|CCU2C|PFUMX|L6MUX|DP16KD|MULT|ALU|LC|Q|D)(_.*|$)", "", part
        )
        name = re.sub(r"_(DFF|SB|LUT)\w*$", "", name)
        if name and not name.startswith("$") and name != "core":
            parts.append(re.sub(r"^(stage|queue)(\d+)$", r"\1 \2", name).replace("_", " "))
    return ", ".join(parts) or cell


def board_page(folder: Path, network_section: Any) -> Page:
    """Of a bitstream's folder.

    Parameters
    ----------
    network_section
        What shows its network (`sw.report.sections`).

    Raises
    ------
    ReportError
        When its report is damaged, or the network is not that of the report.
    """
    try:
        report = read_json(folder / "report.json", BUILT)
        network = Network.load(folder / "network.npz")
        design = read_json(folder / "board.json", DESIGN)
        found = [
            _built(report),
            *board_sections([(folder, report)]),
            *_memory(network, design),
            *_files(report),
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ReportError(f"Bitstream in {folder} is damaged: {error}") from None
    if network.digest != report["digest"]:
        raise ReportError(f"Bitstream in {folder} is damaged: its network is another")
    met = report["fmax_mhz"] >= report["asked_mhz"]
    told = (
        f"{report['network']} on {report['board']}: {report['fmax_mhz']:.2f} MHz after routing, "
        f"{report['asked_mhz']:g} MHz asked."
    )
    if "images_per_second" in report:
        told += f" {report['images_per_second']:,} images a second at the clock asked."
    return Page(
        title=f"Sterna: {report['network']} on {report['board']}",
        verdict=told,
        facts=report,
        sections=[*found[:1], network_section(network), *found[1:]],
        good=met,
    )


def _built(report: dict[str, Any]) -> Section:
    rows: list[tuple[str, object]] = [
        ("board", report["board"]),
        ("network", report["network"]),
        ("digest", report["digest"]),
        ("layout", report["layout"]),
        ("clock asked", f"{report['asked_mhz']:g} MHz"),
        ("clock after routing", f"{report['fmax_mhz']:.2f} MHz"),
    ]
    if "images_per_second" in report:
        rows += [
            ("cycles an image, by the cycle law", report["cycles_per_image"]),
            ("images a second at the clock asked", report["images_per_second"]),
        ]
    told = ", ".join(f"{what} {spent} s" for what, spent in report["seconds"].items())
    rows.append(("wall time", told))
    return Section("summary", "What was built", parts=[facts_table("summary", "Build", rows)])


def board_sections(built: Sequence[tuple[Path, dict[str, Any]]]) -> Iterator[Section]:
    """Of some bitstreams: side by side, and, of one alone, its memory map."""
    rows, resources, paths, text = [], [], [], []
    for folder, report in built:
        rows.append(
            (
                report["board"],
                report["layout"],
                report["asked_mhz"],
                round(report["fmax_mhz"], 2),
                report.get("cycles_per_image", ""),
                report.get("images_per_second", ""),
                folder.name,
            )
        )
        for name, used, planned, there in _resources(report):
            share = round(100 * used / there, 1)
            off = "" if planned == "" or not used else round(100 * (planned - used) / used, 1)
            resources.append((report["board"], name, planned, used, off, there, share))
        for clock, path in report.get("critical_paths", {}).items():
            told = path_in_words(path)
            text.append(f"{report['board']}, the slowest path (clock domain {clock}): {told}.")
            ends = (path["from"], path["to"])
            spent = (round(path["logic_ns"], 2), round(path["wires_ns"], 2), path["cells"])
            paths.append((report["board"], clock, *spent, *ends))
    head = ("board", "layout", "MHz asked", "MHz routed", "cycles an image", "images/s", "folder")
    parts: list[Picture | Table] = [Table("boards", "Bitstreams of this network", head, rows)]
    if resources:
        shares = [(f"{board}: {name}", 100.0, share) for board, name, *_, share in resources]
        figure = figures.bars(shares, "% of the chip", ("there is", "used"))
        parts.append(Picture(as_svg(figure, "Resources in use", "resources"), "Of each chip."))
        head = ("board", "resource", "planned", "used", "plan above use, %", "there are")
        table = Table("resources", "Planned against used", (*head, "used, %"), resources)
        parts.append(table)
    if paths:
        head = ("board", "clock", "ns of logic", "ns of wires", "cells", "from", "to")
        parts.append(Table("paths", "Slowest paths", head, paths))
    yield Section("boards", "Boards" if len(built) > 1 else "The board", text, parts)


def _memory(network: Network, design: dict[str, Any]) -> Iterator[Section]:
    """Memories of the core, and what lies where in those of programs."""
    parts: list[Picture | Table] = []
    with suppress(PlanError):  # a core that learns is not laid out by a recipe
        parts.append(memory_sizes(rebuild(network, design["plan"].get("recipe", {}))))
    stages = design["stages"]
    for n, stage in enumerate(stages):
        parts += memory_parts(stage.get("memory"), n, len(stages))
    if parts:
        yield Section("memory", "Memory map", parts=parts)


def _resources(report: dict[str, Any]) -> Iterator[tuple[str, int, Any, int]]:
    """Name, used, planned (flip-flops are not), and how many there are."""
    for name, (planned, there) in report["planned"].items():
        used = report["used"].get(name)
        if there and isinstance(used, int):
            yield NAMES.get(name) or str(name), used, planned, there
    registers = report["used"].get("ffs")
    if isinstance(registers, list) and registers[1]:
        yield "flip-flops", registers[0], "", registers[1]


def _files(report: dict[str, Any]) -> Iterator[Section]:
    """What is put on the board."""
    rows = []
    for name, told in (("bitstream", "bitstream"), ("flash_image", "flash image")):
        if name in report:
            size, digest = report.get(f"{name}_bytes", ""), report.get(f"{name}_sha256", "")
            at = report.get("flash_address") if name == "flash_image" else None
            where = "" if at is None else f"0x{at:x}"
            rows.append((told, Path(report[name]).name, size, where, digest))
    if rows:
        head = ("file", "name", "bytes", "at address of the flash", "SHA-256")
        yield Section("files", "Files", parts=[Table("files", "Files", head, rows)])
