"""The core as a package for other people's designs; docs/ip.md shows how it is used."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.core.header import core_header, made_by, ports_of
from gen.core.law import CycleLaw
from gen.core.plan import CorePlan, PlanError
from gen.core.verilog import manifest, rom_texts
from gen.ip.texts import (
    BENCH,
    CORE,
    CORE_BENCH,
    CORE_SIM,
    FLAT,
    INSTANCE,
    MAPS,
    MEANINGS,
    README,
    RECORDING,
)
from gen.stage.emit import verilog_text
from gen.stage.finish import finish, finish_memory
from hw.contract.files import json_text, write_files
from hw.contract.layout import MapLayout
from hw.contract.text import number_of
from hw.memory.sources import verilog_source
from hw.system.process import fills_folder
from hw.top.axi import ERRORS, AxiStreamCore

__all__ = [
    "AXI_TOP",
    "INTERFACE_VERSION",
    "cycle_bounds",
    "package_ip",
    "place_of_pixel",
    "used_bytes",
]

AXI_TOP = "sterna_axis"

INTERFACE_VERSION = "0.1.0"
"""Of ports and protocol, for FuseSoC. Which network it is, the digest says."""

Examples = tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]
"""Pictures or recordings (n, image_size) and their logits (n, classes)."""


@fills_folder
def package_ip(plan: CorePlan, folder: Path, *, examples: Examples | None = None) -> dict[str, Any]:
    """Write the core with AXI4-Stream ports and all that a design around it needs.

    `sterna_axis.v` (the top), `sterna_rom.v`, `rom/*.hex`, `sterna_axis_inst.v` (an instance to
    copy), `README.md`, `sterna.core` (FuseSoC), then `core.json`. Equal input gives equal bytes.
    Everything is made before the first file is written.

    Parameters
    ----------
    plan
        Network and layout.
    folder
        Where to; made if need be.
    examples
        Makes a test bench for any SystemVerilog simulator, `tb/`, and FuseSoC's target `sim`. The
        logits are the golden model's.

    Returns
    -------
    dict
        The manifest: that of the core, and under `axi` the ports, the cycles and the files.

    Raises
    ------
    PlanError
        When the weights are not in ROM, the core learns, or the examples are not images with their
        logits.
    """
    if plan.loaded:
        raise PlanError("Weights of a package must be in ROM, not loaded at power-up")
    if plan.schedule == "learning":
        raise PlanError("A core that learns has ports that a package has not: it cannot be one")
    if examples is not None:
        _check(plan, examples)
    used = used_bytes(plan)
    dut = AxiStreamCore(plan.component(), used=used)
    name = plan.network.spec.file_name
    head = "".join(f"// {line}\n" for line in made_by(plan))
    # Vivado's manual (UG901) allows no comment in a memory file.
    files = {
        path: "".join(line for line in text.splitlines(True) if not line.startswith("//"))
        for path, text in rom_texts(plan).items()
    }
    roms = sorted(files)
    bench = {} if examples is None else _bench(plan, dut, examples)
    bounds, ports = cycle_bounds(plan), ports_of(dut)
    header = core_header(plan, AXI_TOP, ports, MEANINGS, _cycle_lines(bounds))
    files[f"{AXI_TOP}.v"] = finish(verilog_text(dut, AXI_TOP), header)
    files |= {source: finish_memory(verilog_source(source)) for source in plan.sources}

    facts = manifest(plan, dut.core.taps)
    facts["top"] = AXI_TOP
    facts["axi"] = {
        "version": INTERFACE_VERSION,
        "vlnv": f"::sterna_{name.replace('-', '_')}:{INTERFACE_VERSION}",
        "ports": {port: [way, bits] for port, way, bits in ports},
        "pixel_max": plan.network.spec.pixel_max,
        "errors": list(ERRORS),
        "layout": None if plan.layout is None else asdict(plan.layout),
        **bounds,
        "sources": [f"{AXI_TOP}.v", *plan.sources],
        "roms": roms,
    }
    values = _values(plan, facts)
    files[f"{AXI_TOP}_inst.v"] = head + INSTANCE.substitute(values)
    files["README.md"] = README.substitute(values)
    files["sterna.core"] = CORE.substitute(values, bench=CORE_BENCH if bench else "")
    files["sterna.core"] += CORE_SIM if bench else ""
    files |= {path: text.replace("$head", head) for path, text in bench.items()}
    files["core.json"] = json_text(facts)
    write_files(folder, files, owned=["rom/*.hex", "tb/*"])
    return facts


def used_bytes(plan: CorePlan) -> npt.NDArray[np.bool_]:
    """Which bytes of which transfers are pixels: (transfers of an image, bytes of one)."""
    spec = plan.network.spec
    return _transfers(plan, np.full((1, spec.image_size), spec.pixel_max, dtype=np.uint8)) > 0


def _transfers(plan: CorePlan, pixels: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """Images (n, image_size) as the bytes of the bus, (transfers, bytes of one)."""
    count, bits, _ = plan.stages[0].input
    rows = [row >> k * bits & (1 << bits) - 1 for row in plan.pack(pixels) for k in range(count)]
    return np.array(rows, dtype=np.uint8).reshape(-1, count)


def cycle_bounds(plan: CorePlan) -> dict[str, list[int]]:
    """Least and most cycles, both streams flowing: `latency`, from an image's first transfer to
    its class, nothing being under way; `cycles_per_image`, from class to class on average over a
    long run of images. Single classes of a run may come sooner or later than that.

    The least is for empty images that make no neuron fire, the most for full ones that make every
    neuron send as many events as it can.
    """
    images, spec = 8, plan.network.spec  # enough to fill any chain's buffers
    found = []
    for filled, spikes in ((0, _silent(plan)), (1, _firing(plan)), (1, _busiest(plan))):
        pixels = np.full((images, spec.image_size), filled * _most_bits(spec.pixel_max))
        many = [np.broadcast_to(layer, (images, *layer.shape)) for layer in spikes]
        done = CycleLaw(plan).predict(pixels, many)
        found.append((int(done[0]) + AxiStreamCore.LATENCY, int(done[-1] - done[-2])))
    latencies, intervals = zip(*found, strict=True)
    return {
        "latency": [min(latencies), max(latencies)],
        "cycles_per_image": [min(intervals), max(intervals)],
    }


Spikes = list[npt.NDArray[np.int64]]
"""What each layer that fires sends for an image, (T, neurons)."""


def _silent(plan: CorePlan) -> Spikes:
    spec = plan.network.spec
    return [np.zeros((spec.steps, layer.neurons), dtype=np.int64) for layer in spec.layers[:-1]]


def _firing(plan: CorePlan) -> Spikes:
    """Every neuron, at every step, what becomes the most events: one per set bit, or |c| where
    coefficients are repeated."""
    found = _silent(plan)
    for spikes, layer in zip(found, plan.network.spec.layers, strict=False):
        assert layer.neuron is not None
        most = layer.neuron.limit
        spikes[:] = most if plan.options.repeat else _most_bits(most)
    return found


def _busiest(plan: CorePlan) -> Spikes:
    """As `_firing`, but for layers of which not the spikes are played: of those played as changes
    from step to step, the changes are the largest; of those that only a readout receives, which
    plays their sums, the sums."""
    spec, found = plan.network.spec, _firing(plan)
    for spikes, layer in zip(found, spec.layers, strict=False):
        neuron = layer.neuron
        assert neuron is not None
        if layer.name in plan.changes:
            least = -neuron.limit if neuron.signed else 0
            between = _most_bits(neuron.limit - least)
            spikes[0::2], spikes[1::2] = neuron.limit, neuron.limit - between
        elif _only_read_out(plan, layer.name) and not plan.options.repeat:
            left = _most_bits(spec.steps * neuron.limit)
            for step in range(spec.steps):
                spikes[step] = min(neuron.limit, left)
                left -= min(neuron.limit, left)
    return found


def _only_read_out(plan: CorePlan, name: str) -> bool:
    spec = plan.network.spec
    receivers = {
        n for n in range(len(spec.layers)) for edge in spec.edges(n) if edge.source == name
    }
    return receivers == {len(spec.layers) - 1}


def _most_bits(top: int) -> int:
    """The number up to `top` with the most set bits."""
    return max(range(top + 1), key=int.bit_count)


def _cycle_lines(bounds: Mapping[str, list[int]]) -> list[str]:
    latency, interval = bounds["latency"], bounds["cycles_per_image"]
    return [
        "Latency, from the first transfer of an image to its class, nothing else being under way:",
        f"{latency[0]:,} to {latency[1]:,} cycles. From class to class, on average over a long run",
        f"of images: {interval[0]:,} to {interval[1]:,}; single classes may come sooner or later.",
        "The law is in docs/cycles.md.",
    ]


def _values(plan: CorePlan, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates ask for."""
    spec, axi = plan.network.spec, facts["axi"]
    ports, shift = axi["ports"], 8 - spec.input_bits
    width = max(len(port) for port in ports)
    wires = [
        f"wire {f'[{bits - 1}:0] ' if bits > 1 else ''}{port};" for port, (_, bits) in ports.items()
    ]
    return {
        "name": spec.file_name,
        "vlnv": axi["vlnv"],
        "digest": plan.network.digest,
        "layout": plan.facts()["layout"],
        "places": _places(plan),
        "pixel_max": spec.pixel_max,
        "reduce": f" (`p >> {shift}` of an 8-bit pixel p)" if shift else "",
        "word": facts["word"],
        "words": number_of(facts["words"], "transfer"),
        "bytes": number_of(facts["word"], "byte"),
        "answers": number_of(spec.classes, "transfer"),
        "last_class": spec.classes - 1,
        "latency": "{} to {}".format(*axi["latency"]),
        "cycles": "{} to {}".format(*axi["cycles_per_image"]),
        "errors": "\n".join(f"* `error[{bit}]`: {text}" for bit, text in enumerate(ERRORS)),
        "ports": "\n".join(
            f"| `{port}` | {way} | {bits} | {MEANINGS[port]} |"
            for port, (way, bits) in ports.items()
        ),
        "wires": "\n".join(wires),
        "sources": ", ".join(f"`{source}`" for source in axi["sources"]),
        "source_files": ", ".join(axi["sources"]),
        "read": " ".join(axi["sources"]),
        "connections": ",\n".join(f"    .{port:{width}} ({port})" for port in ports),
        "roms": "\n".join(f"      - {rom}: {{copyto: {rom}}}" for rom in axi["roms"]),
    }


