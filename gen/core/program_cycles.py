"""The cycle law of a shared core. Exact for flowing streams.

A time is the number of a cycle. An operation's time is the cycle of its START; all of them follow
from the program, the spikes and the components' latencies. `docs/shared.md` has the law.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gen.core.pipeline import PipelinePlan
from gen.core.program_stage import SharedPlan
from hw.contract.layout import map_layout
from hw.contract.spec import INPUT
from hw.neuron.readout import Readout
from hw.program.potentials import Potentials
from hw.program.program import Operation, Program, Scan, Send, Sweep
from hw.program.scanner import Scanner
from hw.program.stage import SharedCore
from hw.program.sweeper import Sweeper

__all__ = [
    "Play",
    "SharedLaw",
    "StageTimes",
    "operation_cycles",
    "operation_plays",
    "plays",
    "positions",
    "scan_cycles",
    "sweep_cycles",
    "updates",
]

Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Play:
    """What a scan comes upon.

    slots
        Planes of words it looks at.
    slot
        Of each event, the one it comes from; of an identity edge, of each slot with any.
    updates
        Of each event, the updates it becomes.
    """

    slots: int
    slot: Int
    updates: Int


def plays(plan: SharedPlan, scan: Scan, packed: npt.NDArray[np.integer]) -> Play:
    """What a scan comes upon in a map, packed in words: (words, lanes)."""
    planes, magnitude = scan.last_plane + 1, np.abs(packed.astype(np.int16))
    bits = magnitude[:, None, :] >> np.arange(planes)[None, :, None] & 1
    words = len(packed)
    if scan.identity:
        word, plane = np.nonzero(bits.any(axis=2))
        lane = np.zeros_like(word)
    else:
        word, plane, lane = np.nonzero(bits)
    reached = positions(plan.program, scan, word, lane) * (scan.last_group + 1)
    return Play(words * planes, word * planes + plane, reached)


def positions(program: Program, scan: Scan, word: Int, lane: Int) -> Int:
    """Positions of the target that coefficients reach, by the words and lanes they lie in."""
    columns = scan.last_column + 1
    column = (word % columns << scan.position_bits) + (lane >> scan.channel_bits)
    down = np.array([reach.count for reach in program.rows], dtype=np.int64)
    across = np.array([reach.count for reach in program.columns], dtype=np.int64)
    return down[scan.row_table + word // columns] * across[scan.column_table + column]


def scan_cycles(play: Play, identity: bool) -> int:
    """Cycles from a scan's START to the first in which nothing of it is on its way.

    An event passes the encoder's output, the four stages of the walker, and the walk. Each holds
    one, and takes the next in the cycle in which it is left.
    """
    slot, updates = play.slot.tolist(), play.updates.tolist()
    shown, place = Scanner.LATENCY, 0  # the slot that is looked at next, from when on
    # When the event before was sent by the encoder, and entered each stage; the walk's last update.
    sent = taken = looked = summed = based = walked = ended = 0
    before = -1
    for at, n in zip(slot, updates, strict=True):
        if identity:
            shown += at - place
            taken = max(shown, looked)
            shown, place = taken + 1, at + 1
        else:
            if at != before:  # the encoder takes a word as it sends the last event of another
                shown += at - place
                accepted = max(shown, sent)
                shown, place, before = accepted + 1, at + 1, at
                sent = max(accepted, sent)
            sent = max(sent + 1, taken)
            taken = max(sent + 1, looked)
        looked = max(taken + 1, summed)
        summed = max(looked + 1, based)
        if n:
            based = max(summed + 1, walked)
            walked = max(based + 1, ended)
            ended = walked + n
    shown += play.slots - place
    return max(shown, summed + 1 if slot else 0, ended + Potentials.LATENCY if ended else 0)


def sweep_cycles(sweep: Sweep) -> int:
    """Cycles from a sweep's START until its last word has been written."""
    return 2 + sweep.last_word * (1 + sweep.has_drive) + Sweeper.LATENCY


