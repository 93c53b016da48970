"""Trials of the fault campaign: one shot, what the board says to it, and a whole exchange after it.

A trial sends one shot of `sw.verify.faults`, in every third waits until the board's own time-out is
over, and then has the host library run a real image: WRITE, RUN, READ. Logits, class, cycles and
events must be the golden model's. An exchange that raises is repeated, as a host would do.

A board that learns is asked for its state first, and, after damages of its own commands, for all
its masters, which must be the golden model's too; it runs an image or learns from it.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from gen.board.files import LabelledImages
from gen.board.planner import BoardPlan
from hw.contract.link import HEADER_BYTES, REFUSAL, TIMEOUT_BITS, Command, ErrorCode
from sim.board.simulation import BoardSimulation
from sw.host.board import Board
from sw.host.errors import DeviceError, HostError
from sw.host.golden import GoldenBackend, LearningGolden
from sw.host.identity import pack_pixels
from sw.host.link import LinkBackend
from sw.host.protocol import Result
from sw.verify.fault_lessons import LESSON_DAMAGES, Lessons
from sw.verify.faults import DAMAGES, Maker, Shot, resealed

__all__ = ["KINDS", "LESSON_KINDS", "TRIES", "Trials"]


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

LESSON_ANSWERS = {
    f"LEARN, {name}{again}": (harm, bool(again))
    for name, (_, harm) in ANSWER_DAMAGES.items()
    for again in ("", ", asked again")
}
"""Name: (what becomes of the answer to LEARN, whether the host may ask again)."""

KINDS = (*DAMAGES, *ANSWER_DAMAGES)
LESSON_KINDS = (*LESSON_DAMAGES, *LESSON_ANSWERS)
"""Besides, on a board that learns."""

TRIES = 3
"""Exchanges after a shot until the board counts as hung."""

ROWS_SHARE = 1 / 8
"""Of the trials with a damage that every board knows, after which all masters are compared: they
are what takes longest."""

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
    """Trials on one board, and what came of them; `images` are of the network's input size,
    `samples` those on the chip of a board that learns."""

    def __init__(
        self,
        line: BoardSimulation,
        plan: BoardPlan,
        images: npt.NDArray[np.uint8],
        seed: int,
        samples: LabelledImages | None = None,
    ) -> None:
        self._line, self._noisy, self._images = line, NoisyLine(line), images
        learns = plan.core.stages[0].port_facts() is not None
        golden = LearningGolden(plan.core, samples) if learns else GoldenBackend(plan.core)
        self._golden: GoldenBackend = golden
        first = [self._golden.infer(image) for image in images]
        longest = max(result.counters.cycles for result in first) / plan.spec.clock_hz
        self._quiet = QUIET_BITS / line.baud + longest
        self._patience = PATIENT_BITS / line.baud
        timeout = 2 * TIMEOUT_BITS / line.baud + longest
        self.board, self._patient_board = (
            Board(
                LinkBackend(self._noisy, baud=line.baud, timeout=timeout, retries=retries),
                lambda: line.time,
            )
            for retries in (0, 2)
        )
        identity = self.board.wait_ready()
        self._maker = Maker(seed, [pack_pixels(image, identity) for image in images])
        self._lessons: Lessons | None = None
        self._training = 0.0
        if isinstance(golden, LearningGolden):
            self._lessons = Lessons(golden, identity, images, self._maker.random)
            longest = Lessons.longest(LearningGolden(plan.core, samples))
            self._training = longest / plan.spec.clock_hz
            self._maker.lessons = self._lessons
        self._unknown: tuple[npt.NDArray[np.uint8], int] | None = None  # learned or not
        self._last = first[0]
        every = (*KINDS, *(LESSON_KINDS if learns else ()))
        self.kinds = {kind: Counter[str]() for kind in every}
        self.errors, self.raised = Counter[str](), Counter[str]()
        self.wrong: list[str] = []
        self.unexpected: list[str] = []
        self.hangs = 0

    def trial(self, kind: str) -> None:
        """One shot, and all that follows."""
        count, patient = self.kinds[kind], self._maker.random.random() < 1 / 3
        count["frames"] += 1
        damages = DAMAGES | LESSON_DAMAGES
        if kind in ANSWER_DAMAGES:
            count[self._harm_answer(kind)] += 1
        elif kind in LESSON_ANSWERS:
            count[self._harm_lesson(kind)] += 1
        else:
            shot = damages[kind](self._maker)
            count[self._shoot(kind, shot, patient)] += 1
            if patient:
                self._check_counters(kind, shot)
        for attempt in range(1, TRIES + 1):
            if self._exchange(kind):
                count[f"try {attempt}"] += 1
                if patient and attempt > 1 and kind in damages:
                    self.unexpected.append(f"{kind}: not ready again after the time-out")
                return
        self.hangs += 1

    def _exchange(self, kind: str) -> bool:
        """A whole exchange; whether there was an answer."""
        n = self._maker.random.randrange(len(self._images))
        lesson = None
        try:
            if self._lessons is not None:
                self._compare(kind, self._lessons)
                if self._maker.random.random() < 0.5:
                    lesson = self._lessons.sample()
            if lesson is None:
                result = self.board.infer(self._images[n])
            else:
                self._unknown = lesson
                (result,) = self.board.learn(lesson[0][None], [lesson[1]])
                self._unknown = None
        except HostError:
            return False
        self._judge(kind, result, self._images[n], lesson)
        return True

    def _judge(
        self,
        kind: str,
        result: Result,
        image: npt.NDArray[np.uint8],
        lesson: tuple[npt.NDArray[np.uint8], int] | None,
    ) -> None:
        """The result of an image, or of a lesson, must be the golden model's."""
        golden = self._golden
        expected = golden.infer(image) if lesson is None else golden.learn(*lesson)
        self._last = expected
        if facts(result) != facts(expected):
            self.wrong.append(f"{kind}: {facts(result)} instead of {facts(expected)}")

    def _compare(self, kind: str, lessons: Lessons) -> None:
        """State and masters must be the golden model's."""
        state, unknown = self.board.learning(), self._unknown
        if unknown is not None and state.count != lessons.golden.learning().count:
            lessons.golden.learn(*unknown)  # its answer was lost
        self._unknown = None
        if lessons.loaded:
            self.board.load_masters(lessons.golden.masters(lambda done, total: None))
            lessons.loaded, state = False, self.board.learning()
        wanted = lessons.golden.learning()
        same = state == wanted
        if kind in LESSON_KINDS or self._maker.random.random() < ROWS_SHARE:
            there, expected = self.board.masters(), lessons.golden.masters(lambda done, total: None)
            same &= (there.rows == expected.rows).all()
        if not same:
            self.wrong.append(f"{kind}: {state} or masters instead of {wanted}")
            lessons.loaded = True  # go on from the same state

    def _harm_lesson(self, kind: str) -> str:
        """A lesson whose answer is damaged: it must raise, or be right when it is asked again."""
        harm, again = LESSON_ANSWERS[kind]
        assert self._lessons is not None
        image, label = self._lessons.sample()
        board = self._patient_board if again else self.board
        board.learning()  # what it knows of the count may be old
        self._noisy.spare, self._noisy.harm = 0, lambda answer: harm(self._maker, answer)
        try:
            (result,) = board.learn(image[None], [label])
        except HostError as error:
            self.raised[type(error).__name__] += 1
            if again:
                self.unexpected.append(f"{kind}: {error}")
            self._golden.learn(image, label)  # the request was sound
            return "raised"
        if not again:
            self.wrong.append(f"{kind}: taken for an answer")
        self._judge(kind, result, image, (image, label))
        return "accepted"

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
        except HostError:  # right, if a sound frame of the shot left the result of another image
            if all(frame[3] not in (Command.RUN, Command.LEARN) for frame in shot.frames):
                self.unexpected.append(f"{kind}: COUNTERS raises")
        else:
            if counters != self._last.counters:
                self.wrong.append(f"{kind}: {counters} instead of {self._last.counters}")

    def _shoot(self, kind: str, shot: Shot, patient: bool) -> str:
        """Send it, and judge what the board says."""
        self._line.discard()
        heard, quiet = b"", self._quiet
        if any(frame[3] == Command.TRAIN for frame in shot.frames):
            quiet += self._training
        for step in shot.steps:
            if isinstance(step, bytes):
                self._line.write(step)
            else:
                bit = 1e9 / self._line.baud
                self._line.drive([(level, bits * bit) for level, bits in step])
            while more := self._line.read(4096, quiet):
                heard += more
        if patient:
            heard += self._line.read(HEADER_BYTES + 6, self._patience)
        found, rest = answers(heard)
        refusals = [ErrorCode(payload[0]) for _, kind, payload in found if kind == REFUSAL]
        self.errors.update(code.name for code in refusals)
        sound = [(sequence, kind) for sequence, kind, _ in found if kind != REFUSAL]
        asked = {(frame[2], frame[3] | 0x80): frame for frame in shot.frames}
        for answer in sound:
            if self._lessons is not None and answer in asked:
                self._lessons.carried_out(asked[answer])
        if rest or (shot.codes and (not refusals or refusals[0] not in shot.codes)):
            self.unexpected.append(f"{kind}: {heard.hex()}")
        if not set(sound) <= set(asked) or not shot.least <= len(sound) <= shot.most:
            self.wrong.append(f"{kind}: {heard.hex()}")
        return "refused" if refusals else "accepted" if sound else "silent"


def facts(result: Result) -> tuple[int, list[int], int, int, bool, int]:
    """Class, logits, cycles, events; whether it was learned, and the count then."""
    counters, learned = result.counters, (result.learned, result.count)
    return result.label, result.logits.tolist(), counters.cycles, counters.events, *learned
