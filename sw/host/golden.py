"""The golden model as a back end: the only one that knows the network and its plan.

The room's other modules import `hw.contract` alone; this one needs the generator and the
simulation, and is imported when a `golden:` address is opened.
"""

import numpy as np

from gen.core.law import single_run
from gen.core.plan import CorePlan
from hw.contract.link import VERSION, Command, ErrorCode
from sim.golden.model import GoldenModel
from sw.host.backend import Backend, Pixels
from sw.host.errors import DeviceError
from sw.host.identity import Identity, packed_bytes
from sw.host.protocol import Counters, Result

__all__ = ["GoldenBackend"]


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

    def close(self) -> None:
        self.reset()
