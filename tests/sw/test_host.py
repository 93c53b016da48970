"""The host library: three back ends, one set of calls, and no wrong answer whatever happens."""

import os
import select
import sys
import threading
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from gen.cycles import CycleLaw
from gen.plan import plan_core
from hw.image import ImageError, NetworkImage
from hw.link import Command, ErrorCode
from hw.spec import LayerSpec, NetworkSpec, NeuronSpec, SternaError
from sim.golden import GoldenModel, InputError
from sim.streams import law_costs
from sw.backends import GoldenBackend, LinkBackend
from sw.host import (
    Board,
    ConnectionFailed,
    DamagedReply,
    DeviceError,
    HostError,
    LinkTimeout,
    ProtocolMismatch,
    UrlError,
    open_board,
)
from tests.sw.device_twin import DeviceTwin, TwinLine

MODELS = Path(__file__).parents[2] / "models"
TIMEOUT = 0.5


def small_network():
    """13 pixels of 3 bits, 7 hidden neurons, 4 classes."""
    rng = np.random.default_rng(4)
    neuron = NeuronSpec(theta=6, decay="leak", decay_shift=2, potential_bits=6)
    layers = (
        LayerSpec(name="hidden", inputs=13, neurons=7, weight_bits=4, neuron=neuron),
        LayerSpec(name="readout", inputs=7, neurons=4, weight_bits=4),
    )
    spec = NetworkSpec(name="small", input_size=13, input_bits=3, steps=3, layers=layers)
    weights = tuple(rng.integers(-7, 8, (n.neurons, n.inputs)) for n in layers)
    biases = tuple(rng.integers(-9, 9, n.neurons) for n in layers)
    return NetworkImage(spec, weights, biases)


PLAN = plan_core(small_network(), 4, 2)


@pytest.fixture
def images():
    return np.random.default_rng(8).integers(0, 8, (12, 13))


@pytest.fixture
def twin():
    return DeviceTwin(PLAN)


@pytest.fixture
def line(twin):
    return TwinLine(twin)


def link(line, retries=0):
    return LinkBackend(line, baud=1_000_000, timeout=TIMEOUT, retries=retries)


@pytest.fixture
def board(line):
    with Board(link(line)) as board:
        yield board


def facts(result):
    return result.label, result.logits.tolist(), result.counters


def golden(image):
    return facts(GoldenBackend(PLAN).infer(np.asarray(image, dtype=np.uint8)))


# --- golden


@pytest.mark.parametrize("options", ["", "?lanes=20&banks=4", "?lanes=128"])
def test_golden_by_name_and_by_path(options, tmp_path):
    image = NetworkImage.load(MODELS / "digits-dense.npz")
    copy = image.save(tmp_path / "copy.npz")
    pixels = np.random.default_rng(1).integers(0, 16, (5, 64))
    for model in ("digits-dense", str(copy)):
        with open_board(f"golden:{model}{options}") as board:
            identity = board.identify()
            assert identity.digest == image.digest
            assert (identity.input_size, identity.classes, identity.steps) == (64, 10, 4)
            assert (identity.lanes, identity.banks) == ((20, 4) if "20" in options else (128, 1))
            assert (identity.board, identity.ready, identity.protocol) == ("golden", True, 1)
            assert board.classify(pixels).tolist() == GoldenModel(image).classify(pixels).tolist()


def test_golden_counters_are_the_cycle_laws(images):
    board = Board(GoldenBackend(PLAN))
    trace = GoldenModel(PLAN.image).run(images)
    costs = law_costs(PLAN, images.astype(np.uint8), trace)
    groups = [g.groups for g in PLAN.geometries]
    assert groups == [2, 1]
    for n, image in enumerate(images):
        result = board.infer(image)
        cycle = CycleLaw(PLAN).predict([cost[n : n + 1] for cost in costs])[0]
        assert result.counters.cycles == cycle - (PLAN.geometries[0].words - 1)
        bits = sum(int(pixel).bit_count() for pixel in image)
        spikes = int(np.abs(trace.spikes[0][n]).sum())
        assert result.counters.events == groups[0] * bits + groups[1] * spikes
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
    assert identity.digest == PLAN.image.digest
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
    for call in (either.identify, either.counters, either.reset, lambda: either.run([]),
                 lambda: either.infer([0] * 13), lambda: either.classify([[0] * 13])):  # fmt: skip
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


# --- damage


def calls(board, image):
    return {"identify": board.identify, "infer": lambda: board.infer(image),
            "reset": board.reset, "counters": board.counters}  # fmt: skip