def _places(plan: CorePlan) -> str:
    """Which byte is which pixel, in words."""
    spec, layout = plan.network.spec, plan.layout
    word, vectors = plan.stages[0].input.count, plan.stages[0].vectors
    if layout is None:
        tail = spec.input_size % word
        rest = f", {tail} in the last transfer, whose other bytes are ignored" if tail else ""
        text = FLAT.substitute(word=word, pixels=number_of(spec.input_size, "pixel"), padding=rest)
    else:
        channels, rows, columns = layout.shape
        transfer, byte = place_of_pixel(layout)
        text = MAPS.substitute(
            channels=number_of(channels, "channel"),
            rows=number_of(rows, "row"),
            columns=number_of(columns, "column"),
            number=f"({rows} * c + y) * {columns} + x" if channels > 1 else f"{columns} * y + x",
            transfer=transfer,
            byte=byte,
        )
    if vectors > 1:
        text = RECORDING.substitute(vectors=vectors, words=plan.stages[0].words) + text
    return text


def place_of_pixel(layout: MapLayout) -> tuple[str, str]:
    """Transfer and byte of channel c, row y and column x, as expressions of whole numbers."""
    group = f"{layout.set_words} * (c / {layout.lanes}) + " if layout.groups > 1 else ""
    row = "y" if layout.columns == 1 else f"{layout.columns} * y"
    column = f" + x / {layout.positions}" if layout.positions > 1 else " + x"
    transfer = f"{group}{row}{column if layout.columns > 1 else ''}"

    each = layout.lanes // layout.positions
    x = "x" if layout.columns == 1 else f"x % {layout.positions}"
    across = x if each == 1 else f"{each} * {x}" if x == "x" else f"{each} * ({x})"
    channel = f"c % {layout.lanes}" if layout.groups > 1 else "c"
    parts = [across] * (layout.positions > 1) + [channel] * (layout.shape[0] > 1)
    return transfer, " + ".join(parts) or "0"


