"""A whole board that learns, in Verilog, at its pins: every answer, and every master weight, is the
golden model's, whatever is sent."""

import random
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from gen.board.boards import find_board
from gen.board.planner import BoardPlan, plan_learning_board
from gen.learn.stage import learning_stage
from hw.contract.layout import map_layout
from hw.contract.link import Command
from hw.learn.masters import Masters
from sim.board.around import simulate_board
from sim.board.simulation import BoardSimulation
from sim.golden.learning import Learner
from sw.host.board import Board
from sw.host.golden import LearningGolden
from sw.host.link import LinkBackend
from sw.verify.fault_campaign import campaign
from sw.verify.fault_trials import KINDS, LESSON_KINDS, Trials
from sw.verify.faults import Shot
from tests.hw.link.linking import (
    COMMAND,
    COUNT,
    CRC,
    LEARN,
    LOAD,
    NO_INPUT,
    NO_RESULT,
    RATE,
    READ,
    RESET,
    RUN,
    SEED,
    STATE,
    TRAIN,
    TRUNCATED,
    VALUE,
    WEIGHTS,
    WRITE,
    frame,
    number,
    refusal,
)
from tests.learning import learning_network

LEARNED = 0xFFFF
"""Samples that the masters have learned at power-up."""

_rng = np.random.default_rng(11)
SAMPLES = _rng.integers(0, 16, (13, 9)).astype(np.uint8), _rng.integers(0, 3, 13)
"""On the chip."""


class Pins:
    """A small learning board at its pins, and the golden model beside it."""

    def __init__(self, line: BoardSimulation, plan: BoardPlan, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.line, self.plan = line, plan
        self.stage = learning_stage(plan.core)
        self.facts = self.stage.port_facts()
        self.learner = Learner(deepcopy(self.stage.masters))
        self.layout = map_layout(plan.core.network.spec, "input", plan.core.lanes)

    @property
    def count(self) -> int:
        return self.learner.masters.learned

    def image(self) -> np.ndarray:
        return self.rng.integers(0, 16, 9)

    def packed(self, pixels: np.ndarray) -> bytes:
        """Four bits a pixel, the first in the low bits."""
        words = self.layout.pack(pixels[None]).reshape(-1)
        return bytes(int(a) | int(b) << 4 for a, b in zip(words[::2], words[1::2], strict=True))

    def row_bytes(self, row: np.ndarray) -> bytes:
        bits = self.facts.master_bits
        value = sum((int(master) % (1 << bits)) << bits * n for n, master in enumerate(row))
        return number(value, self.facts.row_bytes)

    def rows(self) -> list[bytes]:
        packed = self.stage.rows.pack(self.learner.masters.arrays)
        return [self.row_bytes(row) for row in packed]

    def exchange(self, sent: bytes, size: int) -> bytes:
        """Send bytes; the answer's first `size` bytes."""
        self.line.write(sent)
        return self.line.read(size, 0.02)

    def ask(self, kind: int, payload: bytes, expected: bytes) -> None:
        """A right frame must be answered with this payload."""
        sequence = int(self.rng.integers(256))
        wanted = frame(kind | 0x80, expected, sequence)
        answer = self.exchange(frame(kind, payload, sequence), len(wanted))
        assert answer.hex(" ") == wanted.hex(" ")

    def refuse(self, sent: bytes, code: int) -> None:
        """What is sent must be refused."""
        wanted = refusal(code, sent[3], sent[2])
        assert self.exchange(sent, len(wanted)).hex(" ") == wanted.hex(" ")

    def result(self, kind: int, payload: bytes, sample, learned: int, tag: bytes) -> bytes:
        """The answer to LEARN or READ, all but its counters checked; its payload."""
        size = 16 + 4 * len(sample.logits) + 8
        answer = self.exchange(frame(kind, payload, 9), size + 10)
        body = answer[6:-4]
        assert frame(kind | 0x80, body, 9) == answer
        assert len(body) == size
        tail = b"".join(number(int(v)) for v in sample.logits)
        assert body[16:] == tail + number(learned) + number(self.count)
        assert body[:8] == tag + number(sample.label)
        return body

    def learn(self, label: int | None = None, enabled: bool = True) -> bool:
        """A picture of its own."""
        pixels = self.image()
        label = int(self.rng.integers(3)) if label is None else label
        payload = self.packed(pixels) + number(label, 2) + number(self.count)
        tag = frame(LEARN, payload, 9)[-4:]
        sample = self.learner.learn(pixels, label) if enabled else self.learner.infer(pixels)
        body = self.result(LEARN, payload, sample, int(sample.learned), tag)
        assert self.result(READ, b"", sample, int(sample.learned), tag) == body
        return sample.learned

    def infer(self) -> None:
        pixels = self.image()
        write = frame(WRITE, self.packed(pixels), 8)
        assert self.exchange(write, 10) == frame(0x82, b"", 8)
        self.ask(RUN, b"", b"")
        self.result(READ, b"", self.learner.infer(pixels), 0, write[-4:])

    def state(self, enabled: bool = True) -> bytes:
        f, learner = self.facts, self.learner
        said = number(self.count) + number(learner.masters.random) + number(f.rows, 2)
        said += number(f.row_bytes, 2) + bytes([f.master_bits, 6, len(f.rates)])
        said += number(f.lowest, 1) + number(f.highest, 1) + number(len(SAMPLES[1]), 2)
        said += number(learner.margin)
        return said + bytes([enabled]) + b"".join(number(k, 1) for k in learner.rates)

    def check_rows(self, *some: int) -> None:
        rows = self.rows()
        for n in some or range(len(rows)):
            self.ask(WEIGHTS, number(n, 2), rows[n])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory):
    """A board that is compiled once: (plan, how to start it)."""
    network = learning_network(np.random.default_rng(4), groups=(4,), feedback=True, margin=60)
    masters = Masters.of(network)
    masters.learned = LEARNED
    plan = plan_learning_board(find_board("ulx3s_85f"), masters, lanes=4, megahertz=4)
    folder = tmp_path_factory.mktemp("learning-board")
    return plan, lambda: simulate_board(plan, folder, stored=SAMPLES)


