"""The cycle law of a program stage. Exact for flowing streams.

A time is the number of a cycle. An operation's time is the cycle of its START; all of them follow
from the program, the spikes and the components' latencies. `docs/program.md` has the law.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gen.stage.stage import NEVER, StageTimes
from hw.contract.edge import INPUT
from hw.contract.layout import map_layout
from hw.neuron.readout import Readout
from hw.program.code import Operation, Played, Scan, Send, Sweep
from hw.program.potentials import Potentials
from hw.program.program import Program
from hw.program.scanner import Scanner
from hw.program.stage import ProgramStage
from hw.program.sweeper import Sweeper

if TYPE_CHECKING:
    from gen.program.stage import ProgramStagePlan

__all__ = [
    "Play",
    "ProgramTimes",
    "drive_times",
    "logit_times",
    "operation_cycles",
    "operation_plays",
    "played",
    "plays",
    "positions",
    "scan_cycles",
    "send_cycles",
    "sweep_cycles",
    "updates",
]

Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Play:
    """What a scan finds.

    words, reads, latency
        Words that it plays; words of a bank that each is made of; see `Scanner.latency`.
    slot
        Of each event, the plane of a word that it comes from, `planes * word + plane`; of an
        identity edge, of each such plane with any.
    planes
        Of a word.
    updates
        Of each event, the updates it becomes.
    """

    words: int
    reads: int
    latency: int
    planes: int
    slot: Int
    updates: Int


def plays(program: Program, scan: Scan, values: npt.NDArray[np.integer]) -> Play:
    """What a scan finds, of the words that it plays: (words, lanes)."""
    planes, magnitude = scan.last_plane + 1, np.abs(values.astype(np.int64))
    bits = magnitude[:, None, :] >> np.arange(planes)[None, :, None] & 1
    words = len(values)
    if scan.identity:
        word, plane = np.nonzero(bits.any(axis=2))
        lane = np.zeros_like(word)
    else:
        word, plane, lane = np.nonzero(bits)
    reached = positions(program, scan, word, lane) * (scan.last_group + 1)
    latency = Scanner.latency(program)
    return Play(words, scan.last_gather + 1, latency, planes, word * planes + plane, reached)


def played(scan: Scan, packed: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """The words that a scan plays, (words, lanes), of those of all steps of its source, (steps,
    words, lanes); a picture has one for all of them."""
    values = packed.astype(np.int64)
    if scan.played == Played.SUM:
        one = values[0] * (scan.when + 1)  # a picture, at every step
        return values[: scan.when + 1].sum(axis=0) if scan.gather_words else one
    if scan.played == Played.CHANGES:
        return values[scan.when] - values[scan.when - 1]
    return values[scan.when]


def positions(program: Program, scan: Scan, word: Int, lane: Int) -> Int:
    """Positions of the target that coefficients reach, by the words and lanes they lie in."""
    columns = scan.last_column + 1
    column = (word % columns << scan.position_bits) + (lane >> scan.channel_bits)
    down = np.array([reach.count for reach in program.rows], dtype=np.int64)
    across = np.array([reach.count for reach in program.columns], dtype=np.int64)
    return down[scan.row_table + word // columns] * across[scan.column_table + column]


def scan_cycles(play: Play, identity: bool, latency: int = Potentials.LATENCY) -> int:
    """Cycles from a scan's START to the first in which nothing of it is on its way; `latency` from
    an update to the end of the cycle that writes it.

    A word passes the scanner's registers for its value, for the word and for one of its planes
    after the other; an event the encoder's output, the four stages of the walker, and the walk.
    Each holds one, and takes the next in the cycle in which it is left.
    """
    words = _Words(play.reads, play.latency)
    # When the event before was sent by the encoder, and entered each stage; the walk's last update.
    sent = taken = looked = summed = based = walked = ended = 0
    before, accepted = -1, -1
    for slot, n in zip(play.slot.tolist(), play.updates.tolist(), strict=True):
        if slot != before:
            shown = words.plane(slot // play.planes, accepted)
            before = slot
            if identity:
                accepted = taken = max(shown, looked)
            else:
                # The encoder takes a plane as it sends the last event of another.
                accepted = max(shown, sent)
                sent = accepted
        if not identity:
            sent = max(sent + 1, taken)
            taken = max(sent + 1, looked)
        looked = max(taken + 1, summed)
        summed = max(looked + 1, based)
        if n:
            based = max(summed + 1, walked)
            walked = max(based + 1, ended)
            ended = walked + n
    done = words.end(play.words)
    return max(done, summed + 1 if before >= 0 else 0, ended + latency if ended else 0)


class _Words:
    """When words pass the scanner, of which each is made of `reads` words of a bank.

    Attributes
    ----------
    value, word, free
        When the last word's value was there; when it became the word; from when on the next can.
    shown
        When a plane was last shown to the encoder.
    """

    def __init__(self, reads: int, latency: int) -> None:
        self._reads, self._number = reads, -1
        self.value, self.word, self.free = latency - 3, 0, 0
        self.shown = 0

    def _next(self, count: int) -> None:
        """`count` words on; all but the last of them are empty."""
        if count <= 0:
            return
        first = self._number < 0
        empty = min(count - 1, 2)  # from then on, every one takes its reads
        for _ in range(empty + 1):
            self.value = max(self.value + 1, 0 if first else self.word) + self._reads - 1
            self.word = max(self.value + 1, self.free)
            self.free, first = self.word + 1, False
        more = (count - 1 - empty) * self._reads
        self.value, self.word, self.free = self.value + more, self.word + more, self.free + more
        self._number += count

    def plane(self, number: int, accepted: int) -> int:
        """When the next plane of word `number` is shown, the one before being accepted by then."""
        if number > self._number:
            self._next(number - self._number)
            self.shown = self.word
        self.shown = max(self.shown + 1, accepted + 1)
        self.free = self.shown
        return self.shown

    def end(self, words: int) -> int:
        """When the last of so many has left."""
        self._next(words - 1 - self._number)
        return self.free


def sweep_cycles(program: Program, sweep: Sweep) -> int:
    """Cycles from a sweep's START until its last word has been written."""
    fetched = Sweeper.fetch_cycles(program)
    return 2 + fetched + sweep.last_word + Sweeper.latency(program)


