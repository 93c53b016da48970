"""What answers a host: the golden model, or a board behind a byte transport. One set of calls."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from gen.core.hardware import AnyPlan, input_shape
from gen.core.layer_cycles import CycleLaw, event_counts
from gen.core.plan import CorePlan
from gen.core.program_cycles import SharedLaw, updates
from hw.contract.link import HEADER_BYTES, TIMEOUT_BITS, VERSION, Command, ErrorCode
from sim.bench.streams import law_costs
from sim.golden.model import GoldenModel, Trace
from sw.host.protocol import (
    COUNTER_BYTES,
    IDENTITY_BYTES,
    OVERHEAD_BYTES,
    Counters,
    DamagedReply,
    DeviceError,
    Identity,
    LinkTimeout,
    Result,
    answer_payload,
    answer_rest,
    encode,
    frame_tag,
    pack_pixels,
    packed_bytes,
    parse_counters,
    parse_identity,
    parse_result,
    result_bytes,
)

__all__ = ["Backend", "GoldenBackend", "LinkBackend", "Transport"]

Pixels = npt.NDArray[np.uint8]
T = TypeVar("T")

SETTLE_BITS = TIMEOUT_BITS + 512
"""Bit times of silence after which a board has given up a frame and told so."""

SETTLE_READS = 16
"""Reads after which a line that is never silent is given up."""

SETTLE_CHUNK = 4096


class Backend(ABC):
    """What a `Board` calls. Pixels come checked: uint8 (input_size,), within range."""

    @abstractmethod
    def identify(self) -> Identity:
        """What this is."""

    @abstractmethod
    def infer(self, pixels: Pixels) -> Result:
        """Run one image."""

    @abstractmethod
    def counters(self) -> Counters:
        """Of the last run; DeviceError NO_RESULT without one."""

    @abstractmethod
    def reset(self) -> None:
        """Forget image and result."""

    @abstractmethod
    def close(self) -> None:
        """Let go; nothing is called afterwards."""


class GoldenBackend(Backend):
    """The golden model, with the counters that hardware of this plan would have.

    The cycles are the cycle law's for a single image on an idle core, from the hand-shake of the
    image's last word; the events are the weight rows added: of a layer of its own, every spike, and
    every set bit of the image, once per group; of a shared core, every update.
    """

    def __init__(self, plan: AnyPlan) -> None:
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
            image_bytes=packed_bytes(spec.image_size, spec.input_bits),
            ready=True,
            timed=spec.timed_input,
        )

    def infer(self, pixels: Pixels) -> Result:
        trace = self._golden.run(pixels[None])
        self._last = single_run(self._plan, pixels, trace)
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


LONG_AGO = 10**9
"""Cycles: a core with that lead has done all that does not wait for an image."""


def single_run(plan: AnyPlan, pixels: Pixels, trace: Trace) -> Counters:
    """What hardware counts of one image (image_size,) on an idle core."""
    batch, words_before_last = pixels[None], input_shape(plan)[1] - 1
    if isinstance(plan, CorePlan):
        done = CycleLaw(plan).predict(law_costs(plan, batch, trace))[0]
        events = sum(
            geometry.groups * int(event_counts(vectors, geometry).sum())
            for geometry, vectors in zip(plan.geometries, (batch, *trace.spikes), strict=True)
        )
    else:
        done = SharedLaw(plan, LONG_AGO).predict(batch, trace.spikes)[0]
        events = updates(plan, pixels, [part[0] for part in trace.spikes])
    return Counters(cycles=int(done) - words_before_last, events=events)


class Transport(Protocol):
    """Bytes to a board and back. Its seconds are its own: of a simulation, simulated ones."""

    def write(self, data: bytes, /) -> None:
        """Send bytes, or see to it that they are sent."""
        ...

    def read(self, count: int, timeout: float, /) -> bytes:
        """The next `count` bytes; fewer when `timeout` seconds are over."""
        ...

    def discard(self) -> None:
        """Throw away what came in."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class LinkBackend(Backend):
    """A board at the other end of a transport, by docs/link.md.

    Parameters
    ----------
    transport
        Closed by `close`.
    baud
        What a bit time follows from.
    timeout
        Longest wait for an answer, in the transport's seconds, besides the time on the wire.
    retries
        How often a failed exchange is repeated from its beginning, where it was lost on its way.
    latency
        Seconds that bytes may be under way unseen, in drivers and adapters.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        baud: int,
        timeout: float,
        retries: int = 0,
        latency: float = 0.0,
    ) -> None:
        self._transport = transport
        self._byte_time = 10 / baud
        self._timeout, self._retries = timeout, retries
        self._quiet = SETTLE_BITS / baud + latency
        self._sequence = 0
        self._identity: Identity | None = None
        self._tag: int | None = None  # of the last result
        self._settled = False  # what the board heard before this is unknown

    def identify(self) -> Identity:
        self._identity = self._persist(
            lambda: self._ask(Command.IDENTIFY, IDENTITY_BYTES, parse_identity)
        )
        return self._identity

    def infer(self, pixels: Pixels) -> Result:
        identity = self._identity or self.identify()
        self._tag = None
        self._tag, result = self._persist(lambda: self._run(pixels, identity))
        return result

    def _run(self, pixels: Pixels, identity: Identity) -> tuple[int, Result]:
        payload = pack_pixels(pixels, identity)
        write = encode(self._next(), Command.WRITE, payload)
        tag = frame_tag(write)
        self._exchange(write, 0, bytes)
        self._ask(Command.RUN)
        length = result_bytes(identity.classes)
        return tag, self._ask(Command.READ, length, lambda answer: parse_result(answer, tag))

    def counters(self) -> Counters:
        return self._persist(lambda: self._ask(Command.COUNTERS, COUNTER_BYTES, self._own_counters))

    def _own_counters(self, answer: bytes) -> Counters:
        tag, counters = parse_counters(answer)
        if self._tag is None:  # what the board has is of another host's run, or of one that failed
            raise DeviceError(ErrorCode.NO_RESULT, Command.COUNTERS)
        if tag != self._tag:
            raise DamagedReply("The answer to COUNTERS belongs to another image: its tag differs")
        return counters

    def reset(self) -> None:
        self._tag = None
        self._persist(lambda: self._ask(Command.RESET))

    def close(self) -> None:
        self._transport.close()

    def _persist(self, action: Callable[[], T]) -> T:
        """Do it, and again while it is only lost on its way and retries are left."""
        for _ in range(self._retries):
            try:
                return action()
            except (LinkTimeout, DamagedReply):
                pass
            except DeviceError as error:
                if not error.transport:
                    raise
        return action()

    def _next(self) -> int:
        self._sequence = (self._sequence + 1) % 256
        return self._sequence

    def _ask(self, command: Command, length: int = 0, parse: Callable[[bytes], T] = bytes) -> T:
        return self._exchange(encode(self._next(), command), length, parse)

    def _exchange(self, request: bytes, length: int, parse: Callable[[bytes], T]) -> T:
        """Send a request; what `parse` makes of its answer's payload of `length` bytes."""
        sequence, command = request[2], Command(request[3])
        if not self._settled:
            self._settle()
        self._settled = False  # until the answer has been accepted
        self._transport.discard()
        self._transport.write(request)
        answer = self._read(HEADER_BYTES, b"", command, len(request) + OVERHEAD_BYTES)
        rest = answer_rest(answer, command, length)
        answer += self._read(rest, answer, command, rest)
        try:
            parsed = parse(answer_payload(answer, sequence, command))
        except DeviceError as error:
            self._settled = not error.transport  # a refusal in good order
            raise
        self._settled = True
        return parsed

    def _read(self, count: int, before: bytes, command: Command, on_wire: int) -> bytes:
        data = self._transport.read(count, self._timeout + on_wire * self._byte_time)
        if len(data) == count:
            return data
        if not before and not data:
            raise LinkTimeout(f"The board did not answer {command.name} within {self._timeout:g} s")
        raise DamagedReply(
            f"The answer to {command.name} broke off after {len(before + data)} bytes"
        )

    def _settle(self) -> None:
        """Wait until the board has given up what it may hold of a frame, and is silent."""
        for _ in range(SETTLE_READS):
            if not self._transport.read(SETTLE_CHUNK, self._quiet):
                self._settled = True
                return
        raise LinkTimeout("The board must be silent when nothing is asked, but keeps sending")