@pytest.fixture
def pins(built, request: pytest.FixtureRequest) -> Iterator[Pins]:
    plan, start = built
    with start() as line:
        Board(LinkBackend(line, baud=line.baud, timeout=0.05), lambda: line.time).wait_ready()
        yield Pins(line, plan, seed=len(request.node.name))


def shots(first: int, count: int, passes: int) -> bytes:
    """Of a TRAIN, what is to be played."""
    return number(first, 2) + number(count, 2) + number(passes, 2)


def facts(result):
    return result.label, result.logits.tolist(), result.counters, result.learned, result.count


def test_a_board_is_taught_by_the_host_library(built) -> None:
    """Counters too."""
    plan, start = built
    rng = np.random.default_rng(4)
    images, labels = rng.integers(0, 16, (6, 9)), rng.integers(0, 3, 6)
    golden = Board(LearningGolden(plan.core, SAMPLES))
    with start() as line:
        taught = Board(LinkBackend(line, baud=line.baud, timeout=0.05), lambda: line.time)
        identity = taught.wait_ready()
        assert (identity.learns, identity.changed) == (True, False)
        for result, expected in zip(
            taught.learn(images, labels), golden.learn(images, labels), strict=True
        ):
            assert facts(result) == facts(expected)
        assert facts(taught.infer(images[0])) == facts(golden.infer(images[0]))
        assert taught.identify().changed
        state, wanted = taught.masters(), golden.masters()
        assert (state.rows == wanted.rows).all()
        assert (state.random, state.count) == (wanted.random, wanted.count)
        assert taught.learning() == golden.learning()


def test_learned_samples_and_every_master(pins: Pins) -> None:
    """LEARN, READ, RUN, STATE; the count from its start on."""
    pins.ask(STATE, b"", pins.state())
    learned = [pins.learn() for _ in range(12)]
    assert any(learned)
    assert not all(learned)
    assert pins.count == LEARNED + sum(learned)
    pins.infer()
    pins.check_rows()
    pins.ask(STATE, b"", pins.state())


