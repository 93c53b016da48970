"""The core as a package for other people's designs; docs/ip.md shows how it is used."""

import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.back import verilog
from amaranth.lib.wiring import In

from gen.cycles import CycleLaw, event_counts, play_cycles
from gen.plan import CorePlan, PlanError
from gen.rom import rom_images
from gen.verilog import manifest
from hw.axi import ERRORS, AxiStreamCore
from hw.image import write_atomically

__all__ = ["AXI_TOP", "INTERFACE_VERSION", "cycle_bounds", "package_ip"]

AXI_TOP = "sterna_axis"

INTERFACE_VERSION = "0.1.0"
"""Of ports and protocol, for FuseSoC. Which network it is, the digest says."""

Examples = tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]
"""Images (n, input_size) and their logits (n, classes)."""


def package_ip(
    plan: CorePlan, folder: Path, *, examples: Examples | None = None
) -> dict[str, Any]:  # fmt: skip
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
    if examples is not None:
        _check(plan, examples)
    dut = AxiStreamCore(plan.layer_plans(with_files=True))
    digest, name = plan.image.digest, plan.image.spec.name
    head = f"// {name}, network {digest}, made by Sterna.\n"
    # Vivado's manual (UG901) allows no comment in a memory file.
    files = {
        path: "".join(line for line in text.splitlines(True) if not line.startswith("//"))
        for path, text in rom_images(plan).items()
    }
    roms = sorted(files)
    bench = {} if examples is None else _bench(plan, dut, examples)
    text = verilog.convert(dut, name=AXI_TOP, strip_internal_attrs=True)
    files[f"{AXI_TOP}.v"] = head + text
    files["sterna_rom.v"] = (Path(__file__).parent.parent / "hw" / "sterna_rom.v").read_text()

    facts = manifest(plan, dut.core, taps=False)
    facts["top"] = AXI_TOP
    ports = {
        port: ["in" if member.flow == In else "out", len(getattr(dut, port))]
        for port, member in dut.signature.members.items()
    }
    facts["axi"] = {
        "version": INTERFACE_VERSION,
        "ports": ports,
        "pixel_max": plan.image.spec.pixel_max,
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
    _write(folder, files)
    write_atomically(folder / "core.json", (json.dumps(facts, indent=1) + "\n").encode())
    return facts


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files, and remove those of another package that stood there."""
    for old in (*(folder / "rom").glob("*.hex"), *(folder / "tb").glob("*")):
        if old.relative_to(folder).as_posix() not in files:
            old.unlink()
    for path, content in files.items():
        write_atomically(folder / path, content.encode())


def cycle_bounds(plan: CorePlan) -> dict[str, list[int]]:
    """Least and most cycles, both streams flowing: `latency`, from an image's first transfer to
    its class, nothing being under way; `cycles_per_image`, in a long run of images.

    The least is for empty images that make no neuron fire, the most for full ones that make all
    fire at every step.
    """
    images, steps = 8, plan.image.spec.steps  # enough to fill any chain's buffers
    bounds = []
    for filled in (0, 1):
        costs = []
        for n, geometry in enumerate(plan.geometries):
            value = filled * plan.image.spec.coefficient_max(n)
            cost = play_cycles(event_counts(np.full((1, geometry.inputs), value), geometry))
            costs.append(np.full((images, steps) if n else images, cost[0]))
        bounds.append(CycleLaw(plan).predict(costs))
    return {
        "latency": [int(done[0]) + AxiStreamCore.LATENCY for done in bounds],
        "cycles_per_image": [int(done[-1] - done[-2]) for done in bounds],
    }


def _values(plan: CorePlan, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates ask for."""
    spec, axi = plan.image.spec, facts["axi"]
    ports, shift = axi["ports"], 8 - spec.input_bits
    tail = spec.input_size % facts["word"]
    width = max(len(port) for port in ports)
    wires = [
        f"wire {f'[{bits - 1}:0] ' if bits > 1 else ''}{port};" for port, (_, bits) in ports.items()
    ]
    return {
        "name": spec.name,
        "vlnv": f"::sterna_{spec.name.replace('-', '_')}:{INTERFACE_VERSION}",
        "digest": plan.image.digest,
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
        "roms": "\n".join(
            f"      - {rom}: {{copyto: {rom}}}" for rom in axi["roms"]
        ),
    }


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _check(plan: CorePlan, examples: Examples) -> None:
    spec = plan.image.spec
    pixels, logits = (np.asarray(array) for array in examples)
    if len(pixels) == 0 or (pixels.shape, logits.shape) != (
        (len(pixels), spec.input_size), (len(pixels), spec.classes)
    ):  # fmt: skip
        raise PlanError(
            f"Examples must be images of {spec.input_size} pixels with {spec.classes} logits each, "
            f"not arrays {pixels.shape} and {logits.shape}"
        )
    if pixels.min() < 0 or pixels.max() > spec.pixel_max:
        raise PlanError(f"Pixels of examples must lie in 0..{spec.pixel_max}")


def _bench(plan: CorePlan, dut: AxiStreamCore, examples: Examples) -> dict[str, str]:
    """A test bench with its transfers, in and out."""
    spec = plan.image.spec
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


# The texts. `$name` is filled in, `$$` is a dollar.

MEANINGS = {
    "aclk": "clock of everything, rising edge",
    "aresetn": "reset, active low, synchronous; one cycle is enough",
    "s_axis_tdata": "pixels, a byte each",
    "s_axis_tvalid": "a transfer is offered",
    "s_axis_tready": "it is taken; low in reset",
    "s_axis_tlast": "the last transfer of an image",
    "m_axis_tdata": "a logit, signed",
    "m_axis_tvalid": "a transfer is offered",
    "m_axis_tready": "it is taken",
    "m_axis_tlast": "the last logit of an image",
    "m_axis_tuser": "with `m_axis_tlast`, the class (the first maximum); before, the best so far",
    "error": "faults of the sender; stay set until reset",
}

INSTANCE = Template("""\
// To copy: the signals, with the widths of this network, and the instance.
$wires

sterna_axis sterna (
$connections
);
""")

CORE = Template("""\
CAPI=2:
name: $vlnv
description: Spiking network $name with AXI4-Stream ports (Sterna)

filesets:
  rtl:
    files: [sterna_axis.v, sterna_rom.v]
    file_type: verilogSource-2005
  rom:
    file_type: user
    files:
$roms
$bench
targets:
  default:
    filesets: [rtl, rom]
    toplevel: "is_toplevel? (sterna_axis)"
  lint:
    description: Verilator; -Wno-lint leaves out what is about style
    flow: lint
    flow_options:
      tool: verilator
      verilator_options: [-Wno-lint, -Wwarn-LATCH, -Wwarn-IMPLICIT, -Wwarn-PINMISSING]
    filesets: [rtl, rom]
    toplevel: sterna_axis
""")

CORE_BENCH = """\
  tb:
    files: [tb/sterna_axis_tb.sv]
    file_type: systemVerilogSource
  tb_data:
    file_type: user
    files:
      - tb/words.hex: {copyto: tb/words.hex}
      - tb/answers.hex: {copyto: tb/answers.hex}
"""

CORE_SIM = """\
  sim:
    description: Images through the core, every answer compared with the golden model's
    flow: sim
    flow_options:
      tool: verilator
      mode: binary
      verilator_options: [--timing, -Wno-lint, -CFLAGS -std=c++20]
    filesets: [rtl, rom, tb, tb_data]
    toplevel: sterna_axis_tb
"""

README = Template("""\
# sterna_axis: the network $name

A trained spiking network as Verilog with AXI4-Stream ports: $lanes lanes, $banks, network
`$digest`.
Made by Sterna; its page docs/ip.md tells more. Equal networks give equal files.

| file | |
|---|---|
| `sterna_axis.v`, `sterna_rom.v` | the sources; the top is `sterna_axis` |
| `rom/*.hex` | weights, which `$$readmemh` looks for as `rom/...` |
| `sterna_axis_inst.v` | an instance to copy |
| `tb/` (if asked for) | a test bench with images and the golden model's answers |
| `sterna.core` | for FuseSoC: `$vlnv` |
| `core.json` | all numbers, for programs |

## Ports

| port | | bits | |
|---|---|---|---|
$ports

## Streams

In, an image: a packet of $words of $bytes, `s_axis_tlast` with the last. Byte k of
transfer w, `s_axis_tdata[8*k +: 8]`, is pixel `$word*w + k`: byte n of the packet is pixel n.
There are $pixels$padding.
A pixel is an unsigned integer from 0 to $pixel_max, in the low bits of its byte$reduce.

Out, its answer: a packet of $answers, logits 0 to $last_class as signed 32-bit integers,
`m_axis_tlast` and the class in `m_axis_tuser` with the last. Answers keep the order of images.

Offers stand until they are taken, `tvalid` does not wait for `tready`, and no path of gates leads
from an input to an output.

## Cycles

* From an image's first transfer to its class: $latency cycles, with nothing else under way.
* From class to class in a long run of images: $cycles cycles.

Both depend on the image, because silence costs nothing: the least is for an image without any
spike, the most for one that makes every neuron fire at every step. They hold while neither
`s_axis_tvalid` nor `m_axis_tready` keeps the core waiting.

## Reset and errors

Hold `aresetn` low for a rising edge of `aclk` or more: what was under way is forgotten. If the
sender is not reset too, what is left of its packet counts as a packet, and as a faulty one.

A faulty packet is never answered: it is dropped up to its `s_axis_tlast`. Images before it are
answered, those after it are right. A bit stays set until reset:

$errors

## In a project

Tools look for `rom/...` in different places. One that does not find it warns and goes on with
zeros: look for that warning, and if all else fails, write an absolute path in `sterna_axis.v`.

* Yosys: `read_verilog sterna_axis.v sterna_rom.v` finds `rom/` beside the sources.
* Simulators: run in this folder, or where there is a copy of `rom/`.
* Vivado: add the sources, and `rom/*.hex` as *Memory Initialization Files*; the warning is
  `Synth 8-4445`.
* Quartus: add the sources; `rom/` belongs beside the project's `.qsf`.
* FuseSoC: `fusesoc --cores-root . run --target=lint $vlnv`; or depend on it.
""")

BENCH = Template("""\
$head// Sends images with gaps, takes the answers with gaps, and compares every one. To be run where
// rom/ and tb/ are.
module sterna_axis_tb;
  localparam WORD = $word, WORDS = $words, CLASSES = $classes, USER = $user, IMAGES = $images;

  reg [8*WORD-1:0] words[0:IMAGES*WORDS-1];
  reg [USER+32:0] answers[0:IMAGES*CLASSES-1];
  initial $$readmemh("tb/words.hex", words);
  initial $$readmemh("tb/answers.hex", answers);

  reg aclk = 0, aresetn = 0;
  always #5 aclk = ~aclk;

  reg [8*WORD-1:0] s_axis_tdata;
  reg s_axis_tvalid = 0, s_axis_tlast = 0, m_axis_tready = 0;
  wire s_axis_tready, m_axis_tvalid, m_axis_tlast;
  wire [31:0] m_axis_tdata;
  wire [USER-1:0] m_axis_tuser;
  wire [2:0] error;
  sterna_axis dut (.*);

  integer cycle = 0, quiet = 0, sent = 0, got = 0, wrong = 0;
  reg [31:0] noise = 1;
  wire taken = s_axis_tvalid & s_axis_tready;
  wire [31:0] at = sent + {31'b0, taken};
  always @(posedge aclk) begin
    cycle <= cycle + 1;
    quiet <= quiet + 1;
    noise <= {noise[30:0], noise[31] ^ noise[21] ^ noise[1] ^ noise[0]};
    aresetn <= cycle > 3;
    m_axis_tready <= noise[0];
    if (aresetn) sent <= at;
    if (aresetn && (taken || !s_axis_tvalid)) begin
      s_axis_tvalid <= at < IMAGES * WORDS && noise[7];
      s_axis_tdata <= at < IMAGES * WORDS ? words[at] : {WORD{8'hxx}};
      s_axis_tlast <= at % WORDS == WORDS - 1;
    end
    if (aresetn && m_axis_tvalid && m_axis_tready) begin
      got <= got + 1;
      quiet <= 0;
      if (got >= IMAGES * CLASSES || {m_axis_tlast, m_axis_tuser, m_axis_tdata} !== answers[got])
        wrong <= wrong + 1;
    end
    // A while after the last answer, so that a surplus one is seen.
    if (quiet > (got < IMAGES * CLASSES ? 1000000 : 1000)) begin
      if (wrong != 0 || got != IMAGES * CLASSES || error !== 0)
        $$fatal(1, "FAIL: %0d answers of %0d, %0d wrong, error %b", got, IMAGES * CLASSES, wrong,
                error);
      $$display("PASS: %0d images, %0d answers, %0d cycles", IMAGES, got, cycle);
      $$finish;
    end
  end
endmodule
""")