class Once:
    """Damages one answer (or request), the `skip`-th from now."""

    def __init__(self, damage, skip=0):
        self.damage, self.left, self.size = damage, skip, 0

    def __call__(self, data):
        self.left -= 1
        if self.left == -1:
            self.size = len(data)
            return self.damage(data)
        return data


def flip(bit):
    return lambda data: (
        data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]
    )


SEQUENCES = [("identify", 0), ("infer", 0), ("infer", 1), ("infer", 2), ("reset", 0),
             ("counters", 0)]  # fmt: skip


@pytest.mark.parametrize(("call", "skip"), SEQUENCES)
def test_every_bit_of_every_answer(board, line, images, call, skip):
    board.infer(images[0])
    board.counters()
    bit, size = 0, 1
    while bit < 8 * size:
        line.damage_answer = once = Once(flip(bit), skip)
        with pytest.raises(DamagedReply):
            calls(board, images[1])[call]()
        size = once.size
        line.damage_answer = bytes
        assert facts(board.infer(images[0])) == golden(images[0])
        bit += 1
    assert size >= 10


@pytest.mark.parametrize(("call", "skip"), SEQUENCES)
def test_every_bit_of_every_request(board, line, images, call, skip):
    board.infer(images[0])
    bit, size = 0, 1
    while bit < 8 * size:
        line.damage_request = once = Once(flip(bit), skip)
        with pytest.raises((LinkTimeout, DeviceError, DamagedReply)) as caught:
            calls(board, images[1])[call]()
        if isinstance(caught.value, DeviceError):
            assert caught.value.transport
        size = once.size
        line.damage_request = bytes
        assert facts(board.infer(images[0])) == golden(images[0])
        bit += 1


@pytest.mark.parametrize(("call", "skip"), SEQUENCES)
def test_every_truncation(board, line, images, call, skip):
    board.infer(images[0])
    keep, size = 0, 1
    while keep < size:
        line.damage_answer = once = Once(lambda data, keep=keep: data[:keep], skip)
        with pytest.raises(DamagedReply if keep else LinkTimeout):
            calls(board, images[1])[call]()
        size = once.size
        line.damage_answer = bytes
        assert facts(board.infer(images[0])) == golden(images[0])
        keep += 1


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda data: b"\x00" + data, DamagedReply),
        (lambda data: b"\xa5" + data, DamagedReply),
        (lambda data: data[:7] + b"\x55" + data[7:], DamagedReply),
        (lambda data: data[:7] + data[8:], DamagedReply),
        (lambda data: bytes(len(data)), DamagedReply),
        (lambda data: b"\xff" * len(data), DamagedReply),
        (lambda data: data[::-1], DamagedReply),
        (lambda data: b"", LinkTimeout),
    ],
)
@pytest.mark.parametrize(("call", "skip"), SEQUENCES)
def test_garbage(board, line, images, call, skip, damage, error):
    board.infer(images[0])
    line.damage_answer = Once(damage, skip)
    with pytest.raises(error):
        calls(board, images[1])[call]()
    line.damage_answer = bytes
    assert facts(board.infer(images[0])) == golden(images[0])


def test_an_answer_twice_is_never_taken_for_the_next(board, line, images):
    line.damage_answer = lambda data: data * 2
    for image in images:
        assert facts(board.infer(image)) == golden(image)


def test_a_stale_answer_of_the_same_kind(board, line, images):
    seen = []
    line.damage_answer = lambda data: seen.append(data) or data
    board.infer(images[0])
    old = list(seen)
    for n in range(3):
        line.damage_answer = Once(lambda data, n=n: old[n], n)
        with pytest.raises(DamagedReply, match="belongs to another request"):
            board.infer(images[1])


def test_late_answers(board, line, images):
    line.late = True
    with pytest.raises(LinkTimeout, match="did not answer WRITE"):
        board.infer(images[0])
    line.late = False
    assert facts(board.infer(images[1])) == golden(images[1])


def test_a_line_that_is_never_silent(board, line, images, monkeypatch):
    line.damage_answer = Once(flip(0))
    with pytest.raises(DamagedReply):
        board.reset()
    monkeypatch.setattr(line, "read", lambda count, timeout: bytes(count))
    with pytest.raises(LinkTimeout, match="keeps sending"):
        board.infer(images[0])


def test_a_fault_is_waited_out(board, line, images):
    board.reset()
    before = line.time
    board.reset()
    assert line.time == before  # no waiting without a fault
    line.damage_request = Once(lambda data: data[:-1])
    with pytest.raises(DeviceError, match="TRUNCATED"):
        board.reset()
    before = line.time
    board.reset()
    assert line.time - before >= 4096e-6


