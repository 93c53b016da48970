"""The host library's calls: golden model and link give equal answers, and refuse equal things."""

from pathlib import Path

import numpy as np
import pytest

from gen.core.law import CycleLaw
from hw.contract.checks import InputError
from hw.contract.link import Command, ErrorCode
from hw.contract.network import Network
from sim.golden.model import GoldenModel
from sw.host.board import Board, open_board
from sw.host.errors import (
    ConnectionFailed,
    DamagedReply,
    DeviceError,
    LinkTimeout,
    ProtocolMismatch,
)
from sw.host.golden import GoldenBackend
from tests.sw.host.hosting import PLAN, board, facts, golden, images, line, link, twin

MODELS = Path(__file__).parents[3] / "sw/data/models"

__all__ = ["board", "images", "line", "twin"]  # fixtures


# --- golden


@pytest.mark.parametrize("options", ["", "?lanes=20&banks=4", "?lanes=128"])
def test_golden_by_name_and_by_path(options, tmp_path):
    network = Network.load(MODELS / "digits-dense.npz")
    copy = network.save(tmp_path / "copy.npz")
    pixels = np.random.default_rng(1).integers(0, 16, (5, 64))
    for model in ("digits-dense", str(copy)):
        with open_board(f"golden:{model}{options}") as board:
            identity = board.identify()
            assert identity.digest == network.digest
            assert (identity.input_size, identity.classes, identity.steps) == (64, 10, 4)
            assert (identity.lanes, identity.banks) == ((20, 4) if "20" in options else (128, 1))
            assert (identity.board, identity.ready, identity.protocol) == ("golden", True, 1)
            assert board.classify(pixels).tolist() == GoldenModel(network).classify(pixels).tolist()