def test_refused_and_damaged_frames_change_nothing(pins: Pins) -> None:
    """COUNT, VALUE, CRC, TRUNCATED, an unknown command; the image of a LEARN is forgotten."""
    some = random.Random(1)
    f, now = pins.facts, number(LEARNED)
    image = pins.packed(pins.image())
    good = frame(LEARN, image + number(1, 2) + now, 1)
    row = some.randbytes(f.row_bytes)
    rates = bytes(f.lowest % 256 for _ in f.rates)
    beneath = [pins.row_bytes(np.roll([-497 - 5 * n, 511, 0, -496], n)) for n in range(4)]
    for sent, code in (
        *((frame(LOAD, number(0, 2) + masters, 4), VALUE) for masters in beneath),
        (frame(LEARN, image + number(1, 2) + number(LEARNED + 1), 2), COUNT),
        (frame(LEARN, image + number(1, 2) + number(LEARNED | 1 << 24), 2), COUNT),
        (frame(LEARN, image + number(3, 2) + now, 3), VALUE),
        (frame(LEARN, image + number(256, 2) + number(7), 3), VALUE),
        (frame(WEIGHTS, number(f.rows, 2), 4), VALUE),
        (frame(LOAD, number(f.rows, 2) + row, 4), VALUE),
        (frame(LOAD, number(256, 2) + row, 4), VALUE),
        (frame(SEED, number(0) + number(5), 4), VALUE),
        (frame(RATE, b"\x02" + number(1) + rates, 4), VALUE),
        (frame(RATE, b"\x01" + number(1 << 31) + rates, 4), VALUE),
        (frame(RATE, b"\x01" + number(1) + rates[1:] + number(f.lowest - 1, 1), 4), VALUE),
        (frame(RATE, b"\x01" + number(1) + number(f.highest + 1, 1) + rates[1:], 4), VALUE),
        (frame(TRAIN, shots(0, 13, 0) + now, 5), VALUE),
        (frame(TRAIN, shots(0, 0, 1) + now, 5), VALUE),
        (frame(TRAIN, shots(1, 13, 1) + now, 5), VALUE),
        (frame(TRAIN, shots(65535, 13, 1) + now, 5), VALUE),
        (frame(TRAIN, shots(0, 13, 1) + number(LEARNED - 1), 5), COUNT),
        (frame(14, b"", 4)[:6], COMMAND),
    ):
        pins.refuse(sent, code)
    for sent in (
        good,
        frame(LOAD, number(0, 2) + row, 4),
        frame(SEED, number(7) + number(5), 4),
        frame(TRAIN, shots(0, 13, 1) + now, 4),
        frame(RATE, b"\x00" + number(1) + rates, 4),
    ):
        harmed = bytearray(sent)
        harmed[some.randrange(6, len(sent))] ^= 1 << some.randrange(8)
        pins.refuse(bytes(harmed), CRC)
        pins.refuse(sent[:-1], TRUNCATED)
    pins.refuse(frame(READ, b"", 4), NO_RESULT)
    pins.ask(STATE, b"", pins.state())
    pins.check_rows()
    pins.learn()


def test_settings_and_masters_that_are_set(pins: Pins) -> None:
    """RATE, learning off and on; LOAD and SEED put another state on; RESET leaves it."""
    f, learner = pins.facts, pins.learner
    pins.learn()
    for enabled in (False, True):
        learner.margin = 900 if enabled else 77
        learner.rates = [f.highest - 3, f.lowest + 1, f.highest]
        rates = b"".join(number(k, 1) for k in learner.rates)
        pins.ask(RATE, bytes([enabled]) + number(learner.margin) + rates, b"")
        pins.ask(STATE, b"", pins.state(enabled))
        for _ in range(4):
            pins.learn(enabled=enabled)
    masters = learner.masters
    for n in range(len(masters.arrays)):
        low, high = masters.limits(n)
        shape = masters.arrays[n].shape
        masters.arrays[n] = pins.rng.integers(low, high + 1, shape)
        masters.arrays[n][0, :2] = low, high
    masters.random, masters.learned = 0xDEADBEEF, 2**32 - 1
    for n, row in enumerate(pins.rows()):
        pins.ask(LOAD, number(n, 2) + row, b"")
    pins.ask(SEED, number(0xDEADBEEF) + number(2**32 - 1), b"")
    pins.ask(RESET, b"", b"")
    pins.ask(STATE, b"", pins.state())
    for _ in range(8):
        pins.learn()
    assert pins.count < 10  # it went round
    pins.check_rows()