def test_retries_begin_from_the_beginning(line, images):
    for skip in range(3):
        for retries, passes in ((0, False), (1, True)):
            board = Board(link(line, retries))
            line.damage_answer = Once(flip(70), skip)
            if passes:
                assert facts(board.infer(images[0])) == golden(images[0])
                assert board.counters() == golden(images[0])[2]
            else:
                with pytest.raises(DamagedReply):
                    board.infer(images[0])
            line.damage_answer = bytes


def test_retries_are_counted_and_only_for_what_was_lost(line, twin, images):
    board = Board(link(line, retries=4))
    sent = []
    line.damage_request = lambda data: sent.append(data) or b""
    with pytest.raises(LinkTimeout):
        board.infer(images[0])
    assert len(sent) == 5
    assert len(set(sent)) == 5  # each with its own sequence number
    sent.clear()
    line.damage_request = lambda data: sent.append(data) or data
    twin.ready = False
    with pytest.raises(DeviceError, match="NOT_READY"):
        board.infer(images[0])
    assert len(sent) == 1


def damages(random, data, old):
    """`data`, damaged in one of the ways a line knows."""
    at = random.randrange(len(data))
    kind = random.randrange(10)
    some = bytes(random.randrange(256) for _ in range(random.randrange(1, 30)))
    if kind < 3:
        for _ in range(random.choice([1, 1, 2, 5, 20])):
            data = flip(random.randrange(8 * len(data)))(data)
        return data
    return [
        data[:at], data[:at] + data[at + 1 :], data[:at] + some + data[at:], some + data,
        data + some, random.choice(old or [b""]), data * 2,
    ][kind - 3]  # fmt: skip


@pytest.mark.parametrize("retries", [0, 2])
def test_a_campaign_of_damaged_exchanges(line, images, retries):
    """1,000 exchanges, at least one message of each damaged, either way: never a wrong answer."""
    random = Random(retries)
    board = Board(link(line, retries))
    old: list[bytes] = []
    raised = passed = damaged = 0

    def damage(data):
        nonlocal harm, damaged
        if harm == 0 or (harm < 0 and random.random() < 0.3):
            damaged += 1
            data = damages(random, data, old[:-20])
        harm -= 1
        old.append(data)
        return data

    for n in range(1000):
        image = images[random.randrange(len(images))]
        harm = random.randrange(3)
        requests = random.random() < 0.5
        line.damage_request, line.damage_answer = (damage, bytes) if requests else (bytes, damage)
        line.late = random.random() < 0.02
        before = damaged
        try:
            answer = facts(board.infer(image))
        except HostError:
            raised += 1
        else:
            passed += 1
            assert answer == golden(image), n
        assert damaged > before or line.late
    assert raised > 100
    assert passed > (100 if retries else 10)
    line.damage_request = line.damage_answer = bytes
    line.late = False
    assert facts(board.infer(images[0])) == golden(images[0])


# --- addresses


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mnist-dense", "Board must be golden:MODEL, sim:BOARD or serial:PORT, not 'mnist-dense'"),
        ("", "Board must be"),
        (None, "Board must be"),
        ("tcp:host", "Board must be"),
        ("golden:", "must name what it is"),
        ("golden:?lanes=4", "must name what it is"),
        ("golden:digits-dense?lanes", "must be NAME=VALUE"),
        ("golden:digits-dense?baud=9", r"must be of \['banks', 'lanes'\], each at most once"),
        ("golden:digits-dense?lanes=2&lanes=3", "each at most once"),
        ("golden:digits-dense?lanes=x", "Option lanes must be a positive number, not 'x'"),
        ("golden:digits-dense?lanes=0", "Option lanes must be a positive number, not '0'"),
        ("golden:digits-dense?lanes=-4", "Option lanes must be a positive number"),
        ("serial:/dev/x?baud=fast", "Option baud must be a positive number"),
        ("serial:/dev/x?lanes=4", r"must be of \['baud'\]"),
        ("sim:tiny?baud=4", r"must be of \['model'\]"),
    ],
)
def test_addresses_that_name_no_board(url, words):
    with pytest.raises(UrlError, match=words):
        open_board(url)


