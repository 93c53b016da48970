"""The host link in plain Python: frames, a parser of them, and a twin of the device.

`Parser` and `Twin` are `docs/link.md` once more, byte for byte: what they say, the gateware must
say. Nothing here is taken from the gateware.
"""

import random
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

__all__ = [
    "BROKEN",
    "COMMAND",
    "COUNT",
    "COUNTERS",
    "CRC",
    "IDENTIFY",
    "LEARN",
    "LENGTH",
    "LOAD",
    "NOT_READY",
    "NO_INPUT",
    "NO_RESULT",
    "RATE",
    "READ",
    "RESET",
    "RUN",
    "SEED",
    "SILENCE",
    "STATE",
    "TRAIN",
    "TRUNCATED",
    "VALUE",
    "VERSION",
    "WEIGHTS",
    "WRITE",
    "CoreModel",
    "Heard",
    "Parser",
    "Twin",
    "frame",
    "number",
    "refusal",
]

IDENTIFY, WRITE, RUN, READ, COUNTERS, RESET = range(1, 7)
LEARN, RATE, WEIGHTS, LOAD, SEED, TRAIN, STATE = range(7, 14)
CRC, LENGTH, COMMAND, VERSION, TRUNCATED, NO_INPUT, NO_RESULT, NOT_READY = range(1, 9)
COUNT, VALUE = 9, 10

BROKEN, SILENCE = -1, -2
"""Among bytes: one that comes without its stop bit; nothing for longer than the time-out."""


def number(value: int, size: int = 4) -> bytes:
    """Little-endian, two's complement."""
    return (value % (1 << 8 * size)).to_bytes(size, "little")


def frame(kind: int, payload: bytes = b"", sequence: int = 0, version: int = 1) -> bytes:
    """A right frame."""
    body = bytes([version, sequence, kind]) + number(len(payload), 2) + payload
    return b"\xa5" + body + number(zlib.crc32(body))


def refusal(code: int, kind: int, sequence: int = 0) -> bytes:
    """An error answer."""
    return frame(0xFF, bytes([code, kind]), sequence)


@dataclass
class Heard:
    """A frame that is over: `error` is 0 or a code."""

    error: int
    kind: int
    sequence: int
    payload: bytes = b""
    tag: bytes = b""


class Parser:
    """Finds frames in bytes, BROKEN and SILENCE.

    lengths: bytes of payload of each kind. opened: called with the kind of each right header.
    """

    def __init__(
        self, lengths: dict[int, int], opened: Callable[[int], None] = lambda kind: None
    ) -> None:
        self.lengths, self.opened = lengths, opened
        self.bytes = b""

    def hear(self, item: int) -> Heard | None:
        """What is over with this item."""
        if item < 0:
            return self._over(TRUNCATED) if self.bytes else None
        if self.bytes or item == 0xA5:
            self.bytes += bytes([item])
        if len(self.bytes) < 6:
            return None
        size, kind = int.from_bytes(self.bytes[4:6], "little"), self.bytes[3]
        if len(self.bytes) == 6:
            if self.bytes[1] != 1:
                return self._over(VERSION)
            if kind not in self.lengths:
                return self._over(COMMAND)
            if size != self.lengths[kind]:
                return self._over(LENGTH)
            self.opened(kind)
        if len(self.bytes) < 10 + size:
            return None
        right = zlib.crc32(self.bytes[1:-4]) == int.from_bytes(self.bytes[-4:], "little")
        return self._over(0 if right else CRC)

    def _over(self, error: int) -> Heard:
        heard = self.bytes + bytes(4)  # what has not come is 0
        self.bytes = b""
        if error:
            return Heard(error, heard[3], heard[2])
        return Heard(0, heard[3], heard[2], heard[6:-8], heard[-8:-4])


