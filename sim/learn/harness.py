"""The bench around a learning core, in SystemVerilog: a sample at a time, and a record of it.

    samples.bin -> told, words -> core -> logits -> results.bin
                   error ------>      -> taps ---> NAME.bin
                                      -> done ---> done.bin     cycles, learned, random word
                                      -> rows ---> rows.bin     read back over the core's own port

A sample is a record of bytes: what the teacher says (`control_bytes`), then the picture's words.
The next one begins when the rows have been read. Rows of a record are as those of
`sim.bench.harness`, and so are the plusargs; all rows are read back after every `dump` samples (0:
after the last alone), and after each of the `first` ones; `samples` says how many there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sim.bench.harness import BENCH_TOP, BURST, FAST_CLOCK, word_bytes

__all__ = ["DONE_BITS", "PUBLIC", "Shape", "learning_harness"]

PUBLIC = ("rst", "target", "deadline", "wake", "dead", "moved", "cycle", "taken")
"""What cocotb sees, as in `sim.bench.harness`; `target` and `taken` count samples."""

DONE_BITS = 4 * 32
"""Of a row of `done.bin`: learned, random word, cycle of the last word, and of the last logit."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Widths of a learning core's ports, in bits, and its sizes.

    Parameters
    ----------
    word_bits, words
        Of the payload of `i`; words of a picture.
    result_bits
        Of the payload of `o`.
    label_bits, margin_bits, rate_bits, error_bits, row_bits
        Of the teacher's ports; `rate_bits` of all rates together, `error_bits` of a class.
    classes, rows
        Logits of a picture; rows of masters.
    """

    word_bits: int
    words: int
    result_bits: int
    label_bits: int
    margin_bits: int
    rate_bits: int
    error_bits: int
    row_bits: int
    classes: int
    rows: int

    @property
    def control_bytes(self) -> tuple[int, ...]:
        """Bytes of mode, label, margin, rates, and of the errors of all classes, a byte each."""
        return 1, 2, 4, -(-self.rate_bits // 8), self.classes


def learning_harness(core: str, shape: Shape, taps: Sequence[tuple[str, int]]) -> str:
    """The module `sterna_bench` around a learning core, its module's name being `core`."""
    s = shape
    names = [name for name, _ in taps]
    records = ["results", "done", "rows", *names]
    wires = "\n".join(
        f"  wire tap_{name}_valid;\n  wire [{bits - 1}:0] tap_{name};" for name, bits in taps
    )
    ports = ", ".join(
        f".tap_{name}{part}(tap_{name}{part})" for name in names for part in ("_valid", "")
    )
    junk = ", ".join(["$urandom"] * -(-s.word_bits // 32))
    control = 8 * sum(s.control_bytes)
    _, _, _, rate_bytes, _ = s.control_bytes
    errors = 8 * s.classes
    rates = errors + 8 * rate_bytes
    row_width = max(1, (s.rows - 1).bit_length())

    def lines(form: str, chosen: Sequence[str]) -> str:
        return "\n".join(form.format(name=name) for name in chosen)

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
  reg [63:0] taken = 0;

{FAST_CLOCK}
  reg pause = 1;
  reg core_rst = 0;
  reg i__valid = 0;
  wire i__ready;
  reg [{s.word_bits - 1}:0] i__payload = 0;
  wire o__valid;
  reg o__ready = 0;
  wire [{s.result_bits - 1}:0] o__payload;
  reg [{s.label_bits - 1}:0] label = 0;
  reg [1:0] mode = 0;
  reg [{s.margin_bits - 1}:0] margin = 0;
  reg [{s.rate_bits - 1}:0] rates = 0;
  reg error__valid = 0;
  wire error__ready;
  reg [{s.error_bits - 1}:0] error__payload = 0;
  wire done, learned;
  wire [31:0] random;
  reg [{row_width - 1}:0] row_address = 0;
  wire [{s.row_bits - 1}:0] row;
{wires}
  {core} core(.clk(clk), .rst(core_rst), .i__valid(i__valid), .i__ready(i__ready),
    .i__payload(i__payload), .o__valid(o__valid), .o__ready(o__ready), .o__payload(o__payload),
    .teacher__label(label), .teacher__mode(mode), .teacher__margin(margin), .teacher__rates(rates),
    .teacher__error__valid(error__valid), .teacher__error__ready(error__ready),
    .teacher__error__payload(error__payload), .teacher__done(done), .teacher__learned(learned),
    .teacher__random(random), .teacher__seed_en(1'b0), .teacher__seed(32'b0),
    .teacher__row_address(row_address), .teacher__row(row), .teacher__row_en(1'b0),
    .teacher__row_data({s.row_bits}'b0){", " if ports else ""}{ports});

  string folder;
  integer stall = 0, seed = 0, dump = 0, first = 0;
  reg [63:0] samples = 0, watchdog = 0;
  integer file = 0;
{lines("  integer file_{name} = 0;", records)}
  initial begin
    if (!$value$plusargs("folder=%s", folder)) folder = ".";
    void'($value$plusargs("stall=%d", stall));
    void'($value$plusargs("random=%d", seed));
    void'($value$plusargs("watchdog=%d", watchdog));
    void'($value$plusargs("dump=%d", dump));
    void'($value$plusargs("first=%d", first));
    void'($value$plusargs("samples=%d", samples));
    void'($urandom(seed));
  end

  function automatic chance;
    chance = stall != 0 && ($urandom & 32'hffff) < stall;
  endfunction

  localparam CONTROL = 0, WORD = 1, WAIT = 2, READ = 3, END = 4;
  integer state = CONTROL, left = 0, given = 0, reading = 0;
  reg [{control - 1}:0] control;
  reg [{8 * word_bytes(s.word_bits) - 1}:0] word;
  reg have;
  reg [31:0] last_word = 0, last_logit = 0;
  reg [63:0] quiet = 0;
  reg standing = 0;
  reg [{s.result_bits - 1}:0] offered;
  reg broken, woken;
  always @(posedge clk) begin
    core_rst <= rst;
    o__ready <= !chance();
    pause <= rst || core_rst || cycle % {BURST} == 0;
    broken = 0;
    woken = 0;
    if (rst) begin
      if (!core_rst) begin
        if (file != 0) begin
          $fclose(file);
{lines("          $fclose(file_{name});", records)}
        end
        file = $fopen({{folder, "/samples.bin"}}, "rb");
{lines('        file_{name} = $fopen({{folder, "/{name}.bin"}}, "wb");', records)}
      end
      state <= CONTROL;
      {{i__valid, error__valid, standing, dead, cycle, quiet, taken}} <= 0;
    end else cycle <= core_rst ? 0 : cycle + 1;
    if (!rst && !core_rst) begin
      quiet <= quiet + 1;
      case (state)
        CONTROL: begin
          have = $fread(control, file) == {sum(s.control_bytes)};
          if (!have) state <= END;
          else begin
            mode <= control[{control - 1}:{control - 8}];
            label <= control[{control - 9}:{control - 24}];
            margin <= control[{control - 25}:{control - 56}];
            rates <= control[{rates - 1}:{errors}];
            left <= {s.words};
            given <= 0;
            state <= WORD;
          end
        end
        WORD: begin
          if (!i__valid || i__ready) begin
            if (left != 0 && !chance()) begin
              have = $fread(word, file) == {word_bytes(s.word_bits)};
              i__valid <= 1;
              i__payload <= word[{s.word_bits - 1}:0];
              left <= left - 1;
            end else begin
              i__valid <= 0;
              i__payload <= {{{junk}}};
            end
          end
          if (i__valid && i__ready && left == 0) begin
            last_word <= cycle[31:0];
            state <= WAIT;
            // What was taken with the last word may change now.
            label <= $urandom;
            mode <= $urandom;
          end
        end
        WAIT: begin
          if (error__valid && error__ready) given <= given + 1;
          if (!error__valid || error__ready) begin
            if (given + (error__valid ? 1 : 0) < {s.classes} && control[{
        control - 7
    }] && !chance()) begin
              error__valid <= 1;
              error__payload <=
                control[8 * ({s.classes} - 1 - (given + (error__valid ? 1 : 0))) +: {s.error_bits}];
            end else error__valid <= 0;
          end
        end
        READ: begin
          row_address <= row_address + 1;
          reading <= reading + 1;
          // The row of the address of two cycles ago.
          if (reading >= 2) $fwrite(file_rows, "%u", {{row, cycle[31:0]}});
          if (reading == {s.rows} + 1) begin
            state <= CONTROL;
            taken <= taken + 1;
            woken = taken + 1 == target;
          end
        end
        default: ;
      endcase
      if (done) begin
        $fwrite(file_done, "%u",
          {{last_logit_now, last_word, random, 31'b0, learned, cycle[31:0]}});
        row_address <= 0;
        reading <= 0;
        if (taken + 1 == samples || taken < first || (dump != 0 && (taken + 1) % dump == 0))
          state <= READ;
        else begin
          state <= CONTROL;
          taken <= taken + 1;
          woken = taken + 1 == target;
        end
      end
      broken = standing && (!o__valid || o__payload != offered);
      if (broken) moved <= 1;
      standing <= o__valid && !o__ready;
      offered <= o__payload;
      if (o__valid && o__ready) begin
        $fwrite(file_results, "%u", {{o__payload, cycle[31:0]}});
        last_logit <= cycle[31:0];
        quiet <= 0;
      end
      if (i__valid && i__ready) quiet <= 0;
{
        lines(
            '''      if (tap_{name}_valid) begin
        $fwrite(file_{name}, "%u", {{tap_{name}, cycle[31:0]}});
        quiet <= 0;
      end''',
            names,
        )
    }
      if (quiet == watchdog) dead <= 1;
    end
    if (!rst && !core_rst && (woken || cycle + 1 == deadline || quiet == watchdog || broken)) begin
{lines("      $fflush(file_{name});", records)}
      wake <= !wake;
      pause <= 1;
    end
  end
  wire [31:0] last_logit_now = o__valid && o__ready ? cycle[31:0] : last_logit;
endmodule
"""