def _check(plan: CorePlan, examples: Examples) -> None:
    spec = plan.network.spec
    pixels, logits = (np.asarray(array) for array in examples)
    if len(pixels) == 0 or (pixels.shape, logits.shape) != (
        (len(pixels), spec.image_size),
        (len(pixels), spec.classes),
    ):
        raise PlanError(
            f"Examples must be images of {spec.image_size} pixels with {spec.classes} logits each, "
            f"not arrays {pixels.shape} and {logits.shape}"
        )
    if pixels.min() < 0 or pixels.max() > spec.pixel_max:
        raise PlanError(f"Pixels of examples must lie in 0..{spec.pixel_max}")


def _bench(plan: CorePlan, dut: AxiStreamCore, examples: Examples) -> dict[str, str]:
    """A test bench with its transfers, in and out."""
    spec = plan.network.spec
    pixels, logits = examples
    user = len(dut.m_axis_tuser)
    words = [row[::-1].tobytes().hex() for row in _transfers(plan, pixels)]
    best = [[row.index(max(row[: n + 1])) for n in range(len(row))] for row in logits.tolist()]
    digits = -(-(1 + user + 32) // 4)
    answers = [
        f"{(n == spec.classes - 1) << user + 32 | best[i][n] << 32 | logit % 2**32:0{digits}x}"
        for i, row in enumerate(logits.tolist())
        for n, logit in enumerate(row)
    ]
    bench = BENCH.safe_substitute(
        word=dut.word, words=dut.words, classes=spec.classes, user=user, images=len(pixels)
    )
    return {
        "tb/sterna_axis_tb.sv": bench,
        "tb/words.hex": "\n".join(words) + "\n",
        "tb/answers.hex": "\n".join(answers) + "\n",
    }
