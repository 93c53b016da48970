"""A board that learns, over a line that damages what goes over it: no sample twice, none half, no
answer of another state."""

from random import Random

import numpy as np
import pytest

from hw.contract.checks import InputError
from hw.learn.masters import Masters, MastersError
from sim.golden.learning import Learner
from sw.host.board import Board, open_board
from sw.host.errors import (
    CannotLearn,
    DamagedReply,
    DeviceError,
    HostError,
    LinkTimeout,
    ProtocolMismatch,
)
from sw.host.golden import LearningGolden
from sw.host.learning import MasterState, parse_state
from tests.sw.host.device_twin import DeviceTwin, TwinLine
from tests.sw.host.hosting import PLAN, link
from tests.sw.host.learning_twin import LearningTwin


def flip(bit):
    return lambda data: (
        data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]
    )


class Bench:
    """A board, its line and twin, and the golden learner beside it."""

    def __init__(self, retries=0, backend=None):
        self.twin = LearningTwin()
        self.line = TwinLine(self.twin)
        self.board = Board(backend(self.twin.plan) if backend else link(self.line, retries))
        masters = self.twin.masters
        self.learner = Learner(
            Masters(network=masters.network, arrays=list(masters.arrays), random=masters.random)
        )
        rng = np.random.default_rng(4)
        self.images, self.labels = rng.integers(0, 16, (40, 9)), rng.integers(0, 3, 40)

    def expect(self, n, learn=True):
        image, label = self.images[n], int(self.labels[n])
        sample = self.learner.learn(image, label) if learn else self.learner.infer(image)
        masters = self.learner.masters
        return sample.label, sample.logits.tolist(), sample.learned and learn, masters.learned

    def learn(self, n):
        (result,) = self.board.learn(self.images[n : n + 1], self.labels[n : n + 1])
        return told(result)

    def check_masters(self):
        state, masters = self.board.masters(), self.learner.masters
        rows = self.twin.golden._stage.rows.pack(masters.arrays)
        assert (state.rows == rows).all()
        assert (state.random, state.count) == (masters.random, masters.learned)


def told(result):
    return result.label, result.logits.tolist(), result.learned, result.count


@pytest.mark.parametrize("backend", [None, LearningGolden])
def test_what_a_board_learns(backend):
    bench = Bench(backend=backend)
    board, learner = bench.board, bench.learner
    assert (board.identify().learns, board.identify().changed) == (True, False)
    seen = []
    results = board.learn(bench.images[:10], bench.labels[:10], lambda *of: seen.append(of))
    assert [told(result) for result in results] == [bench.expect(n) for n in range(10)]
    assert seen == [(n + 1, 10) for n in range(10)]
    assert board.counters() == results[-1].counters
    assert board.identify().changed
    assert told(board.infer(bench.images[11])) == bench.expect(11, learn=False)
    state = board.rate(enabled=False, margin=77, rates=[3, 5])
    assert (state.enabled, state.margin, state.rates) == (False, 77, (3, 5))
    assert bench.learn(12) == bench.expect(12, learn=False)
    assert board.rate(enabled=True).margin == 77
    learner.margin, learner.rates = 77, [3, 5]
    assert bench.learn(13) == bench.expect(13)
    bench.check_masters()
    saved = board.masters()
    board.learn(bench.images[:5], bench.labels[:5])
    board.load_masters(saved)
    assert bench.learn(14) == bench.expect(14)
    bench.check_masters()
    board.reset()
    assert board.learning().count == learner.masters.learned


