"""Trials of the fault campaign: one shot, what the board says to it, and a whole exchange after it.

A trial sends one shot of `sw.verify.faults`, in every third waits until the board's own time-out is
over, and then has the host library run a real image: WRITE, RUN, READ. Logits, class, cycles and
events must be the golden model's. An exchange that raises is repeated, as a host would do.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from gen.board.planner import BoardPlan
from hw.contract.link import HEADER_BYTES, REFUSAL, TIMEOUT_BITS, Command, ErrorCode
from sim.board.simulation import BoardSimulation
from sw.host.board import Board
from sw.host.errors import DeviceError, HostError
from sw.host.golden import GoldenBackend
from sw.host.identity import pack_pixels
from sw.host.link import LinkBackend
from sw.host.protocol import Result
from sw.verify.faults import DAMAGES, Maker, Shot, resealed

__all__ = ["KINDS", "TRIES", "Trials"]


def _inserted(m: Maker, answer: bytes) -> bytes:
    at = m.random.randrange(len(answer))
    other = m.random.choice([n for n in range(256) if n != answer[at]])
    return answer[:at] + bytes([other]) + answer[at:]


def _lost(m: Maker, answer: bytes) -> bytes:
    at = m.random.randrange(len(answer))
    return answer[:at] + answer[at + 1 :]


ANSWERS = range(3)
"""Of an exchange: those to WRITE, RUN and READ."""

ANSWER_DAMAGES: dict[str, tuple[Sequence[int], Callable[[Maker, bytes], bytes]]] = {
    "answer: bit": (ANSWERS, Maker.flipped),
    "answer: several bits": (ANSWERS, lambda m, answer: m.flipped(answer, flips=5)),
    "answer: byte lost": (ANSWERS, _lost),
    "answer: byte inserted": (ANSWERS, _inserted),
    "answer: cut": (ANSWERS, lambda m, answer: answer[: m.random.randrange(len(answer))]),
    "answer: to another request": (ANSWERS, lambda m, a: resealed(m.flipped(a, 2, 3))),
    "answer: of another image": (ANSWERS[2:], lambda m, a: resealed(m.flipped(a, 6, 10))),
}
"""Name: (which answers of an exchange, what becomes of one). Whatever comes is not the answer."""

KINDS = (*DAMAGES, *ANSWER_DAMAGES)
TRIES = 3
"""Exchanges after a shot until the board counts as hung."""

QUIET_BITS, PATIENT_BITS = 200, TIMEOUT_BITS + 256


class NoisyLine:
    """A board's line as a transport, on which an answer can come to harm.

    `harm`, called with a whole answer, says what arrives of it; it is used once, on the answer to
    the request after `spare` others.
    """

    def __init__(self, line: BoardSimulation) -> None:
        self._line = line
        self.harm: Callable[[bytes], bytes] | None = None
        self.spare = 0
        self._arrived: bytes | None = None

    def write(self, data: bytes) -> None:
        self._line.write(data)
        self.spare -= 1

    def read(self, count: int, timeout: float) -> bytes:
        if self.harm is not None and self.spare < 0:
            harm, self.harm = self.harm, None
            header = self._line.read(HEADER_BYTES, timeout)
            rest = int.from_bytes(header[4:], "little") + 4
            self._arrived = harm(header + self._line.read(rest, timeout))
        if self._arrived is None:
            return self._line.read(count, timeout)
        data, self._arrived = self._arrived[:count], self._arrived[count:]
        return data + self._line.read(count - len(data), timeout)

    def discard(self) -> None:
        self._arrived = None
        self._line.discard()

    def close(self) -> None:
        self._line.close()


def answers(heard: bytes) -> tuple[list[tuple[int, int, bytes]], bytes]:
    """(sequence, kind, payload) of the sound frames in what a board sent, and the rest."""
    found = []
    while len(heard) >= HEADER_BYTES + 4:
        end = HEADER_BYTES + int.from_bytes(heard[4:6], "little") + 4
        sound = heard[0] == 0xA5 and end <= len(heard)
        check = zlib.crc32(heard[1 : end - 4]).to_bytes(4, "little")
        if not sound or check != heard[end - 4 : end]:
            break
        found.append((heard[2], heard[3], heard[HEADER_BYTES : end - 4]))
        heard = heard[end:]
    return found, heard


class Trials:
    """Trials on one board, and what came of them; `images` are of the network's input size."""

    def __init__(
        self, line: BoardSimulation, plan: BoardPlan, images: npt.NDArray[np.uint8], seed: int
    ) -> None:
        self._line, self._noisy, self._images = line, NoisyLine(line), images
        golden = GoldenBackend(plan.core)
        self._expected = [golden.infer(image) for image in images]
        longest = max(result.counters.cycles for result in self._expected) / plan.spec.clock_hz
        self._quiet = QUIET_BITS / line.baud + longest
        self._patience = PATIENT_BITS / line.baud
        timeout = 2 * TIMEOUT_BITS / line.baud + longest
        backend = LinkBackend(self._noisy, baud=line.baud, timeout=timeout)
        self.board = Board(backend, lambda: line.time)
        identity = self.board.wait_ready()
        self._maker = Maker(seed, [pack_pixels(image, identity) for image in images])
        self._last = self._expected[0]
        self.kinds = {kind: Counter[str]() for kind in KINDS}
        self.errors, self.raised = Counter[str](), Counter[str]()
        self.wrong: list[str] = []
        self.unexpected: list[str] = []
        self.hangs = 0

    def trial(self, kind: str) -> None:
        """One shot, and all that follows."""
        count, patient = self.kinds[kind], self._maker.random.random() < 1 / 3
        count["frames"] += 1
        if kind in ANSWER_DAMAGES:
            count[self._harm_answer(kind)] += 1
        else:
            shot = DAMAGES[kind](self._maker)
            count[self._shoot(kind, shot, patient)] += 1
            if patient:
                self._check_counters(kind, shot)
        for attempt in range(1, TRIES + 1):
            if self._exchange(kind):
                count[f"try {attempt}"] += 1
                if patient and attempt > 1 and kind in DAMAGES:
                    self.unexpected.append(f"{kind}: not ready again after the time-out")
                return
        self.hangs += 1

    def _exchange(self, kind: str) -> bool:
        """A whole exchange; whether there was an answer."""
        n = self._maker.random.randrange(len(self._images))
        try:
            result = self.board.infer(self._images[n])
        except HostError:
            return False
        self._last = expected = self._expected[n]
        if facts(result) != facts(expected):
            self.wrong.append(f"{kind}: {facts(result)} instead of {facts(expected)}")
        return True

    def _harm_answer(self, kind: str) -> str:
        """An exchange whose answer is damaged: it must raise."""
        which, harm = ANSWER_DAMAGES[kind]
        self._noisy.spare = self._maker.random.choice(which)
        self._noisy.harm = lambda answer: harm(self._maker, answer)
        try:
            self.board.infer(self._maker.random.choice(self._images))
        except HostError as error:
            self.raised[type(error).__name__] += 1
            return "raised"
        self.wrong.append(f"{kind}: taken for an answer")
        return "accepted"

    def _check_counters(self, kind: str, shot: Shot) -> None:
        """The result before a damaged frame is still there, or none: never another."""
        try:
            counters = self.board.counters()
        except DeviceError as error:
            if error.code != ErrorCode.NO_RESULT:
                self.unexpected.append(f"{kind}: {error}")
        except HostError:  # right, if a sound RUN in the shot left the result of another image
            if all(frame[3] != Command.RUN for frame in shot.frames):
                self.unexpected.append(f"{kind}: COUNTERS raises")
        else:
            if counters != self._last.counters:
                self.wrong.append(f"{kind}: {counters} instead of {self._last.counters}")

    def _shoot(self, kind: str, shot: Shot, patient: bool) -> str:
        """Send it, and judge what the board says."""
        self._line.discard()
        heard = b""
        for step in shot.steps:
            if isinstance(step, bytes):
                self._line.write(step)
            else:
                bit = 1e9 / self._line.baud
                self._line.drive([(level, bits * bit) for level, bits in step])
            while more := self._line.read(4096, self._quiet):
                heard += more
        if patient:
            heard += self._line.read(HEADER_BYTES + 6, self._patience)
        found, rest = answers(heard)
        refusals = [ErrorCode(payload[0]) for _, kind, payload in found if kind == REFUSAL]
        self.errors.update(code.name for code in refusals)
        sound = [(sequence, kind) for sequence, kind, _ in found if kind != REFUSAL]
        asked = {(frame[2], frame[3] | 0x80) for frame in shot.frames}
        if rest or (shot.codes and (not refusals or refusals[0] not in shot.codes)):
            self.unexpected.append(f"{kind}: {heard.hex()}")
        if not set(sound) <= asked or not shot.least <= len(sound) <= shot.most:
            self.wrong.append(f"{kind}: {heard.hex()}")
        return "refused" if refusals else "accepted" if sound else "silent"


def facts(result: Result) -> tuple[int, list[int], int, int]:
    """Class, logits, cycles, events."""
    counters = result.counters
    return result.label, result.logits.tolist(), counters.cycles, counters.events