def test_golden_counters_are_the_cycle_laws(images):
    board = Board(GoldenBackend(PLAN))
    trace = GoldenModel(PLAN.network).run(images)
    pixels = images.astype(np.uint8)
    groups = [-(-layer.neurons // PLAN.lanes) for layer in PLAN.network.spec.layers]
    assert groups == [2, 1]
    for n, image in enumerate(images):
        result = board.infer(image)
        spikes = [part[n : n + 1] for part in trace.spikes]
        cycle = CycleLaw(PLAN).predict(pixels[n : n + 1], spikes)[0]
        assert result.counters.cycles == cycle - (PLAN.words - 1)
        bits = sum(int(pixel).bit_count() for pixel in image)
        fired = int(np.abs(trace.spikes[0][n]).sum())
        assert result.counters.events == groups[0] * bits + groups[1] * fired
        assert result.logits.dtype == np.int32
        assert result.logits.tolist() == trace.logits[n].tolist()
        assert board.counters() == result.counters
        assert facts(board.infer(image)) == facts(result)  # nothing is left of the run before


# --- the calls, over the link


def test_link_equals_golden(board, images):
    for image in images:
        assert facts(board.infer(image)) == golden(image)
        assert board.counters() == golden(image)[2]
    seen = []
    classes = board.classify(images, progress=lambda *numbers: seen.append(numbers))
    assert classes.tolist() == [golden(image)[0] for image in images]
    assert classes.dtype == np.int64
    assert seen == [(n + 1, 12) for n in range(12)]
    assert board.counters() == golden(images[-1])[2]
    assert board.classify(np.zeros((0, 13), dtype=int)).shape == (0,)


def test_identity_over_the_link(board, twin):
    identity = board.identify()
    assert identity.digest == PLAN.network.digest
    assert (identity.lanes, identity.banks, identity.baud) == (4, 2, 1_000_000)
    assert (identity.input_bits, identity.input_size, identity.image_bytes) == (3, 13, 6)
    assert identity.ready
    twin.ready = False
    assert not board.identify().ready


def test_events_are_the_image(board, images):
    for image in images:
        events = [(pixel, value) for pixel, value in enumerate(image) if value]
        assert facts(board.run(reversed(events))) == golden(image)
        assert facts(board.run(np.array(events))) == golden(image)
    assert facts(board.run([])) == golden(np.zeros(13))


@pytest.fixture(params=["golden", "link"])
def either(request, line):
    with Board(GoldenBackend(PLAN) if request.param == "golden" else link(line)) as board:
        yield board


def test_counters_need_a_run(either, images):
    for _ in range(2):
        with pytest.raises(DeviceError, match="answers NO_RESULT to COUNTERS") as caught:
            either.counters()
        assert caught.value.code == ErrorCode.NO_RESULT
        either.infer(images[0])
        assert either.counters() == golden(images[0])[2]
        either.reset()


@pytest.mark.parametrize(
    ("call", "argument", "words"),
    [
        ("classify", np.zeros(13, int), r"Images must have shape \(n, 13\), not \(13,\)"),
        ("classify", np.zeros((2, 12), int), r"Images must have shape \(n, 13\), not \(2, 12\)"),
        ("classify", np.zeros((2, 13)), "Pixels must be integers, not float64"),
        ("classify", np.full((1, 13), 8), r"Pixels must lie in 0..7, not reach 8..8"),
        ("classify", np.full((1, 13), -1), r"Pixels must lie in 0..7, not reach -1..-1"),
        ("classify", [[0] * 13, [0]], "Images must be an array of integers"),
        ("classify", np.zeros((1, 13), bool), "Pixels must be integers, not bool"),
        ("infer", np.zeros((1, 13), int), r"Image must have shape \(13,\), not \(1, 13\)"),
        ("infer", np.zeros(12, int), "must have shape"),
        ("infer", np.full(13, 256), "not reach 256..256"),
        ("infer", "image", "Pixels must be integers"),
        ("infer", None, "Pixels must be integers"),
        ("run", [(13, 1)], r"pixel below 13 and a magnitude in 1..7, not \(13, 1\)"),
        ("run", [(-1, 1)], "pixel below 13"),
        ("run", [(0, 8)], "magnitude in 1..7"),
        ("run", [(0, 0)], "magnitude in 1..7"),
        ("run", [(0, 1), (0, 2)], "must name a pixel once: 0 comes twice"),
        ("run", [(0, 1.0)], "must be pairs"),
        ("run", [(True, 1)], "must be pairs"),
        ("run", [(0, 1, 2)], "must be pairs"),
        ("run", [3], "must be pairs"),
        ("run", 3, "must be pairs"),
    ],
)
def test_input_that_does_not_fit(either, call, argument, words):
    with pytest.raises(InputError, match=words):
        getattr(either, call)(argument)


def test_a_closed_board(either):
    either.close()
    either.close()
    for call in (
        either.identify,
        either.counters,
        either.reset,
        lambda: either.run([]),
        lambda: either.infer([0] * 13),
        lambda: either.classify([[0] * 13]),
    ):
        with pytest.raises(ConnectionFailed, match="The board is closed"):
            call()


# --- what a board refuses


@pytest.mark.parametrize(
    ("code", "request_bytes"),
    [
        (ErrorCode.CRC, "a5 01 01 01 0000 00000000"),
        (ErrorCode.LENGTH, "a5 01 01 01 0100"),
        (ErrorCode.COMMAND, "a5 01 01 07 0000"),
        (ErrorCode.VERSION, "a5 02 01 01 0000"),
        (ErrorCode.TRUNCATED, "a5 01 01 01"),
        (ErrorCode.NO_INPUT, None),
        (ErrorCode.NO_RESULT, None),
        (ErrorCode.NOT_READY, None),
    ],
)
def test_every_error_code(line, code, request_bytes, images):
    board = Board(link(line))
    if request_bytes is None:
        line.twin.ready = code != ErrorCode.NOT_READY
        call = {
            ErrorCode.NO_INPUT: lambda: link(line)._ask(Command.RUN),
            ErrorCode.NO_RESULT: board.counters,
            ErrorCode.NOT_READY: lambda: board.infer(images[0]),
        }[code]
    else:
        line.damage_request = lambda data: bytes.fromhex(request_bytes)
        call = board.reset
    with pytest.raises(DeviceError) as caught:
        call()
    assert caught.value.code == code
    assert caught.value.name == code.name
    line.damage_request, line.twin.ready = bytes, True
    assert facts(board.infer(images[0])) == golden(images[0])


def test_a_missing_stop_bit_in_a_request(line, images):
    board = Board(link(line))
    line.damage_request = lambda data: (
        (line.twin.burst(data[:4]), line.twin.byte_without_stop())[1] or b""
    )
    with pytest.raises(DeviceError, match="TRUNCATED"):
        board.reset()
    line.damage_request = bytes
    assert facts(board.infer(images[0])) == golden(images[0])


def test_a_board_of_another_version_or_none_at_all(line, twin):
    twin.facts = {11: 0}
    with pytest.raises(ProtocolMismatch, match="says of itself what cannot be: classes"):
        Board(link(line, retries=3))
    line.damage_request = lambda data: b""
    with pytest.raises(LinkTimeout, match=r"did not answer IDENTIFY within 0\.5 s"):
        Board(link(line))


@pytest.mark.parametrize("fault", ["wrong_tag", "wrong_label"])
def test_a_result_of_another_image_or_that_contradicts_itself(board, twin, images, fault):
    board.infer(images[0])
    setattr(twin, fault, 1)
    with pytest.raises(DamagedReply, match=r"another image|contradicts itself"):
        board.infer(images[0])
    with pytest.raises(DeviceError, match="NO_RESULT"):  # the run has failed
        board.counters()
    setattr(twin, fault, 0)
    board.infer(images[0])
    twin.result = bytes([twin.result[0] ^ 1]) + twin.result[1:]
    with pytest.raises(DamagedReply, match="belongs to another image"):
        board.counters()


def test_counters_of_another_host_are_not_taken(line, images):
    Board(link(line)).infer(images[0])
    with pytest.raises(DeviceError, match="NO_RESULT"):
        Board(link(line)).counters()