def send_cycles(plan: "ProgramStagePlan", send: Send, *, last: bool = True) -> int:
    """Cycles from a send's START to the next operation's, the receiver being free. One that is not
    the last sends the drives of a step."""
    if not last:
        return drive_times(plan.program, 0)[0] + 1 + ProgramStage.FETCH_CYCLES
    if not plan.program.classes:
        return ProgramStage.READ_CYCLES + send.last_word + 1 + ProgramStage.FETCH_CYCLES
    times = ProgramTimes(plan, None, 0)
    times.send_logits(0)
    return times.next


class ProgramTimes(StageTimes):
    """When a program stage last did what.

    Parameters
    ----------
    plan, after
        The stage; the one that takes its spikes.
    lead
        Cycles from the first without reset to the one that takes the first word.
    """

    def __init__(self, plan: "ProgramStagePlan", after: StageTimes | None, lead: int) -> None:
        self._plan, self._after = plan, after
        self.word_size = plan.lanes
        self._pixels: npt.NDArray[np.integer] = np.zeros(0, dtype=np.uint8)
        self._spikes: Sequence[npt.NDArray] = ()
        self._number = 0
        self._place = 0  # words of the recording that have been taken
        self.next = ProgramStage.FETCH_CYCLES - lead  # START of the next first operation
        self.released = [-1, -1]  # when the two buffers were released
        self.word = -1  # last word taken
        self.sending = NEVER  # the readout can take a word from here on

    def prepare(self, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]) -> None:
        self._pixels, self._spikes = pixels, spikes

    def begin(self, n: int) -> None:
        self._number = n

    def take(self, offer: int, count: int, interval: int = 1) -> int:
        first = max(offer, self.word + 1)
        if self._place == 0:
            first = max(first, self.released[0] + 1)
        self._place = (self._place + count) % self._plan.program.input_words
        self.word = first + (count - 1) * interval
        return self.word

    def play(self, vector: int) -> None:
        """With the last vector a picture or recording is complete, and all operations follow."""
        if vector < self._plan.vectors - 1:
            return
        spikes = [part[self._number] for part in self._spikes]
        start = self._run(self.word + 1, self._pixels[self._number], spikes)
        if self._after is None:
            self.send_logits(start)
        else:
            self._send_spikes(start, self._after)

    def _run(
        self, ready: int, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]
    ) -> int:
        """All operations but the last, of a picture that is there from cycle `ready` on; returns
        the START of the last."""
        now, began = self.next, False
        cycles = self._plan.operation_cycles(pixels, spikes)
        for op, spent in zip(self._plan.program.operations[:-1], cycles, strict=True):
            if isinstance(op, Scan) and op.from_input and not began:
                now, began = max(now, ready), True
            if isinstance(op, Send):
                now, self.sending = drive_times(self._plan.program, now, self.sending)
            else:
                now += spent
            if isinstance(op, Scan) and op.release:
                self.released = [self.released[1], now]
            now += 1 + ProgramStage.FETCH_CYCLES
        return now

    def _send_spikes(self, start: int, after: StageTimes) -> None:
        """Step after step, as fast as the next stage takes its words."""
        op, steps = self._plan.program.operations[-1], self._plan.network.spec.steps
        assert isinstance(op, Send)
        beats = -(-self._plan.program.word // after.word_size) * (op.last_word + 1) // steps
        offer = start + ProgramStage.READ_CYCLES
        for step in range(steps):
            offer = after.take(offer, beats) + 1
            after.play(step)
        self.next = offer + ProgramStage.FETCH_CYCLES

    def send_logits(self, start: int) -> None:
        """The logits of all classes, in words of `lanes`."""
        taken, self.done = logit_times(self._plan.program, start, self.sending)
        self.sending = self.done + Readout.RECOVERY
        self.next = taken + 1 + ProgramStage.FETCH_CYCLES


def drive_times(program: Program, start: int, sending: int = NEVER) -> tuple[int, int]:
    """Of a SEND of a step's drives, not the last: when the readout takes the last word, and from
    when on it takes the next one. Arguments as of `logit_times`."""
    at = start
    for _ in range(-(-program.classes // program.lanes)):
        at = max(at + ProgramStage.LOOK_CYCLES, sending)
        sending = at + Readout.interval(program.leak)
    return at, sending


def logit_times(program: Program, start: int, sending: int = NEVER) -> tuple[int, int]:
    """Of a SEND of logits that STARTs in cycle `start`, the readout taking words from `sending` on:
    when the readout takes the last word, and when the last logit leaves."""
    at, lanes, done = start, min(program.lanes, program.classes), start
    for group in range(-(-program.classes // program.lanes)):
        at = max(at + ProgramStage.LOOK_CYCLES, sending)
        done = at + Readout.latency(program.leak) + min(lanes, program.classes - group * lanes) - 1
        sending = done + Readout.RECOVERY
    return at, done


def operation_cycles(
    plan: "ProgramStagePlan", pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]
) -> list[int]:
    """Cycles of each operation but the last, from its START to the first cycle in which nothing of
    it is on its way, for one image: pixels (image_size,), spikes (T, neurons) of each layer."""
    found = []
    for op, play in operation_plays(plan, pixels, spikes):
        if isinstance(op, Sweep):
            found.append(sweep_cycles(plan.program, op))
        elif isinstance(op, Scan):
            assert play is not None
            found.append(scan_cycles(play, bool(op.identity)))
        elif isinstance(op, Send):
            found.append(drive_times(plan.program, 0)[0])
    return found


def updates(
    plan: "ProgramStagePlan", pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]
) -> int:
    """Words of potentials that a picture adds to: one weight row each."""
    return sum(
        int(play.updates.sum())
        for _, play in operation_plays(plan, pixels, spikes)
        if play is not None
    )


def operation_plays(
    plan: "ProgramStagePlan", pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]
) -> Iterator[tuple[Operation, Play | None]]:
    """Each operation but the last, and what it finds, if it is a scan; see
    `operation_cycles`."""
    spec = plan.network.spec
    sources: dict[str, npt.NDArray] = {INPUT: pixels.reshape(-1, spec.input_size)}
    for layer, sent in zip(spec.layers, spikes, strict=False):
        sources[layer.name] = sent
    used = {op.source for op in plan.program.operations if isinstance(op, Scan)}
    packed = {name: map_layout(spec, name, plan.lanes).pack(sources[name]) for name in used}
    for op in plan.program.operations[:-1]:
        found = None
        if isinstance(op, Scan):
            found = plays(plan.program, op, played(op, packed[op.source]))
        yield op, found
