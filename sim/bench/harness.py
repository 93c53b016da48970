"""The bench around a core, in SystemVerilog: clock, words in, and a record of what happens.

The simulator is compiled, Python is not: so all that is done every cycle is done here, and cocotb
(`sim.bench.bench`) wakes only when a block of results has come.

    words.bin -> offer, hold back -> core -> take, refuse -> results.bin
                                     taps ------------------> NAME.bin

A row of a record is the number of the cycle, then the value, as little-endian words of 32 bits, low
word first. Cycles are counted from the end of reset. `sim.bench.recording` reads it.

Plusargs: `folder` (of words and records, relative to the working folder or absolute), `stall` (of
65,536: how probable it is, per cycle, that a word is held back, and that a result is refused),
`random` (a seed), `watchdog` (cycles in which nothing happens: then the core is called dead).
"""

from collections.abc import Sequence

from hw.contract.checks import SternaError

__all__ = ["BENCH_TOP", "FAST_CLOCK", "OPTIONS", "PERIOD", "PUBLIC", "harness", "word_bytes"]

BENCH_TOP = "sterna_bench"

PERIOD = 10
"""Nanoseconds of a cycle in a waveform, and during reset; rising edges are at its multiples."""

PUBLIC = ("rst", "target", "deadline", "wake", "dead", "moved", "cycle", "start", "taken")
"""What cocotb sees: it drives the first three. `wake` changes when `target` results have been
taken, when `deadline` cycles are over, when the core is `dead`, and when an offered result has
`moved`; what was recorded is in the files then. `cycle`, and that of the first word taken."""

BURST = 1024
"""Cycles that pass in a step of time."""


