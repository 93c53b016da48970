"""The host's end of a line that damages what goes over it: never a wrong answer."""

from random import Random

import pytest

from sw.host.board import Board
from sw.host.errors import DamagedReply, DeviceError, HostError, LinkTimeout
from tests.sw.host.hosting import board, facts, golden, images, line, link, twin

__all__ = ["board", "images", "line", "twin"]  # fixtures


def calls(board, image):
    return {
        "identify": board.identify,
        "infer": lambda: board.infer(image),
        "reset": board.reset,
        "counters": board.counters,
    }


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


SEQUENCES = [
    ("identify", 0),
    ("infer", 0),
    ("infer", 1),
    ("infer", 2),
    ("reset", 0),
    ("counters", 0),
]


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
        data[:at],
        data[:at] + data[at + 1 :],
        data[:at] + some + data[at:],
        some + data,
        data + some,
        random.choice(old or [b""]),
        data * 2,
    ][kind - 3]


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