def test_what_is_refused():
    bench = Bench()
    board, images = bench.board, bench.images
    for labels in ([3], [-1], [0, 1], [0.5], 1):
        with pytest.raises(InputError, match="Labels must"):
            board.learn(images[:1], labels)
    with pytest.raises(InputError, match="Images must have shape"):
        board.learn(images[:1, :5], [1])
    for rates in ([1], [1, 2, 3], [1, 99]):
        with pytest.raises(InputError, match="Rates must be 2 in"):
            board.rate(rates=rates)
    with pytest.raises(InputError, match="Margin must"):
        board.rate(margin=-1)
    with pytest.raises(DeviceError, match="a number in the request is out of its range"):
        board.rate(margin=2**20)
    state = board.masters()
    for rows, random, count, sentence in (
        (state.rows[1:], 1, 0, "Rows of masters must be"),
        (state.rows, 0, 0, "Random word and count"),
        (state.rows, 1, 2**32, "Random word and count"),
    ):
        with pytest.raises(InputError, match=sentence):
            board.load_masters(MasterState(rows=rows, random=random, count=count))
    bench.check_masters()
    assert bench.twin.updates == 0
    plain = Board(link(TwinLine(DeviceTwin(PLAN))))
    assert not plain.identify().learns
    with pytest.raises(CannotLearn, match="does not learn"):
        plain.learn(images, bench.labels)


@pytest.mark.parametrize(
    ("place", "value", "what"),
    [
        (4, 0, "random word"),
        (8, 0, "rows of masters"),
        (10, 6, "rows of masters"),
        (12, 11, "rows of masters"),
        (13, 1, "width of masters"),
        (13, 11, "width of masters"),
        (14, 3, "learned edges"),
        (15, 3, "rates"),
        (24, 9, "rates"),
        (23, 2, "switch"),
    ],
)
def test_a_state_that_cannot_be_is_refused(place, value, what):
    said = bytearray.fromhex("05000000 07000000 0300 0500 0a 06 02 ff 08 0000 3c000000 01 02 08")
    state = parse_state(bytes(said), lanes=4)
    assert (state.master_bits, state.weight_bits, state.rates) == (10, 6, (2, 8))
    assert (state.lowest, state.highest, state.master_limits) == (-1, 8, (-496, 511))
    said[place] = value
    with pytest.raises(ProtocolMismatch, match=f"of its learning what cannot be: {what}"):
        parse_state(bytes(said), lanes=4)


@pytest.mark.parametrize("backend", [None, LearningGolden])
@pytest.mark.parametrize("value", [-512, -497, 512])
def test_masters_outside_their_limits_are_not_sent(backend, value):
    """The host says it, of a board as of the golden model: not one row is loaded."""
    bench = Bench(backend=backend)
    state = bench.board.masters()
    assert state.rows.min() >= -496
    rows = state.rows.copy()
    rows[3, 2] = value
    with pytest.raises(InputError) as caught:
        bench.board.load_masters(MasterState(rows=rows, random=7, count=8))
    assert str(caught.value) == (
        f"Masters must lie in -496..511, not be {value} as in row 3, lane 2"
    )
    assert bench.twin.updates == 0
    bench.check_masters()
    rows[3, 2] = max(-496, min(value, 511))
    if backend is None:  # a row alone: its master is there twice
        bench.board.load_masters(MasterState(rows=rows, random=7, count=8))
        assert (bench.board.masters().rows == rows).all()


def test_rows_that_are_no_masters_are_refused_by_the_golden_model():
    """Two copies that differ, something where there is no master: a board would compute with it."""
    bench = Bench(backend=LearningGolden)
    state, index = bench.board.masters(), bench.twin.golden._stage.rows.index
    lone, (first, again) = np.argwhere(index < 0)[0], copies(index)
    for (n, lane), sentence in (
        (lone, f"must have 0 in lane {lone[1]}, where there is no master, not 9"),
        (
            again,
            f"must have {state.rows[tuple(first)]} in lane {again[1]}, as the same master has in "
            f"row {first[0]}, lane {first[1]}, not 9",
        ),
    ):
        rows = state.rows.copy()
        rows[n, lane] = 9
        with pytest.raises(MastersError) as caught:
            bench.board.load_masters(MasterState(rows=rows, random=7, count=8))
        assert str(caught.value) == f"Row {n} of masters {sentence}"
    bench.check_masters()


def copies(index):
    """Places of the first master that is there twice."""
    numbers, counts = np.unique(index[index >= 0], return_counts=True)
    return np.argwhere(index == numbers[counts == 2][0])