class Twin:
    """The device: what it answers to bytes, BROKEN and SILENCE.

    Parameters
    ----------
    identity
        Words 0 .. 15.
    core
        Says what the logits of an image are; its counters are taken over when they are asked for.
    """

    def __init__(self, identity: Sequence[int], core: "CoreModel", ready: bool = True) -> None:
        self.identity, self.core, self.ready, self.fault = list(identity), core, ready, False
        self.image: bytes | None = None
        self.result: bytes | None = None
        self.tag = b""
        self.accepted = False
        lengths = {kind: identity[15] if kind == WRITE else 0 for kind in range(1, 7)}
        self.parser = Parser(lengths, self._open)

    def hear(self, items: Iterable[int]) -> list[bytes]:
        """The answers."""
        return [self._answer(over) for over in map(self.parser.hear, items) if over is not None]

    def _open(self, kind: int) -> None:
        self.accepted = kind == WRITE and self.ready
        if self.accepted:
            self.image = self.result = None

    def _answer(self, heard: Heard) -> bytes:
        error = heard.error or self._refuse(heard.kind)
        if error:
            return refusal(error, heard.kind, heard.sequence)
        out = b""
        if heard.kind == IDENTIFY:
            status = self.ready << 16 | self.fault << 17
            words = [self.identity[0] | status, *self.identity[1:]]
            out = b"".join(number(word) for word in words)
        elif heard.kind == WRITE:
            self.image, self.tag = heard.payload, heard.tag
        elif heard.kind == RUN:
            self.result, self.image = self.image, None
        elif heard.kind == RESET:
            self.image = self.result = None
        else:
            out = self._result(heard.kind == READ)
        return frame(heard.kind | 0x80, out, heard.sequence)

    def _refuse(self, kind: int) -> int:
        if kind in (WRITE, RUN) and not self.ready:
            return NOT_READY
        if kind == WRITE and not self.accepted:
            return NOT_READY
        if kind == RUN and self.image is None:
            return NO_INPUT
        if kind in (READ, COUNTERS) and self.result is None:
            return NO_RESULT
        return 0

    def _result(self, with_logits: bool) -> bytes:
        assert self.result is not None
        logits = self.core.logits(self.result)
        words = [logits.index(max(logits)), self.core.cycles, self.core.events]
        words += logits if with_logits else []
        return self.tag + b"".join(number(word) for word in words)


@dataclass
class CoreModel:
    """Stands for a core: logits are any function of the image; how long it takes is drawn.

    word_bits, words, classes: shape. stall: longest wait before a word is taken, in cycles; the
    last word may wait longer. gap: longest pause before a logit. lanes: event bits.
    """

    word_bits: int
    words: int
    classes: int
    logit_bits: int
    lanes: int
    stall: int = 0
    gap: int = 0
    seed: int = 0
    taken: list[int] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    resets: int = 0
    cycles: int = 0
    events: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.forget()

    def forget(self) -> None:
        """As after a reset."""
        self.taken = []
        self.plan: list[tuple[int | None, int]] = []  # result and events of each cycle to come
        self.wait = self.rng.randint(0, self.stall)

    def logits(self, image: bytes) -> list[int]:
        """The reference: extremes are as likely as anything."""
        rng = random.Random(image)
        top = 2 ** (self.logit_bits - 1)
        values = [rng.choice([-top, top - 1, 0, rng.randrange(-top, top)])]
        values += [rng.randrange(-top, top) for _ in range(self.classes - 1)]
        return values if rng.random() < 0.7 else [values[0]] * self.classes

    def take(self, word: int) -> None:
        """A word of the image."""
        self.taken.append(word)
        self.wait = self.rng.randint(0, self.stall)
        if len(self.taken) == self.words:
            self.begin()
            self.taken = []

    def begin(self) -> None:
        """All words are there: draw when the logits come, and the events before them."""
        image = b"".join(number(word, self.word_bits // 8) for word in self.taken)
        self.images.append(image)
        logits = self.logits(image)
        best = 0
        results: list[int | None] = [None] * self.rng.randint(1, 30)
        for n, logit in enumerate(logits):
            best = n if logit > logits[best] else best
            results += [None] * self.rng.randint(0, self.gap)
            results.append(self.result(n, logit, best))
        full = 2**self.lanes - 1
        self.plan = [(r, self.rng.choice([0, full, self.rng.randint(0, full)])) for r in results]
        self.cycles = len(self.plan)
        self.events = sum(bits.bit_count() for _, bits in self.plan)

    def result(self, n: int, logit: int, best: int) -> int:
        """A payload of `result_layout`."""
        best_bits = max(1, (self.classes - 1).bit_length())
        low = logit % (1 << self.logit_bits)
        last = int(n == self.classes - 1)
        return low | best << self.logit_bits | last << (self.logit_bits + best_bits)