class SharedLaw:
    """Predicts when each image's class leaves a core, or a pipeline of them, inputs offered and
    results taken at once.

    Parameters
    ----------
    plan
        The core, or the pipeline.
    lead
        Cycles from the first without reset to the one that takes the first word.
    """

    def __init__(self, plan: SharedPlan | PipelinePlan, lead: int = 0) -> None:
        self._stages = [StageTimes(stage, lead) for stage in plan.stages]

    def predict(self, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]) -> Int:
        """Cycle of the last result of each image, (n,); cycle 0 takes the first image's first word.

        Parameters
        ----------
        pixels, spikes
            Images (n, image_size), and what the layers that fire send, (n, T, neurons) each. The
            state carries over, so that a run may be predicted in pieces.
        """
        return np.array(
            [self._image(pixels[n], [part[n] for part in spikes]) for n in range(len(pixels))],
            dtype=np.int64,
        )

    def _image(self, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]) -> int:
        first, last = self._stages[0], self._stages[-1]
        loaded = max(first.word, first.released[0]) + first.plan.program.input_words
        for stage, after in zip(self._stages, [*self._stages[1:], None], strict=True):
            stage.word = loaded
            start = stage.run(loaded + 1, pixels, spikes)
            if after is not None:
                loaded = stage.send_spikes(start, max(after.word, after.released[0]))
        return last.send_logits(start)


class StageTimes:
    """When a stage last did what."""

    def __init__(self, plan: SharedPlan, lead: int = 0) -> None:
        self.plan = plan
        self.next = SharedCore.FETCH_CYCLES - lead  # START of the next image's first operation
        self.released = [-1, -1]  # when the two buffers were let go of
        self.word = -1  # last word taken
        self.sending = -(10**9)  # the readout can take a word from here on

    def run(
        self, ready: int, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]
    ) -> int:
        """All operations but the last, of an image that is there from cycle `ready` on; returns
        the START of the last."""
        now, began = self.next, False
        cycles = operation_cycles(self.plan, pixels, spikes)
        for op, spent in zip(self.plan.program.operations[:-1], cycles, strict=True):
            if isinstance(op, Scan) and op.from_input and not began:
                now, began = max(now, ready), True
            now += spent
            if isinstance(op, Scan) and op.release:
                self.released = [self.released[1], now]
            now += 1 + SharedCore.FETCH_CYCLES
        return now

    def send_spikes(self, start: int, busy: int) -> int:
        """Cycle of the last word to the next stage, which can take none up to cycle `busy`."""
        op = self.plan.program.operations[-1]
        assert isinstance(op, Send)
        last = max(start + SharedCore.READ_CYCLES, busy + 1) + op.last_word
        self.next = last + 1 + SharedCore.FETCH_CYCLES
        return last

    def send_logits(self, start: int) -> int:
        """Cycle of the last logit."""
        p, at, done = self.plan.program, start, 0
        lanes = min(p.lanes, p.classes)
        for group in range(-(-p.classes // p.lanes)):
            at = max(at + SharedCore.LOOK_CYCLES, self.sending)
            done = at + Readout.LATENCY + min(lanes, p.classes - group * lanes) - 1
            self.sending = done + Readout.RECOVERY
        self.next = at + 1 + SharedCore.FETCH_CYCLES
        return done


def operation_cycles(
    plan: SharedPlan, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]
) -> list[int]:
    """Cycles of each operation but the last, from its START to the first cycle in which nothing of
    it is on its way, for one image: pixels (image_size,), spikes (T, neurons) of each layer."""
    found = []
    for op, play in operation_plays(plan, pixels, spikes):
        if isinstance(op, Sweep):
            found.append(sweep_cycles(op))
        elif isinstance(op, Scan):
            assert play is not None
            found.append(scan_cycles(play, bool(op.identity)))
    return found


def updates(
    plan: SharedPlan | PipelinePlan, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]
) -> int:
    """Words of potentials that an image adds to: one weight row each."""
    return sum(
        int(play.updates.sum())
        for stage in plan.stages
        for _, play in operation_plays(stage, pixels, spikes)
        if play is not None
    )


def operation_plays(
    plan: SharedPlan, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]
) -> Iterator[tuple[Operation, Play | None]]:
    """Each operation but the last, and what it comes upon, if it is a scan; see
    `operation_cycles`."""
    spec = plan.network.spec
    sources: dict[str, npt.NDArray] = {INPUT: pixels.reshape(-1, spec.input_size)}
    for layer, sent in zip(spec.layers, spikes, strict=False):
        sources[layer.name] = sent
    used = {op.source for op in plan.program.operations if isinstance(op, Scan)}
    packed = {name: map_layout(spec, name, plan.lanes).pack(sources[name]) for name in used}
    for op in plan.program.operations[:-1]:
        yield op, plays(plan, op, packed[op.source][op.when]) if isinstance(op, Scan) else None
