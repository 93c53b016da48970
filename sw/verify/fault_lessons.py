"""What the fault campaign sends to a board that learns, and the golden model that keeps step with
it: a frame changes the model when the board has answered that it was carried out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import numpy as np
import numpy.typing as npt

from hw.contract.link import LEARNING, Command, ErrorCode
from sw.host.golden import LearningGolden
from sw.host.identity import Identity, pack_pixels
from sw.host.learning import learn_payload, pack_row, rate_payload, train_payload
from sw.host.protocol import encode
from sw.verify.faults import Maker, Shot

__all__ = ["LESSON_DAMAGES", "Lessons"]

MOST_IMAGES, MOST_PASSES = 5, 2
"""Of a TRAIN."""


class Lessons:
    """Sound frames of the commands that only a board that learns has.

    Parameters
    ----------
    golden
        The golden model of the board, which goes on with it.
    identity
        What it says of itself.
    images
        To learn from, (n, input_size).
    random
        What is sent.

    Attributes
    ----------
    commands
        Those that the board has.
    loaded
        A row of noise was loaded: board and model differ until all masters are loaded.
    """

    def __init__(
        self,
        golden: LearningGolden,
        identity: Identity,
        images: npt.NDArray[np.uint8],
        random: Random,
    ) -> None:
        self.golden, stored = golden, golden.learning().samples
        self.commands = tuple(
            command for command in sorted(LEARNING) if command != Command.TRAIN or stored
        )
        self.loaded = False
        self._identity, self._images, self._random = identity, images, random
        self._margin_bits = golden.facts.width("margin")
        self._does: dict[bytes, Callable[[], object]] = {}

    @staticmethod
    def longest(golden: LearningGolden) -> int:
        """Cycles of the longest TRAIN that is sent, by a golden model of its own."""
        now, top = golden.learning(), (1 << golden.facts.width("margin")) - 1
        if not now.samples:
            return 0
        golden.rate(True, top, now.rates)  # something is learned from every sample
        images = min(now.samples, MOST_IMAGES)
        places = range(now.samples - images + 1)
        return max(golden.train(first, images, MOST_PASSES).cycles for first in places)

    def frame(self, command: Command) -> bytes:
        """A sound frame, by the model's present state."""
        payload, action = self._MADE[command](self)
        frame = encode(self._random.randrange(256), command, payload)
        self._does[frame] = action
        return frame

    def carried_out(self, frame: bytes) -> None:
        """The board has answered this frame, and not with an error."""
        self._does.get(frame, lambda: None)()

    def sample(self) -> tuple[npt.NDArray[np.uint8], int]:
        """An image and a label."""
        r = self._random
        image = self._images[r.randrange(len(self._images))]
        return image, r.randrange(self._identity.classes)

    def _learn(self) -> tuple[bytes, Callable[[], object]]:
        image, label = self.sample()
        payload = pack_pixels(image, self._identity)
        count = self.golden.learning().count
        return learn_payload(payload, label, count), lambda: self.golden.learn(image, label)

    def _rate(self) -> tuple[bytes, Callable[[], object]]:
        r, now = self._random, self.golden.learning()
        enabled, margin = r.random() < 0.9, r.randrange(1 << self._margin_bits)
        rates = tuple(r.randint(now.lowest, now.highest) for _ in now.rates)
        return (
            rate_payload(enabled, margin, rates),
            lambda: self.golden.rate(enabled, margin, rates),
        )

    def _weights(self) -> tuple[bytes, Callable[[], object]]:
        rows = self.golden.learning().rows
        return self._random.randrange(rows).to_bytes(2, "little"), lambda: None

    def _load(self) -> tuple[bytes, Callable[[], object]]:
        r, now = self._random, self.golden.learning()
        low, high = now.master_limits
        row = np.array([r.randint(low, high) for _ in range(self._identity.lanes)])
        return r.randrange(now.rows).to_bytes(2, "little") + pack_row(row, now), self._loaded

    def _loaded(self) -> None:
        # Masters that are there twice would differ, which the model cannot have.
        self.loaded = True

    def _seed(self) -> tuple[bytes, Callable[[], object]]:
        r = self._random
        random, count = r.randrange(1, 1 << 32), r.randrange(1 << 32)

        def action() -> None:
            now = self.golden.masters(lambda done, total: None)
            self.golden.load_masters(
                replace(now, random=random, count=count), lambda done, total: None
            )

        return random.to_bytes(4, "little") + count.to_bytes(4, "little"), action

    def _train(self) -> tuple[bytes, Callable[[], object]]:
        r, now = self._random, self.golden.learning()
        first = r.randrange(now.samples)
        images = r.randint(1, min(now.samples - first, MOST_IMAGES))
        passes = r.randint(1, MOST_PASSES)
        return (
            train_payload(first, images, passes, now.count),
            lambda: self.golden.train(first, images, passes),
        )

    def _state(self) -> tuple[bytes, Callable[[], object]]:
        return b"", lambda: None

    _MADE = {
        Command.LEARN: _learn,
        Command.RATE: _rate,
        Command.WEIGHTS: _weights,
        Command.LOAD: _load,
        Command.SEED: _seed,
        Command.TRAIN: _train,
        Command.STATE: _state,
    }

    # What the board must refuse, though nothing is damaged.

    def changed(self, command: Command, place: int, value: int, size: int) -> bytes:
        """A frame with another number at a place of its payload (from the end, if negative)."""
        frame = self.frame(command)
        payload = bytearray(frame[6:-4])
        place %= len(payload)
        payload[place : place + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
        return encode(self._random.randrange(256), command, bytes(payload))

    def other_count(self) -> bytes:
        """LEARN or TRAIN, by another count of learned samples than the board's."""
        r, count = self._random, self.golden.learning().count
        other = count + r.choice((-1, 1, 256, 1 << 24, r.randrange(1, 1 << 32)))
        taught = [c for c in (Command.LEARN, Command.TRAIN) if c in self.commands]
        return self.changed(r.choice(taught), -4, other, 4)

    def no_class(self) -> bytes:
        """LEARN with a label that is none."""
        classes = self._identity.classes
        label = self._random.choice((classes, 255, 256, 65535, 256 * classes))
        return self.changed(Command.LEARN, -6, label, 2)

    def no_row(self) -> bytes:
        """A row behind the last."""
        rows = self.golden.learning().rows
        row = self._random.choice((rows, rows + 1, 65535, (rows | 255) + 1))
        return self.changed(self._random.choice((Command.WEIGHTS, Command.LOAD)), 0, row, 2)

    def no_master(self) -> bytes:
        """LOAD with a master below the limits."""
        r, now = self._random, self.golden.learning()
        low, high = now.master_limits
        row = np.array([r.randint(low, high) for _ in range(self._identity.lanes)])
        row[r.randrange(len(row))] = r.randrange(-1 << now.master_bits - 1, low)
        payload = r.randrange(now.rows).to_bytes(2, "little") + pack_row(row, now)
        return encode(r.randrange(256), Command.LOAD, payload)

    def no_random_word(self) -> bytes:
        """SEED with 0."""
        return self.changed(Command.SEED, 0, 0, 4)

    def no_setting(self) -> bytes:
        """RATE with a switch, a margin or a rate that the hardware does not have."""
        r, now = self._random, self.golden.learning()
        rate = r.randrange(len(now.rates))
        place, value, size = r.choice(
            (
                (0, r.randint(2, 255), 1),
                (1, r.randrange(1 << self._margin_bits, 1 << 32), 4),
                (5 + rate, now.lowest - 1, 1),
                (5 + rate, now.highest + 1, 1),
            )
        )
        return self.changed(Command.RATE, place, value, size)


def _lessons(maker: Maker) -> Lessons:
    assert isinstance(maker.lessons, Lessons)
    return maker.lessons


def _refused(made: Callable[[Lessons], bytes], code: ErrorCode) -> Callable[[Maker], Shot]:
    return lambda m: Shot(steps=[made(_lessons(m))], codes=frozenset({code}))


def _interrupted(m: Maker) -> Shot:
    """A LEARN that ends somewhere behind its header, and another at once."""
    frame = m.frame(Command.LEARN)
    cut = m.random.randrange(6, len(frame) - 4)
    codes = frozenset({ErrorCode.CRC})
    return Shot(steps=[frame[:cut] + m.frame(Command.LEARN)], codes=codes)


def _replaced(m: Maker) -> Shot:
    """An image that waits for its RUN, and a LEARN in its place; no RUN is left for it."""
    frames = [m.frame(Command.WRITE), m.frame(Command.LEARN)]
    run = m.frame(Command.RUN)
    codes = frozenset({ErrorCode.NO_INPUT})
    return Shot(steps=[*frames, run], frames=frames, least=2, most=2, codes=codes)


def _flipped(m: Maker, *commands: Command) -> Shot:
    """A bit of a payload."""
    frame = m.frame(m.random.choice(_only(m, commands)))
    return Shot(steps=[m.flipped(frame, 6, -4)], codes=frozenset({ErrorCode.CRC}))


def _only(m: Maker, commands: Sequence[Command]) -> list[Command]:
    return [command for command in commands if command in _lessons(m).commands]


LESSON_DAMAGES: dict[str, Callable[[Maker], Shot]] = {
    "bit of LEARN or TRAIN": lambda m: _flipped(m, Command.LEARN, Command.TRAIN),
    "bit of LOAD": lambda m: _flipped(m, Command.LOAD),
    "bit of RATE or SEED": lambda m: _flipped(m, Command.RATE, Command.SEED),
    "another count": _refused(Lessons.other_count, ErrorCode.COUNT),
    "no class": _refused(Lessons.no_class, ErrorCode.VALUE),
    "no row": _refused(Lessons.no_row, ErrorCode.VALUE),
    "no master": _refused(Lessons.no_master, ErrorCode.VALUE),
    "no random word": _refused(Lessons.no_random_word, ErrorCode.VALUE),
    "no setting": _refused(Lessons.no_setting, ErrorCode.VALUE),
    "LEARN interrupted": _interrupted,
    "LEARN after WRITE": _replaced,
}
"""Only for a board that learns."""
