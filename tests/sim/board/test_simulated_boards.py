"""The complete tops of all boards at their pins, under Verilator: what the host library is told
there, with the weights in the bitstream and in a flash, sound or not; and the LED."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gen.board.boards import find_board
from gen.board.planner import BoardPlan, plan_board
from hw.contract.link import VERSION, Command, ErrorCode
from hw.contract.network import Network
from sim.board.around import SIMULATED_TOP, board_sources
from sim.board.simulation import BoardPins, BoardSimulation
from sw.data.dataset import load_split
from sw.data.shipped import model_path
from sw.host.board import Board, open_board
from sw.host.errors import DeviceError, WeightsMissing
from sw.host.golden import GoldenBackend
from sw.host.link import LinkBackend
from sw.host.protocol import encode
from sw.verify.fault_campaign import campaign, campaign_table
from sw.verify.fault_trials import KINDS

DIGITS = Network.load(model_path("digits-dense"))
IMAGES = load_split("digits", "test", DIGITS.spec.input_bits).images[:5]

PROBE = "led_probe"
PROBE_BITS = 200
PROBE_SOURCE = f"""
// RX low for longer than any frame has it puts the LED's pin on TX.
module {PROBE} #(parameter LOW = {PROBE_BITS} * {{divisor}}) (
    input wire clk, input wire rx, output wire tx
);
    wire board_tx, led;
    {SIMULATED_TOP} board (.clk(clk), .rx(rx), .tx(board_tx), .led(led));
    reg [15:0] low = 0;
    always @(posedge clk) low <= rx ? 0 : low + (low != LOW);
    assign tx = low == LOW ? led : board_tx;
endmodule
"""


@dataclass
class Bench:
    """A board's design in a folder; compiled when it first starts."""

    plan: BoardPlan
    folder: Path
    sources: list[str]
    top: str = SIMULATED_TOP

    def start(self) -> BoardSimulation:
        spec = self.plan.spec
        pins = BoardPins(top=self.top, clock_hz=spec.clock_hz, baud=spec.baud)
        return BoardSimulation(self.folder, self.sources, pins)


def with_probe(plan: BoardPlan, folder: Path) -> Bench:
    sources = board_sources(plan, folder)
    divisor = round(plan.spec.clock_hz / plan.spec.baud)
    (folder / f"{PROBE}.v").write_text(PROBE_SOURCE.format(divisor=divisor))
    return Bench(plan, folder, [f"{PROBE}.v", *sources], PROBE)


def host(line: BoardSimulation) -> Board:
    return Board(LinkBackend(line, baud=line.baud, timeout=0.05), lambda: line.time)


@pytest.fixture(scope="module")
def ulx3s_85f(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Few lanes and a slow clock: this is the board of the long tests."""
    plan = plan_board(find_board("ulx3s_85f"), DIGITS, lanes=8, banks=1, megahertz=8)
    return with_probe(plan, tmp_path_factory.mktemp("ulx3s_85f"))


@pytest.fixture(scope="module")
def icebreaker(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Both kinds of weight memories, read from the flash."""
    plan = plan_board(
        find_board("icebreaker"), DIGITS, lanes=16, banks=1, memories=("spram", "ram")
    )
    return with_probe(plan, tmp_path_factory.mktemp("icebreaker"))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, list[object]]:
    """The Tang Nano 9K as `sim:` makes it, and what it says to `script`."""
    benches: list[Bench] = []

    def seen(plan: BoardPlan, folder: Path, stored: None) -> list[str]:
        benches.append(Bench(plan, folder, board_sources(plan, folder)))
        return benches[-1].sources

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sw.host.address.BUILD", tmp_path_factory.mktemp("build"))
        patch.setattr("sim.board.around.board_sources", seen)
        said = script("sim:tang_nano_9k")
    (bench,) = benches
    return bench, said


@pytest.fixture(scope="module")
def tang_nano_9k(asked: tuple[Bench, list[object]]) -> Bench:
    return asked[0]


