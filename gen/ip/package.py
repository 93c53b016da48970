"""The core as a package for other people's designs; docs/ip.md shows how it is used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.lib.wiring import In

from gen.core.law import CycleLaw
from gen.core.plan import CorePlan, PlanError
from gen.core.verilog import manifest, rom_texts
from gen.ip.texts import BENCH, CORE, CORE_BENCH, CORE_SIM, INSTANCE, MEANINGS, README
from gen.stage.emit import verilog_text
from hw.contract.files import json_text, write_files
from hw.contract.neuron import NeuronSpec
from hw.memory.sources import verilog_source
from hw.system.process import fills_folder
from hw.top.axi import ERRORS, AxiStreamCore

__all__ = ["AXI_TOP", "INTERFACE_VERSION", "cycle_bounds", "package_ip"]

AXI_TOP = "sterna_axis"

INTERFACE_VERSION = "0.1.0"
"""Of ports and protocol, for FuseSoC. Which network it is, the digest says."""

Examples = tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]
"""Images (n, input_size) and their logits (n, classes)."""


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
        When the weights are not in ROM, or the examples not images with their logits.
    """
    if plan.loaded:
        raise PlanError("Weights of a package must be in ROM, not loaded at power-up")
    if plan.layout is not None:
        raise PlanError(
            f"Network {plan.network.spec.name} must take its pixels one after the other to be "
            "packaged: all of its layers must be dense"
        )
    if plan.network.spec.timed_input:
        raise PlanError(
            f"Network {plan.network.spec.name} must take pictures to be packaged, not recordings"
        )
    if examples is not None:
        _check(plan, examples)
    dut = AxiStreamCore(plan.component(), pixels=plan.network.spec.input_size, words=plan.words)
    digest, name = plan.network.digest, plan.network.spec.file_name
    head = f"// {name}, network {digest}, made by Sterna.\n"
    # Vivado's manual (UG901) allows no comment in a memory file.
    files = {
        path: "".join(line for line in text.splitlines(True) if not line.startswith("//"))
        for path, text in rom_texts(plan).items()
    }
    roms = sorted(files)
    bench = {} if examples is None else _bench(plan, dut, examples)
    files[f"{AXI_TOP}.v"] = head + verilog_text(dut, AXI_TOP)
    files["sterna_rom.v"] = verilog_source("sterna_rom.v")

    facts = manifest(plan, dut.core.taps)
    facts["top"] = AXI_TOP
    ports = {
        port: ["in" if member.flow == In else "out", len(getattr(dut, port))]
        for port, member in dut.signature.members.items()
    }
    facts["axi"] = {
        "version": INTERFACE_VERSION,
        "ports": ports,
        "pixel_max": plan.network.spec.pixel_max,
        "errors": list(ERRORS),
        **cycle_bounds(plan),
        "sources": [f"{AXI_TOP}.v", "sterna_rom.v"],
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


def cycle_bounds(plan: CorePlan) -> dict[str, list[int]]:
    """Least and most cycles, both streams flowing: `latency`, from an image's first transfer to
    its class, nothing being under way; `cycles_per_image`, in a long run of images.

    The least is for empty images that make no neuron fire, the most for full ones that make all
    fire at every step.
    """
    images, spec = 8, plan.network.spec  # enough to fill any chain's buffers
    bounds = []
    for filled in (0, 1):
        pixels = np.full((images, spec.image_size), filled * _most_bits(spec.pixel_max))
        spikes = [
            np.full((images, spec.steps, layer.neurons), filled * _most(layer.neuron, plan))
            for layer in spec.layers[:-1]
        ]
        bounds.append(CycleLaw(plan).predict(pixels, spikes))
    return {
        "latency": [int(done[0]) + AxiStreamCore.LATENCY for done in bounds],
        "cycles_per_image": [int(done[-1] - done[-2]) for done in bounds],
    }


def _most(neuron: NeuronSpec | None, plan: CorePlan) -> int:
    """The coefficient that becomes the most events: one per set bit, or |c| where repeated."""
    assert neuron is not None
    return neuron.limit if plan.options.repeat else _most_bits(neuron.limit)


def _most_bits(top: int) -> int:
    """The number up to `top` with the most set bits."""
    return max(range(top + 1), key=int.bit_count)


def _values(plan: CorePlan, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates ask for."""
    spec, axi = plan.network.spec, facts["axi"]
    ports, shift = axi["ports"], 8 - spec.input_bits
    tail = spec.input_size % facts["word"]
    width = max(len(port) for port in ports)
    wires = [
        f"wire {f'[{bits - 1}:0] ' if bits > 1 else ''}{port};" for port, (_, bits) in ports.items()
    ]
    return {
        "name": spec.file_name,
        "vlnv": f"::sterna_{spec.file_name.replace('-', '_')}:{INTERFACE_VERSION}",
        "digest": plan.network.digest,
        "lanes": plan.lanes,
        "banks": _count(plan.banks, "bank"),
        "pixels": _count(spec.input_size, "pixel"),
        "pixel_max": spec.pixel_max,
        "reduce": f" (`p >> {shift}` of an 8-bit pixel p)" if shift else "",
        "word": facts["word"],
        "words": _count(facts["words"], "transfer"),
        "bytes": _count(facts["word"], "byte"),
        "padding": f", {tail} in the last transfer, whose other bytes are ignored" if tail else "",
        "answers": _count(spec.classes, "transfer"),
        "last_class": spec.classes - 1,
        "latency": "{} to {}".format(*axi["latency"]),
        "cycles": "{} to {}".format(*axi["cycles_per_image"]),
        "errors": "\n".join(f"* `error[{bit}]`: {text}" for bit, text in enumerate(ERRORS)),
        "ports": "\n".join(
            f"| `{port}` | {way} | {bits} | {MEANINGS[port]} |"
            for port, (way, bits) in ports.items()
        ),
        "wires": "\n".join(wires),
        "connections": ",\n".join(f"    .{port:{width}} ({port})" for port in ports),
        "roms": "\n".join(f"      - {rom}: {{copyto: {rom}}}" for rom in axi["roms"]),
    }


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _check(plan: CorePlan, examples: Examples) -> None:
    spec = plan.network.spec
    pixels, logits = (np.asarray(array) for array in examples)
    if len(pixels) == 0 or (pixels.shape, logits.shape) != (
        (len(pixels), spec.input_size),
        (len(pixels), spec.classes),
    ):
        raise PlanError(
            f"Examples must be images of {spec.input_size} pixels with {spec.classes} logits each, "
            f"not arrays {pixels.shape} and {logits.shape}"
        )
    if pixels.min() < 0 or pixels.max() > spec.pixel_max:
        raise PlanError(f"Pixels of examples must lie in 0..{spec.pixel_max}")


def _bench(plan: CorePlan, dut: AxiStreamCore, examples: Examples) -> dict[str, str]:
    """A test bench with its transfers, in and out."""
    spec = plan.network.spec
    pixels, logits = examples
    user = len(dut.m_axis_tuser)
    padded = np.zeros((len(pixels), dut.words * dut.word), dtype=np.uint8)
    padded[:, : spec.input_size] = pixels
    words = [row[::-1].tobytes().hex() for row in padded.reshape(-1, dut.word)]
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