def word_bytes(bits: int) -> int:
    """Bytes of a word in `words.bin`, the first one on top, as `$fread` fills it."""
    return -(-bits // 8)


OPTIONS = ("--timing", "--converge-limit", str(4 * BURST))
"""Of Verilator: each edge of a burst is a round of the time step."""

FAST_CLOCK = f"""\
  // The clock runs by itself, and time stands, until `pause`: a step of time, with all that cocotb
  // does around it, takes longer than a cycle of a small core.
  reg clk = 0, go = 0, gone = 0;
  always #{PERIOD} go = !go;
  always @(go or clk) begin
    gone <= go;
    clk <= !clk && (!pause || go != gone);
  end
"""

_CLOCK_TO_SEE = f"""\
  reg clk = 0, half = 0;
  always #{PERIOD // 2} half = !half;
  always @(half) clk <= !half;
"""


def harness(
    core: str,
    word_bits: int,
    result_bits: int,
    taps: Sequence[tuple[str, int]],
    *,
    settle: int = 0,
    waves: bool = False,
    body: str = "",
    modules: str = "",
) -> str:
    """The module `sterna_bench` around a core.

    Parameters
    ----------
    core
        Its module, with ports `clk`, `rst`, the streams `i` and `o`, and for every tap
        `tap_NAME_valid` and `tap_NAME`.
    word_bits, result_bits
        Of the payloads of `i` and `o`.
    taps
        Name and bits of each.
    settle
        Cycles after reset before the first word may be offered.
    waves
        Every cycle has its time, `PERIOD` of it; else some thousand pass at once.
    body, modules
        What else stands in it, and behind it: for waveforms.
    """
    if any(name == "results" or not f"tap_{name}".isidentifier() for name, _ in taps):
        raise SternaError("Taps must have names of letters, digits and _, not 'results'")
    records = ["results", *(name for name, _ in taps)]
    junk = ", ".join(["$urandom"] * -(-word_bits // 32))

    def lines(form: str, names: Sequence[str]) -> str:
        return "\n".join(form.format(name=name) for name in names)

    names = [name for name, _ in taps]
    wires = "\n".join(
        f"  wire tap_{name}_valid;\n  wire [{bits - 1}:0] tap_{name};" for name, bits in taps
    )
    ports = ", ".join(
        f".{port}({port})"
        for port in (
            *("clk", "i__valid", "i__ready", "i__payload", "o__valid", "o__ready", "o__payload"),
            *(f"tap_{name}{part}" for name in names for part in ("_valid", "")),
        )
    )
    seen = "".join(f" || tap_{name}_valid" for name in names)
    return f"""\
module {BENCH_TOP};
  // Driven by cocotb.
  reg rst = 1;
  reg [63:0] target = 0;
  reg [63:0] deadline = 0;
  // Seen by cocotb.
  reg wake = 0;
  reg dead = 0;
  reg moved = 0;
  reg [63:0] cycle = 0;
  reg [63:0] start = 0;
  reg [63:0] taken = 0;

{_CLOCK_TO_SEE if waves else FAST_CLOCK}
  reg pause = 1;
  reg core_rst = 0;
  reg i__valid = 0;
  wire i__ready;
  reg [{word_bits - 1}:0] i__payload = 0;
  wire o__valid;
  reg o__ready = 0;
  wire [{result_bits - 1}:0] o__payload;
{wires}
{body}  {core} core(.rst(core_rst), {ports});

  string folder;
  integer stall = 0, seed = 0;
  reg [63:0] watchdog = 0;
  integer words = 0;
{lines("  integer file_{name} = 0;", records)}
  initial begin
    if (!$value$plusargs("folder=%s", folder)) folder = ".";
    void'($value$plusargs("stall=%d", stall));
    void'($value$plusargs("random=%d", seed));
    void'($value$plusargs("watchdog=%d", watchdog));
    void'($urandom(seed));
  end

  // The word that is offered next, if there is one.
  reg [{8 * word_bytes(word_bits) - 1}:0] word;
  reg have;
  task read_word;
    have = $fread(word, words) == {word_bytes(word_bits)};
  endtask

  task begin_anew;
    if (words != 0) begin
      $fclose(words);
{lines("      $fclose(file_{name});", records)}
    end
    words = $fopen({{folder, "/words.bin"}}, "rb");
{lines('    file_{name} = $fopen({{folder, "/{name}.bin"}}, "wb");', records)}
    read_word;
  endtask

  function automatic chance;
    chance = stall != 0 && ($urandom & 32'hffff) < stall;
  endfunction

  reg [31:0] settling = 0;
  reg started = 0;
  reg [63:0] quiet = 0;
  reg standing = 0;  // a result was offered, and refused: this one
  reg [{result_bits - 1}:0] offered;
  reg broken;
  always @(posedge clk) begin
    core_rst <= rst;
    o__ready <= !chance();
    pause <= rst || core_rst || cycle % {BURST} == 0;
    if (rst || !i__valid || i__ready) begin  // free to offer the next word, or junk
      if (!rst && settling == 0 && have && !chance()) begin
        i__valid <= 1;
        i__payload <= word[{word_bits - 1}:0];
        read_word;
      end else begin
        i__valid <= 0;
        i__payload <= {{{junk}}};
      end
    end
    if (rst) begin
      if (!core_rst) begin_anew;
      settling <= {settle};
      {{started, standing, dead, cycle, quiet, taken}} <= 0;
    end else begin
      cycle <= core_rst ? 0 : cycle + 1;
      if (settling != 0) settling <= settling - 1;
    end
    if (!rst && !core_rst) begin
      if (i__valid && i__ready && !started) begin
        started <= 1;
        start <= cycle;
      end
      broken = standing && (!o__valid || o__payload != offered);
      if (broken) moved <= 1;
      standing <= o__valid && !o__ready;
      offered <= o__payload;
      if (o__valid && o__ready) begin
        $fwrite(file_results, "%u", {{o__payload, cycle[31:0]}});
        taken <= taken + 1;
      end
{
        lines(
            '      if (tap_{name}_valid) $fwrite(file_{name}, "%u", {{tap_{name}, cycle[31:0]}});',
            names,
        )
    }
      if ((i__valid && i__ready) || (o__valid && o__ready){seen}) quiet <= 0;
      else quiet <= quiet + 1;
      if (quiet == watchdog) dead <= 1;
      if ((o__valid && o__ready && taken + 1 == target) || cycle + 1 == deadline
          || quiet == watchdog || broken) begin
{lines("        $fflush(file_{name});", records)}
        wake <= !wake;
        pause <= 1;
      end
    end
  end
endmodule
{modules}"""