def test_every_bit_of_a_request_and_of_its_answer():
    """Nothing is learned, or the sample is, whole: STATE says which."""
    bench = Bench()
    learned = 0
    assert bench.learn(0) == bench.expect(0)
    size = {"request": 8 * 22, "answer": 8 * 46}
    for where in size:
        for bit in range(0, size[where], 3):
            n = bit % 40
            before = bench.board.learning().count
            updates = bench.twin.updates
            setattr(bench.line, f"damage_{where}", flip(bit))
            with pytest.raises((DamagedReply, DeviceError, LinkTimeout)):
                bench.learn(n)
            setattr(bench.line, f"damage_{where}", bytes)
            more = bench.board.learning().count - before
            assert more == bench.twin.updates - updates
            if where == "answer":
                assert more == bench.expect(n)[2]
                learned += more
            else:
                assert more == 0
    assert learned > 10
    bench.check_masters()


@pytest.mark.parametrize("where", ["request", "answer"])
def test_a_lost_sample_is_learned_once(where):
    """With retries: whatever was lost, each sample counts once, and its result is its own."""
    bench = Bench(retries=4)
    bench.board.learning()
    random, damaged = Random(1), 0

    def damage(data):
        nonlocal damaged
        if random.random() < 0.2:
            damaged += 1
            return random.choice([flip(random.randrange(8 * len(data))), lambda data: b""])(data)
        return data

    setattr(bench.line, f"damage_{where}", damage)
    for n in range(40):
        assert bench.learn(n) == bench.expect(n)
        if n % 4 == 0:
            assert told(bench.board.infer(bench.images[n])) == bench.expect(n, learn=False)
    assert damaged > 10
    setattr(bench.line, f"damage_{where}", bytes)
    bench.check_masters()


def test_a_damaged_load_changes_no_row():
    bench = Bench()
    state = bench.board.masters()
    other = MasterState(rows=-state.rows.clip(-496, 496), random=5, count=6)
    for bit in range(8 * 17):
        bench.line.damage_request = lambda data, bit=bit: flip(bit)(data) if data[3] == 10 else data
        with pytest.raises(HostError):
            bench.board.load_masters(other)
        assert bench.twin.updates == 0
    bench.line.damage_request = bytes
    bench.check_masters()


def test_a_result_of_another_state_is_not_taken():
    bench = Bench()
    bench.board.learning()
    other = Board(link(bench.line))
    while not other.learn(bench.images[:1], bench.labels[:1])[0].learned:
        pass
    with pytest.raises(DamagedReply, match="another state of learning"):
        bench.board.infer(bench.images[0])
    with pytest.raises(DeviceError, match="another number of samples"):
        bench.learn(0)
    bench.board.learning()
    bench.board.infer(bench.images[0])


def test_masters_that_change_while_they_are_read():
    bench = Bench()
    other = Board(link(bench.line))

    def progress(done, total):
        if done == 3:
            other.learn(bench.images, bench.labels)

    with pytest.raises(DamagedReply, match="were changed while they were read"):
        bench.board.masters(progress)


def test_broken_off_by_hand():
    """Ctrl-C while the board answers LEARN: the sample was learned, and the next call is right."""
    bench = Bench()
    for n in range(6):

        def interrupt(data):
            if data[3] == 0x87:
                raise KeyboardInterrupt
            return data

        bench.line.damage_answer = interrupt
        with pytest.raises(KeyboardInterrupt):
            bench.learn(n)
        bench.line.damage_answer = bytes
        bench.expect(n)
        assert bench.learn(n) == bench.expect(n)
    bench.check_masters()


def test_the_golden_address(tmp_path):
    """A network file, and the masters beside it."""
    bench = Bench()
    path = tmp_path / "net.npz"
    bench.learner.masters.working().save(path)
    with open_board(f"golden:{path}?lanes=4") as board:
        assert told(*board.learn(bench.images[:1], bench.labels[:1])) == bench.expect(0)
    bench.learner.masters.working().save(path)
    bench.learner.masters.save(tmp_path / "net.masters.npz")
    with open_board(f"golden:{path}?lanes=4") as board:
        assert told(*board.learn(bench.images[1:2], bench.labels[1:2])) == bench.expect(1)
    with pytest.raises(HostError, match="Banks of a network that learns"):
        open_board(f"golden:{path}?banks=2")
