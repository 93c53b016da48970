"""What can go wrong on the way to a board, seeded: damaged frames, damaged levels, frames out of
order. `sw.verify.fault_trials` sends it and judges what comes of it."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from hw.contract.link import LEARNING, SYNC, Command, ErrorCode
from sw.host.protocol import encode

__all__ = ["DAMAGES", "Frames", "Maker", "Shot", "resealed"]

Levels = list[tuple[int, float]]
"""(level, bit times), one after the other."""

PLAIN = tuple(command for command in Command if command not in LEARNING)

FIELDS = {
    "sync": (0, 1),
    "version": (1, 2),
    "sequence": (2, 3),
    "kind": (3, 4),
    "length": (4, 6),
    "payload": (6, -4),
    "CRC": (-4, None),
}
TOLD_BY = {
    "version": {ErrorCode.VERSION},
    "sequence": {ErrorCode.CRC},
    "length": {ErrorCode.LENGTH},
    "kind": {ErrorCode.CRC, ErrorCode.COMMAND, ErrorCode.LENGTH},
    "payload": {ErrorCode.CRC},
    "CRC": {ErrorCode.CRC},
}
"""The error that a flipped bit of each field must be answered with; a frame without its sync is
garbage, and what of it is taken for a frame depends on its payload."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """Something to send.

    Parameters
    ----------
    steps
        Bytes at line speed, or levels; between two of them is time for an answer.
    frames
        The sound frames therein: nothing else may be answered but with errors.
    least, most
        How many of those must, and may, be answered.
    codes
        If not empty, there must be an error answer, and the first must be one of these.
    """

    steps: Sequence[bytes | Levels]
    frames: Sequence[bytes] = ()
    least: int = 0
    most: int = 0
    codes: frozenset[ErrorCode] = frozenset()


def resealed(frame: bytes) -> bytes:
    """With the CRC that belongs to it."""
    return frame[:-4] + zlib.crc32(frame[1:-4]).to_bytes(4, "little")


def levels(data: bytes, bit: float = 1.0) -> Levels:
    """As the line has them, after some rest."""
    bits = [b for byte in data for b in (0, *(byte >> n & 1 for n in range(8)), 1)]
    return [(1, 3.0), *((level, bit) for level in bits)]


class Frames(Protocol):
    """Makes sound frames of some commands (`sw.verify.fault_lessons.Lessons`)."""

    commands: tuple[Command, ...]

    def frame(self, command: Command) -> bytes:
        """A frame."""
        ...


class Maker:
    """Makes shots, from a seed and the payloads of WRITE for some images; `lessons` makes frames
    for a board that learns."""

    def __init__(self, seed: int, payloads: Sequence[bytes]) -> None:
        self.random, self._payloads = Random(seed), payloads
        self.lessons: Frames | None = None

    @property
    def unknown(self) -> list[int]:
        """Kinds that are no command of the board."""
        there = {*PLAIN, *(() if self.lessons is None else self.lessons.commands)}
        return [kind for kind in range(256) if kind not in there]

    def frame(self, *commands: Command) -> bytes:
        """A sound frame of one of these commands; by default WRITE, and on a board that learns
        LEARN, is the most frequent."""
        r = self.random
        taught = () if self.lessons is None else (*self.lessons.commands, *[Command.LEARN] * 3)
        command = r.choice(commands or (*PLAIN, *[Command.WRITE] * 4, *taught))
        if self.lessons is not None and command in LEARNING:
            return self.lessons.frame(command)
        payload = r.choice(self._payloads) if command == Command.WRITE else b""
        return encode(r.randrange(256), command, payload)

    def some(self, most: int) -> bytes:
        """Garbage with at least one sync byte in it, and often the start of a frame."""
        r = self.random
        data = bytearray(r.randbytes(r.randint(1, most)))
        data[r.randrange(len(data))] = SYNC
        return bytes(data) + (self.frame()[: r.randint(2, 9)] if r.random() < 0.5 else b"")

    def flipped(
        self, frame: bytes, first: int = 0, end: int | None = None, *, flips: int = 1
    ) -> bytes:
        """With so many different bits flipped between two bytes."""
        data, places = bytearray(frame), range(len(frame))[first:end]
        for bit in self.random.sample(range(8 * len(places)), flips):
            data[places[bit // 8]] ^= 1 << bit % 8
        return bytes(data)

    def field(self, name: str) -> Shot:
        """One bit of a field."""
        frame = self.frame(*([Command.WRITE] if name == "payload" else []))
        codes = frozenset(TOLD_BY.get(name, ()))
        return Shot(steps=[self.flipped(frame, *FIELDS[name])], codes=codes)

    def several(self) -> Shot:
        frame = self.frame()
        return Shot(steps=[self.flipped(frame, flips=self.random.choice((2, 3, 5, 20)))])

    def length(self, change: Callable[[int], int]) -> Shot:
        """Another length, and as many bytes (256 at most); the CRC is right."""
        frame = self.frame()
        length = change(len(frame) - 10)
        body = frame[:4] + length.to_bytes(2, "little") + self.random.randbytes(min(length, 256))
        return Shot(steps=[resealed(body + bytes(4))], codes=frozenset({ErrorCode.LENGTH}))

    def changed(self, place: int, values: Sequence[int], code: ErrorCode) -> Shot:
        """Another byte in the header; the CRC is right."""
        data = bytearray(self.frame())
        data[place] = self.random.choice(values)
        return Shot(steps=[resealed(bytes(data))], codes=frozenset({code}))

    def cut(self) -> Shot:
        frame = self.frame()
        return Shot(steps=[frame[: self.random.randrange(1, len(frame))]])

    def garbage(self, before: int, between: int, after: int) -> Shot:
        """Garbage around one or two frames, or alone (all 0)."""
        r, frames = self.random, [self.frame() for _ in range(1 + (between > 0))]
        if not before | between | after:
            return Shot(steps=[self.some(60)])
        steps = [before * self.some(12) + frames[0] + after * self.some(12)]
        if between:
            steps += [self.some(12)] * r.randint(0, 1) + [self.some(12) + frames[1]]
        return Shot(steps=steps, frames=frames, most=len(frames))

    def doubled(self) -> Shot:
        frame = self.frame()
        at_once = self.random.random() < 0.5
        # Of two at once, the second comes while the first is answered, and is dropped.
        steps = [frame * 2] if at_once else [frame, frame]
        return Shot(steps=steps, frames=[frame], most=1 if at_once else 2)

    def lost(self) -> Shot:
        frame = self.frame()
        at = self.random.randrange(len(frame))
        return Shot(steps=[frame[:at] + frame[at + self.random.choice((1, 1, 2, 5)) :]])

    def inserted(self) -> Shot:
        frame = self.frame()
        at = self.random.randrange(1, len(frame))
        other = self.random.choice([n for n in range(256) if n != frame[at]])
        return Shot(steps=[frame[:at] + bytes([other]) + frame[at:]])

    def pulse(self, level: int) -> Shot:
        """A short pulse of this level in a rest, or in a bit, of the other one."""
        r, frame = self.random, self.frame()
        line = levels(frame)
        n = r.choice([n for n, (there, _) in enumerate(line) if there != level])
        there, duration = line[n]
        width = min(r.choice((0.02, 0.1, 0.3, 0.5, 0.7, 0.9)), 0.95 * duration)
        start = r.uniform(0.01, 0.99) * (duration - width)
        pulse = [(there, start), (level, width), (there, duration - start - width)]
        return Shot(steps=[line[:n] + pulse + line[n + 1 :]], frames=[frame], most=1)

    def stretched(self, low: float, high: float) -> Shot:
        """One bit of another duration."""
        line = levels(frame := self.frame())
        n = self.random.randrange(1, len(line))
        line[n] = (line[n][0], self.random.uniform(low, high))
        return Shot(steps=[line], frames=[frame], most=1)

    def without_stop(self) -> Shot:
        line = levels(frame := self.frame())
        n = self.random.randrange(len(frame))
        line[10 * (n + 1)] = (0, 1.0)
        return Shot(steps=[line], codes=frozenset({ErrorCode.TRUNCATED} if n else ()))

    def broken(self) -> Shot:
        """The line is low for some time, before or within a frame."""
        line = levels(frame := self.frame())
        n = 10 * self.random.randrange(len(frame)) + 1
        line[n:n] = [(0, self.random.uniform(11, 100)), (1, self.random.uniform(1, 4))]
        return Shot(steps=[line], frames=[frame], most=1)

    def baud(self, factor: float, least: int) -> Shot:
        frame = self.frame(Command.IDENTIFY, Command.WRITE, Command.RESET)
        return Shot(steps=[levels(frame, 1 / factor)], frames=[frame], least=least, most=1)

    def busy(self) -> Shot:
        """A frame while another is carried out or answered."""
        write, run, other = self.frame(Command.WRITE), self.frame(Command.RUN), self.frame()
        if self.random.random() < 0.5:
            run, write = self.frame(Command.IDENTIFY, Command.RESET), b""
        frames = [frame for frame in (write, run) if frame]
        steps = [write, run + other] if write else [run + other]
        return Shot(steps=steps, frames=frames, least=len(frames), most=len(frames))

    def no_input(self) -> Shot:
        return Shot(steps=[self.frame(Command.RUN)], codes=frozenset({ErrorCode.NO_INPUT}))

    def no_result(self) -> Shot:
        first = self.frame(Command.WRITE, Command.RESET)
        steps = [first, self.frame(Command.READ, Command.COUNTERS)]
        codes = frozenset({ErrorCode.NO_RESULT})
        return Shot(steps=steps, frames=[first], least=1, most=1, codes=codes)

    def written_again(self) -> Shot:
        frames = [self.frame(Command.WRITE) for _ in range(self.random.randint(1, 3))]
        return Shot(steps=frames, frames=frames, least=len(frames), most=len(frames))

    def interrupted(self) -> Shot:
        """A WRITE that ends in its payload, and another at once."""
        frame = self.frame(Command.WRITE)
        cut = self.random.randrange(6, len(frame) - 4)
        codes = frozenset({ErrorCode.CRC})
        return Shot(steps=[frame[:cut] + self.frame(Command.WRITE)], codes=codes)


DAMAGES: dict[str, Callable[[Maker], Shot]] = {
    **{f"bit of {name}": lambda m, name=name: m.field(name) for name in FIELDS},
    "several bits": Maker.several,
    "too short": lambda m: m.length(lambda n: m.random.randrange(n) if n else 1),
    "too long": lambda m: m.length(lambda n: n + m.random.choice((1, 2, 9, 100))),
    "oversize": lambda m: m.length(lambda n: m.random.choice((0x7FFF, 0x8000, 0xFFFF))),
    "unknown command": lambda m: m.changed(3, m.unknown, ErrorCode.COMMAND),
    "other version": lambda m: m.changed(1, [0, *range(2, 256)], ErrorCode.VERSION),
    "cut": Maker.cut,
    "garbage alone": lambda m: m.garbage(0, 0, 0),
    "garbage before": lambda m: m.garbage(1, 0, 0),
    "garbage between": lambda m: m.garbage(0, 1, 0),
    "garbage after": lambda m: m.garbage(0, 0, 1),
    "doubled": Maker.doubled,
    "bytes lost": Maker.lost,
    "byte inserted": Maker.inserted,
    "low pulse": lambda m: m.pulse(0),
    "high pulse": lambda m: m.pulse(1),
    "bit stretched": lambda m: m.stretched(1.2, 2.5),
    "bit shortened": lambda m: m.stretched(0.1, 0.8),
    "no stop bit": Maker.without_stop,
    "break": Maker.broken,
    "baud +1.5 %": lambda m: m.baud(1.015, 1),
    "baud -1.5 %": lambda m: m.baud(0.985, 1),
    "baud +6 %": lambda m: m.baud(1.06, 0),
    "baud -6 %": lambda m: m.baud(0.94, 0),
    "while busy": Maker.busy,
    "RUN without WRITE": Maker.no_input,
    "READ without RUN": Maker.no_result,
    "WRITE after WRITE": Maker.written_again,
    "WRITE interrupted": Maker.interrupted,
}