def test_a_board_learns_from_the_images_on_its_chip(built) -> None:
    """Pass after pass: cycles, hits, and every master; between samples that are sent."""
    plan, start = built
    golden = Board(LearningGolden(plan.core, SAMPLES))
    with start() as line:
        board = Board(LinkBackend(line, baud=line.baud, timeout=0.05), lambda: line.time)
        board.wait_ready()
        assert board.learning().samples == 13
        images, labels = SAMPLES
        for both in (board, golden):
            both.rate(margin=100)
        learned = 0
        for first, count, passes in ((0, 13, 3), (12, 1, 1), (3, 4, 2)):
            came = board.train(passes, first=first, count=count)
            assert came == golden.train(passes, first=first, count=count)
            learned += sum(each.learned for each in came)
            assert facts(board.learn(images[:1], labels[:1])[0]) == facts(
                golden.learn(images[:1], labels[:1])[0]
            )
        assert 0 < learned < 48
        for both in (board, golden):
            both.rate(enabled=False)
        (looked,), (wanted,) = board.train(), golden.train()
        assert looked == wanted
        assert looked.learned == 0
        state, expected = board.masters(), golden.masters()
        assert (state.rows == expected.rows).all()
        assert (state.random, state.count) == (expected.random, expected.count)


def test_training_forgets_image_and_result(pins: Pins) -> None:
    """Of a WRITE before it nothing is left in the core; in one command, several passes."""
    images, labels = SAMPLES
    pins.exchange(frame(WRITE, pins.packed(pins.image()), 1), 10)
    hits = 0
    for n in [*range(2, 9)] * 2:
        sample = pins.learner.learn(images[n], int(labels[n]))
        hits += int(sample.label == labels[n])
    answer = pins.exchange(frame(TRAIN, shots(2, 7, 2) + number(LEARNED), 1), 26)
    assert answer[14:22] == number(pins.count) + number(hits)
    pins.refuse(frame(RUN, b"", 2), NO_INPUT)
    pins.refuse(frame(READ, b"", 2), NO_RESULT)
    pins.infer()
    pins.check_rows()


def test_a_campaign_waits_for_its_longest_training(built) -> None:
    """Longer than for any image: the model takes the step that the board takes."""
    plan, start = built
    images = np.random.default_rng(5).integers(0, 16, (3, 9)).astype(np.uint8)
    with start() as line:
        trials = Trials(line, plan, images, 1, SAMPLES)
        lessons = trials._lessons
        assert lessons is not None
        made = (lessons.frame(Command.TRAIN) for _ in range(200))
        most = next(sent for sent in made if sent[8:12] == number(5, 2) + number(2, 2))
        shot = Shot(steps=[most], frames=[most], least=1, most=1)
        assert trials._shoot("TRAIN", shot, patient=False) == "accepted"
        assert (trials.wrong, trials.unexpected) == ([], [])
        assert trials.board.learning() == lessons.golden.learning()
        assert lessons.golden.learning().count > LEARNED


def test_a_fault_campaign(built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of damage."""
    plan, start = built
    monkeypatch.setattr(
        "sw.verify.fault_campaign.simulate_board", lambda plan, folder, stored: start()
    )
    images = np.random.default_rng(5).integers(0, 16, (3, 9)).astype(np.uint8)
    frames = len(KINDS) + len(LESSON_KINDS)
    report = campaign(plan, images, tmp_path, frames, seed=7, samples=SAMPLES)
    assert report["details"] == []
    assert (report["wrong_answers"], report["hangs"], report["unexpected"]) == (0, 0, 0)
    assert report["frames"] == sum(report["recovered"]) == frames
    assert set(report["kinds"]) == {*KINDS, *LESSON_KINDS}
    assert report["errors"]["COUNT"]
    assert report["errors"]["VALUE"]
