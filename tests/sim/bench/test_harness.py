"""The harness around a core of a few lines: words, results, taps and cycles, with and without
stalls, a reset in the middle, and a core that breaks its contract."""

import json
from pathlib import Path

import pytest

from hw.contract.checks import SternaError
from sim.bench.harness import BENCH_TOP, OPTIONS, PUBLIC, harness, word_bytes
from sim.bench.verilator import SimulationError, build, run_bench, toolchain

WORD, RESULT = 70, 33
WIDTHS = [["low", 3], ["wide", 69], ["results", RESULT]]

CORE = """
module toy(input clk, input rst,
  input i__valid, output i__ready, input [69:0] i__payload,
  output reg o__valid, input o__ready, output reg [32:0] o__payload,
  output tap_low_valid, output [2:0] tap_low,
  output tap_wide_valid, output [68:0] tap_wide);
  integer fault = 0;
  initial begin
    o__valid = 0;
    void'($value$plusargs("fault=%d", fault));
  end
  assign i__ready = !o__valid || o__ready;
  assign tap_low_valid = i__valid && i__ready;
  assign tap_low = i__payload[2:0];
  assign tap_wide_valid = tap_low_valid && i__payload[0];
  assign tap_wide = i__payload[69:1];
  always @(posedge clk) begin
    if (i__ready) begin
      o__valid <= i__valid;
      o__payload <= {i__payload[69:53], i__payload[15:0]};
    end
    else if (fault == 1 && &o__payload[2:0]) o__payload <= o__payload + 1;
    else if (fault == 2 && &o__payload[2:0]) o__valid <= 0;
    if (fault == 3 && o__payload[15:0] == 33) o__valid <= 0;
    if (rst) o__valid <= 0;
  end
endmodule
"""
FAULTS = ("none", "moving", "vanishing", "dead")
WORDS = [(n * 0x9E3779B97F4A7C15F39C0 + (n << 53)) % 2**WORD >> 16 << 16 | n for n in range(50)]


def result_of(word: int) -> int:
    return word >> 53 << 16 | word & 0xFFFF


def number(data: list[int]) -> int:
    return sum(word << 32 * n for n, word in enumerate(data))


class Toy:
    """The core, built."""

    def __init__(self, folder: Path, settle: int = 0) -> None:
        (folder / "toy.sv").write_text(CORE)
        taps = [(str(name), int(bits)) for name, bits in WIDTHS[:-1]]
        text = harness("toy", WORD, RESULT, taps, settle=settle)
        (folder / "sterna_bench.sv").write_text(text)
        self.folder = folder
        with toolchain():
            self.built = build(
                folder, BENCH_TOP, ["toy.sv", "sterna_bench.sv"], ports=PUBLIC, options=OPTIONS
            )

    def run(
        self, rounds: list, *, stall: int = 0, watchdog: int = 1000, fault: str = "none"
    ) -> list[dict]:
        """What each round of the job saw."""
        shard = self.folder / "shard"
        shard.mkdir(exist_ok=True)
        size = word_bytes(WORD)
        (shard / "words.bin").write_bytes(b"".join(w.to_bytes(size, "big") for w in WORDS))
        (shard / "job.json").write_text(json.dumps({"widths": WIDTHS, "rounds": rounds}))
        with toolchain():
            run_bench(
                self.built,
                BENCH_TOP,
                "tests.sim.bench.harness_bench",
                shard,
                variables={"STERNA_BENCH": str(shard)},
                plusargs=[
                    f"+folder={shard}",
                    f"+stall={stall}",
                    "+random=1",
                    f"+watchdog={watchdog}",
                    f"+fault={FAULTS.index(fault)}",
                ],
            )
        return json.loads((shard / "seen.json").read_text())


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Toy:
    return Toy(tmp_path_factory.mktemp("toy"))


def check(blocks: list[dict]) -> list[int]:
    """Everything that was recorded is what was fed; the cycles of the results."""
    values = {name: [number(row) for b in blocks for row in b[name][1]] for name, _ in WIDTHS}
    fed = WORDS[: len(values["low"])]
    assert len(fed) >= len(values["results"])
    assert values["results"] == [result_of(word) for word in WORDS][: len(values["results"])]
    assert values["low"] == [word & 7 for word in fed]
    assert values["wide"] == [word >> 1 for word in fed if word & 1]
    cycles = {name: [n for b in blocks for n in b[name][0]] for name, _ in WIDTHS}
    assert all(
        a < b for name in cycles for a, b in zip(cycles[name], cycles[name][1:], strict=False)
    )
    assert cycles["wide"] == [n for n, word in zip(cycles["low"], fed, strict=True) if word & 1]
    return cycles["results"]


def test_flowing(toy: Toy) -> None:
    """A word per cycle, results one cycle later; records come in blocks."""
    (seen,) = toy.run([[[1, 20, 50], 30]])
    assert [len(block["results"][0]) for block in seen["blocks"]] == [1, 19, 30]
    assert check(seen["blocks"]) == list(range(1, 51))
    assert seen["start"] == 0
    assert seen["cycle"] == 81
    assert not any(seen["left"].values())


def test_stalled(toy: Toy) -> None:
    (seen,) = toy.run([[[10, 50], 30]], stall=2**15)
    cycles = check(seen["blocks"])
    assert 60 < cycles[-1] < 300
    assert not any(seen["left"].values())


@pytest.mark.parametrize("stall", [0, 2**15])
def test_reset_in_the_middle(toy: Toy, stall: int) -> None:
    """Words and records begin anew, in the same way: nothing of the first run is left."""
    first, again, whole = toy.run([[[17], 3], [[], 1], [[50], 30]], stall=stall)
    assert len(check(first["blocks"])) == 17
    assert again["cycle"] == 1
    assert len(check(whole["blocks"])) == 50
    assert not any(whole["left"].values())


def test_settling(tmp_path: Path) -> None:
    (seen,) = Toy(tmp_path, settle=7).run([[[50], 0]])
    assert seen["start"] == 7
    assert check(seen["blocks"])[0] == 8


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("moving", "an offered result has moved"),
        ("vanishing", "an offered result has moved"),
        ("dead", "the core does nothing any more"),
    ],
)
def test_broken_contracts_are_found(toy: Toy, fault: str, message: str) -> None:
    with pytest.raises(SimulationError, match="see "):
        toy.run([[[50], 30]], stall=0 if fault == "dead" else 2**15, fault=fault)
    assert message in (toy.folder / "shard" / "bench.log").read_text()


def test_names_of_taps() -> None:
    for name in ("results", "a b", "é-"):
        with pytest.raises(SternaError, match="Taps must have names of letters, digits and _"):
            harness("toy", 1, 1, [(name, 1)])
