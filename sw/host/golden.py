"""The golden model as a back end: the only one that knows the network and its plan.

The room's other modules import `hw.contract` alone; this one needs the generator and the
simulation, and is imported when a `golden:` address is opened.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gen.core.law import LONG_AGO, single_run
from gen.core.plan import CorePlan
from gen.learn.cycles import LearningLaw
from gen.learn.stage import learning_stage
from hw.contract.link import VERSION, Command, ErrorCode
from hw.top.board import CORE_RESET_CYCLES
from hw.top.sample_store import SampleStore
from sim.golden.learning import Learner, Sample
from sim.golden.model import GoldenModel
from sw.host.backend import Backend, Pixels
from sw.host.errors import DeviceError
from sw.host.identity import Identity, packed_bytes
from sw.host.learning import LearningState, MasterState, Trained
from sw.host.protocol import Counters, Result

__all__ = ["GoldenBackend", "LearningGolden"]


class GoldenBackend(Backend):
    """The golden model, with the counters that hardware of this plan would have.

    The cycles are the cycle law's for a single image on an idle core, from the hand-shake of the
    image's last word; the events are the weight rows added: of a layer of its own, every spike, and
    every set bit of the image, once per group; of a program, every update.
    """

    def __init__(self, plan: CorePlan) -> None:
        self._plan = plan
        self._golden = GoldenModel(plan.network)
        self._last: Counters | None = None

    def identify(self) -> Identity:
        spec = self._plan.network.spec
        return Identity(
            protocol=VERSION,
            board="golden",
            digest=self._plan.network.digest,
            input_size=spec.input_size,
            input_bits=spec.input_bits,
            steps=spec.steps,
            classes=spec.classes,
            lanes=self._plan.lanes,
            banks=self._plan.banks,
            clock_hz=0,
            baud=0,
            image_bytes=spec.recorded_steps * packed_bytes(spec.input_size, spec.input_bits),
            ready=True,
            timed=spec.timed_input,
        )

    def infer(self, pixels: Pixels) -> Result:
        trace = self._golden.run(pixels[None])
        cycles, events = single_run(self._plan, pixels, [part[0] for part in trace.spikes])
        self._last = Counters(cycles=cycles, events=events)
        return Result(
            label=int(trace.classes[0]),
            logits=trace.logits[0].astype(np.int32),
            counters=self._last,
        )

    def counters(self) -> Counters:
        if self._last is None:
            raise DeviceError(ErrorCode.NO_RESULT, Command.COUNTERS)
        return self._last

    def reset(self) -> None:
        self._last = None

    def learn(self, pixels: Pixels, label: int) -> Result:
        raise DeviceError(ErrorCode.COMMAND, Command.LEARN)

    def train(self, first: int, images: int, passes: int) -> Trained:
        raise DeviceError(ErrorCode.COMMAND, Command.TRAIN)

    def learning(self) -> LearningState:
        raise DeviceError(ErrorCode.COMMAND, Command.STATE)

    def rate(self, enabled: bool, margin: int, rates: tuple[int, ...]) -> None:
        raise DeviceError(ErrorCode.COMMAND, Command.RATE)

    def masters(self, progress: Callable[[int, int], None]) -> MasterState:
        raise DeviceError(ErrorCode.COMMAND, Command.WEIGHTS)

    def load_masters(self, masters: MasterState, progress: Callable[[int, int], None]) -> None:
        raise DeviceError(ErrorCode.COMMAND, Command.LOAD)

    def close(self) -> None:
        self.reset()


class LearningGolden(GoldenBackend):
    """The golden model of learning, with the counters and rows of a core of this plan.

    Parameters
    ----------
    plan
        Of `gen.learn.stage.plan_learning`; its masters are left as they are.
    samples
        Images (n, input_size) and labels (n,) that are on the chip.

    Attributes
    ----------
    facts
        What the host port of such a core knows of it.
    """

    def __init__(
        self, plan: CorePlan, samples: tuple[npt.NDArray[np.uint8], npt.NDArray] | None = None
    ) -> None:
        super().__init__(plan)
        self._samples = samples
        self._stage = learning_stage(plan)
        masters = self._stage.masters
        self._learner = Learner(replace(masters, arrays=list(masters.arrays)))
        self.facts = self._stage.port_facts()
        self._learner.margin = self.facts.margin
        self._enabled, self._changed = True, False

    def identify(self) -> Identity:
        return replace(super().identify(), learns=True, changed=self._changed)

    def infer(self, pixels: Pixels) -> Result:
        return self._answer(pixels, self._learner.infer(pixels))

    def learn(self, pixels: Pixels, label: int) -> Result:
        return self._answer(pixels, self._learn(pixels, label))

    def _learn(self, pixels: Pixels, label: int) -> Sample:
        if not self._enabled:
            return self._learner.infer(pixels)
        masters = self._learner.masters
        before = list(masters.arrays), masters.random, masters.learned
        try:
            sample = self._learner.learn(pixels, label)
        except BaseException:  # an update is whole, or none at all
            masters.arrays[:], masters.random, masters.learned = before
            raise
        self._changed |= sample.learned
        return sample

    def train(self, first: int, images: int, passes: int) -> Trained:
        if self._samples is None:
            raise DeviceError(ErrorCode.COMMAND, Command.TRAIN)
        law, hits, done = LearningLaw(self._plan), 0, 0
        begin = SampleStore.LATENCY - CORE_RESET_CYCLES  # in the law's time
        taken = begin + self._plan.words - 1
        before = self._learner.masters.learned
        for number in [*range(first, first + images)] * passes:
            pixels, label = self._samples[0][number], int(self._samples[1][number])
            sample = self._learn(pixels, label)
            hits += sample.label == label
            done = law.sample(pixels, sample, taken).done
            taken = 0  # the words of all others are there long before they are wanted
        learned = self._learner.masters.learned - before
        return Trained(samples=images * passes, learned=learned, hits=hits, cycles=done - begin + 1)

    def _answer(self, pixels: Pixels, sample: Sample) -> Result:
        times = LearningLaw(self._plan).sample(pixels, sample, LONG_AGO)
        self._last = Counters(cycles=times.logit - LONG_AGO, events=times.additions)
        return Result(
            label=sample.label,
            logits=sample.logits.astype(np.int32),
            counters=self._last,
            learned=sample.learned,
            count=self._learner.masters.learned,
        )

    def learning(self) -> LearningState:
        facts, learner = self.facts, self._learner
        return LearningState(
            count=learner.masters.learned,
            random=learner.masters.random,
            rows=facts.rows,
            row_bytes=facts.row_bytes,
            master_bits=facts.master_bits,
            weight_bits=facts.weight_bits,
            enabled=self._enabled,
            margin=learner.margin,
            rates=tuple(learner.rates),
            lowest=facts.lowest,
            highest=facts.highest,
            samples=0 if self._samples is None else len(self._samples[1]),
        )

    def rate(self, enabled: bool, margin: int, rates: tuple[int, ...]) -> None:
        if margin >> self.facts.width("margin"):
            raise DeviceError(ErrorCode.VALUE, Command.RATE)
        self._enabled, self._learner.margin = enabled, margin
        self._learner.rates = list(rates)

    def masters(self, progress: Callable[[int, int], None]) -> MasterState:
        masters = self._learner.masters
        rows = self._stage.rows.pack(masters.arrays)
        progress(len(rows), len(rows))
        return MasterState(rows=rows, random=masters.random, count=masters.learned)

    def load_masters(self, masters: MasterState, progress: Callable[[int, int], None]) -> None:
        now = self._learner.masters
        shapes = [(edge.rows, edge.targets) for edge in now.edges]
        arrays = self._stage.rows.unpack(masters.rows, shapes)
        self._learner.masters = replace(
            now, arrays=arrays, random=masters.random, learned=masters.count
        )
        self._changed = True
        progress(len(masters.rows), len(masters.rows))