def test_other_arguments_of_open_board():
    arguments: dict[str, Any]
    for arguments, words in (
        ({"timeout": 0}, "Time-out must be a positive number of seconds, not 0"),
        ({"timeout": -1.0}, "Time-out"),
        ({"timeout": float("nan")}, "Time-out"),
        ({"retries": -1}, "Retries must be a number from 0 on, not -1"),
    ):
        with pytest.raises(UrlError, match=words):
            open_board("golden:digits-dense", **arguments)
    with pytest.raises(ImageError, match="does not exist"):
        open_board("golden:no/such.npz")


def test_a_model_or_board_that_is_not_there():
    with pytest.raises(SternaError, match=r"Model must be one of \['digits-dense', .*not 'no'"):
        open_board("golden:no")
    with pytest.raises(SternaError, match=r"Board must be one of .*not 'no'"):
        open_board("sim:no")


def test_a_simulated_board_is_opened_and_closed(monkeypatch, line, images):
    class Boards:
        @staticmethod
        def simulate_board(plan, folder):
            assert (plan.board.name, plan.core.image.spec.name) == ("icebreaker", "digits-dense")
            assert folder == Path("build/boards/icebreaker-digits-dense")
            return line

    line.baud = 1_000_000
    line.time = 0.0
    monkeypatch.setitem(sys.modules, "sim.boards", Boards)
    with open_board("sim:icebreaker?model=digits-dense") as board:
        assert facts(board.infer(images[0])) == golden(images[0])
        assert not line.closed
    assert line.closed
    line.closed, line.damage_request = False, lambda data: b""
    with pytest.raises(LinkTimeout, match=r"within 0\.05 s"):
        open_board("sim:icebreaker?model=digits-dense")
    assert line.closed


# --- a real serial port


@pytest.fixture
def port(twin):
    """A pseudo-terminal with the twin at its other end, in real time; yields its path."""
    master, slave = os.openpty()
    stop, stopped = os.pipe()

    def serve():
        while True:
            ready, _, _ = select.select([master, stop], [], [], 0.005)
            if stop in ready:
                return
            if ready:
                twin.burst(os.read(master, 65536))
            else:
                twin.pause(5000)
            if twin.answer:
                os.write(master, bytes(twin.answer))
                twin.answer.clear()

    thread = threading.Thread(target=serve)
    thread.start()
    yield os.ttyname(slave)
    os.write(stopped, b"x")
    thread.join()
    for handle in (master, slave, stop, stopped):
        os.close(handle)


def test_serial_equals_golden(port, images, twin):
    with open_board(f"serial:{port}", timeout=2.0) as board:
        assert board.identify().digest == PLAN.image.digest
        for image in images:
            assert facts(board.infer(image)) == golden(image)
        with pytest.raises(ConnectionFailed, match="cannot be opened at 9600 baud"):
            open_board(f"serial:{port}?baud=9600")  # nobody else meanwhile
        twin.wrong_tag = 1
        with pytest.raises(DamagedReply, match="another image"):
            board.infer(images[0])
        twin.wrong_tag = 0
        assert facts(board.infer(images[0])) == golden(images[0])
    with open_board(f"serial:{port}?baud=115200") as board:
        assert facts(board.infer(images[0])) == golden(images[0])


def test_serial_that_is_silent_noisy_or_pulled(port, twin, images, monkeypatch):
    with open_board(f"serial:{port}", timeout=0.05, retries=1) as board:
        monkeypatch.setattr(twin, "burst", lambda data: None)
        with pytest.raises(LinkTimeout, match=r"did not answer WRITE within 0\.05 s"):
            board.infer(images[0])
        monkeypatch.setattr(twin, "burst", lambda data: twin.answer.extend(b"noise"))
        with pytest.raises(DamagedReply):
            board.infer(images[0])


def test_a_port_that_is_pulled(images):
    master, slave = os.openpty()
    port = LinkBackend(_serial_port(os.ttyname(slave)), baud=1_000_000, timeout=0.05)
    os.close(slave)
    os.close(master)
    for call in (port.identify, port.reset, port.counters):
        with pytest.raises(ConnectionFailed, match="is lost"):
            call()
    port.close()


def _serial_port(path):
    from sw.serial_port import SerialPort

    return SerialPort(path, 1_000_000)


def test_a_missing_port_and_missing_pyserial(tmp_path, monkeypatch):
    with pytest.raises(ConnectionFailed, match=r"/dev/nothing cannot be opened.*No such file"):
        open_board("serial:/dev/nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConnectionFailed, match="cannot be opened at 1000000 baud: "):
        open_board(f"serial:{tmp_path / 'file'}")
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(ConnectionFailed, match="needs the package pyserial") as caught:
        open_board("serial:/dev/nothing")
    assert "\n" not in str(caught.value)