@pytest.fixture(params=["tang_nano_9k", "ulx3s_85f", "icebreaker"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return request.getfixturevalue(request.param)


@pytest.fixture
def flash(icebreaker: Bench) -> Iterator[Path]:
    """The flash's contents, one byte per line; put right again afterwards."""
    path = icebreaker.folder / "flash.hex"
    before = path.read_bytes()
    yield path
    path.write_bytes(before)


def script(url: str) -> list[object]:
    """A host's program: nothing in it depends on what is at the address."""
    said: list[object] = []
    with open_board(url) as board:
        identity = board.wait_ready()
        said.append((identity.digest, identity.input_size, identity.lanes, identity.banks))
        for image in IMAGES:
            said.append(facts(board.infer(image)))
            said.append(board.counters())
        said.append(board.classify(IMAGES).tolist())
        said.append(facts(board.run([(n, int(v)) for n, v in enumerate(IMAGES[0]) if v])))
        board.reset()
        with pytest.raises(DeviceError) as caught:
            board.counters()
        said.append(str(caught.value))
    return said


def facts(result: Any) -> tuple[int, list[int], Any]:
    return result.label, result.logits.tolist(), result.counters


def refusal(board: Board, command: Command) -> str:
    """The error that a command without payload is answered with."""
    backend = board._backend
    assert isinstance(backend, LinkBackend)
    with pytest.raises(DeviceError) as caught:
        backend._ask(command)
    return caught.value.name


def test_one_script_for_every_address(asked: tuple[Bench, list[object]]) -> None:
    bench, said = asked
    assert bench.folder.name == "tang_nano_9k-digits-dense"
    core = bench.plan.core
    assert said == script(f"golden:digits-dense?lanes={core.lanes}&banks={core.banks}")


def test_a_board_is_what_was_planned_and_equals_the_golden_model(bench: Bench) -> None:
    plan, spec = bench.plan, bench.plan.core.network.spec
    golden = GoldenBackend(plan.core)
    with host(bench.start()) as board:
        assert dataclasses.asdict(board.wait_ready()) == {
            "protocol": VERSION,
            "board": plan.board.name,
            "digest": DIGITS.digest,
            "input_size": 64,
            "input_bits": spec.input_bits,
            "steps": spec.steps,
            "classes": 10,
            "lanes": plan.core.lanes,
            "banks": plan.core.banks,
            "clock_hz": plan.spec.clock_hz,
            "baud": 1_000_000,
            "image_bytes": plan.core.words * plan.core.input_bits // 8,
            "ready": True,
            "weights_failed": False,
            "layout": None,
            "timed": False,
            "learns": False,
            "changed": False,
        }
        assert refusal(board, Command.RUN) == "NO_INPUT"
        assert refusal(board, Command.COUNTERS) == "NO_RESULT"
        for image in IMAGES:
            assert facts(board.infer(image)) == facts(golden.infer(image))
            assert board.counters() == golden.counters()


def test_a_board_is_not_ready_before_its_flash_is_read(icebreaker: Bench) -> None:
    assert icebreaker.plan.core.loaded
    core = icebreaker.plan.core
    image = bytes(core.words * core.input_bits // 8)
    with icebreaker.start() as line:
        line.read(1, 1e-4)  # the power-on reset
        for n, (command, payload) in enumerate([(Command.RUN, b""), (Command.WRITE, image)]):
            line.write(encode(n, command, payload))
            told = bytes([n, 0xFF, 2, 0, ErrorCode.NOT_READY, command])
            assert line.read(12, 1e-3)[2:8] == told
        backend = LinkBackend(line, baud=line.baud, timeout=0.05)
        backend._settled = True  # nothing is under way: the 7 ms of loading are too short to wait
        board = Board(backend, lambda: line.time)
        identity = board.identify()
        assert (identity.ready, identity.weights_failed) == (False, False)
        with pytest.raises(WeightsMissing, match=r"^The weights of the board were not there in 0 "):
            board.wait_ready(0)
        with pytest.raises(WeightsMissing, match=r"not there in 0\.001 s$"):
            board.wait_ready(0.001)
        assert board.wait_ready().ready
        golden = GoldenBackend(icebreaker.plan.core)
        assert facts(board.infer(IMAGES[1])) == facts(golden.infer(IMAGES[1]))


@pytest.mark.parametrize(
    ("place", "mask"),
    [(35, 0x01), (36, 0x80), (-1, 0x10), (None, 0xFF)],
    ids=["digest", "first row", "CRC", "erased"],
)
def test_a_damaged_flash_classifies_nothing(
    icebreaker: Bench, flash: Path, place: int | None, mask: int
) -> None:
    data = bytearray.fromhex(flash.read_text())
    if place is None:
        data[:] = bytes([mask]) * len(data)
    else:
        data[place] ^= mask
    flash.write_text("".join(f"{byte:02x}\n" for byte in data))
    with host(icebreaker.start()) as board:
        with pytest.raises(WeightsMissing, match="could not read its weights: its flash must"):
            board.wait_ready()
        identity = board.identify()
        assert (identity.ready, identity.weights_failed) == (False, True)
        with pytest.raises(DeviceError, match="answers NOT_READY to WRITE: its weights are not"):
            board.infer(IMAGES[0])
        board.reset()
        assert refusal(board, Command.RUN) == "NOT_READY"
        assert refusal(board, Command.READ) == "NO_RESULT"


def lit(line: BoardSimulation, plan: BoardPlan) -> bool:
    """What the LED shows now; the board hears a break between frames, which it drops."""
    line.discard()
    line.drive([(0, (PROBE_BITS + 6) * 1e9 / line.baud)])
    high = line.read(1, 20 / line.baud) == b""
    return high != plan.board.led_active_low


@pytest.mark.parametrize("name", ["ulx3s_85f", "icebreaker"])
def test_the_led_is_on_while_busy(name: str, request: pytest.FixtureRequest) -> None:
    bench = request.getfixturevalue(name)
    with bench.start() as line:
        assert not lit(line, bench.plan)
        host(line).identify()
        assert lit(line, bench.plan)


def test_the_led_blinks_after_an_error(ulx3s_85f: Bench) -> None:
    plan = ulx3s_85f.plan
    bits = plan.spec.clock_hz.bit_length()
    hold, half = (2**n / plan.spec.clock_hz for n in (bits - 4, bits - 3))  # seconds
    with ulx3s_85f.start() as line:

        def shown() -> set[bool]:
            """In a quarter of a second, once the light of the last command is out."""
            line.read(1, 1.1 * hold)
            seen = set()
            for _ in range(6):
                line.read(1, half / 3)
                seen.add(lit(line, plan))
            return seen

        line.read(1, 1e-3)  # the power-on reset
        line.write(encode(1, Command.READ))  # without a result
        assert shown() == {True, False}
        host(line).identify()
        assert shown() == {False}  # the slow blink begins with its dark second


def test_a_fault_campaign(
    ulx3s_85f: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of damage three times, at the pins, each followed by an exchange."""
    monkeypatch.setattr(
        "sw.verify.fault_campaign.simulate_board", lambda plan, folder, stored: ulx3s_85f.start()
    )
    frames = 3 * len(KINDS)
    assert frames >= 120
    report = campaign(ulx3s_85f.plan, IMAGES, tmp_path, frames, seed=3)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert report["details"] == []
    assert report["line_faults"] == 0
    assert (report["wrong_answers"], report["hangs"], report["unexpected"]) == (0, 0, 0)
    assert report["frames"] == sum(report["outcomes"].values()) == sum(report["recovered"]) == 129
    assert set(report["kinds"]) == set(KINDS)
    assert all(count["frames"] == 3 for count in report["kinds"].values())
    silenced = {"NOT_READY", "COUNT", "VALUE"}  # weights always there, and nothing learns
    assert {name for name, count in report["errors"].items() if not count} == silenced
    lines = [" ".join(line.split()) for line in campaign_table(report).splitlines()]
    assert "wrong answers 0" in lines
    assert "baud -1.5 % 3 frames, 3 accepted, 3 try 1" in lines
