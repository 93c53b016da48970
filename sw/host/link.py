"""A board behind a byte transport, by docs/link.md."""

import struct
from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np

from hw.contract.link import (
    HEADER_BYTES,
    STATE_BYTES,
    TIMEOUT_BITS,
    TRAIN_BYTES,
    Command,
    ErrorCode,
)
from sw.host.backend import Backend, Pixels
from sw.host.errors import DamagedReply, DeviceError, LinkTimeout
from sw.host.identity import IDENTITY_BYTES, Identity, pack_pixels, parse_identity
from sw.host.learning import (
    COUNTS,
    LearningState,
    MasterState,
    Trained,
    check_learned,
    learn_payload,
    pack_row,
    parse_state,
    parse_trained,
    rate_payload,
    train_payload,
    unpack_row,
)
from sw.host.protocol import (
    COUNTER_BYTES,
    OVERHEAD_BYTES,
    Counters,
    Result,
    answer_payload,
    answer_rest,
    encode,
    frame_tag,
    parse_counters,
    parse_result,
    result_bytes,
)

__all__ = ["LinkBackend", "Transport"]

T = TypeVar("T")

SETTLE_BITS = TIMEOUT_BITS + 512
"""Bit times of silence after which a board has given up a frame and said so."""

SETTLE_READS = 16
"""Reads after which a line that is never silent is given up."""

SETTLE_CHUNK = 4096

SAMPLE_CYCLES = 1 << 16
"""More than a core whose pictures are on the chip has ever needed for one of them."""

MOST_EDGES = 64
"""That learn, in a network."""


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
        """Give the line back."""
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
        self._edges: int | None = None  # that learn
        self._count: int | None = None  # of learned samples, as far as the host knows
        self._settled = False  # what the board heard before this is unknown

    def identify(self) -> Identity:
        self._identity = self._persist(
            lambda: self._ask(Command.IDENTIFY, IDENTITY_BYTES, parse_identity)
        )
        return self._identity

    def infer(self, pixels: Pixels) -> Result:
        identity = self._identity or self.identify()
        self._tag = None
        count = self._known() if identity.learns else 0
        self._tag, result = self._persist(lambda: self._run(pixels, identity))
        return check_learned(result, count, taught=False)

    def _run(self, pixels: Pixels, identity: Identity) -> tuple[int, Result]:
        payload = pack_pixels(pixels, identity)
        write = encode(self._next(), Command.WRITE, payload)
        tag = frame_tag(write)
        self._exchange(write, 0, bytes)
        self._ask(Command.RUN)
        return tag, self._result(tag, identity)

    def _result(self, tag: int, identity: Identity) -> Result:
        """What READ says of the image with this tag."""
        learns = identity.learns
        length = result_bytes(identity.classes, learns)
        return self._ask(Command.READ, length, lambda a: parse_result(a, tag, learns))

    def learn(self, pixels: Pixels, label: int) -> Result:
        identity = self._identity or self.identify()
        count, self._tag = self._known(), None
        self._count = None  # until the sample's fate is known
        image, left = pack_pixels(pixels, identity), self._retries
        while True:
            request = encode(self._next(), Command.LEARN, learn_payload(image, label, count))
            tag, length = frame_tag(request), result_bytes(identity.classes, True)
            try:
                result = self._exchange(request, length, lambda a, t=tag: parse_result(a, t, True))
                break
            except (LinkTimeout, DamagedReply, DeviceError) as error:
                if not left or not getattr(error, "transport", True):
                    raise
                left -= 1
            # Was it learned? If not, nothing has been changed, and it may be sent again.
            now = self.learning().count
            self._count = None
            if now == (count + 1) % COUNTS:
                result = self._persist(lambda t=tag: self._result(t, identity))
                break
            if now != count:
                raise DamagedReply(
                    f"The board has learned {now} samples, and not {count} or one more: somebody "
                    "else teaches it"
                )
        result = check_learned(result, count, taught=True)
        self._tag, self._count = tag, result.count
        return result

    def train(self, first: int, images: int, passes: int) -> Trained:
        identity = self._identity or self.identify()
        count, samples, left = self._known(), images * passes, self._retries
        self._tag = self._count = None  # until their fate is known
        payload = train_payload(first, images, passes, count)
        patience = samples * SAMPLE_CYCLES / max(identity.clock_hz, 1)
        while True:
            request = encode(self._next(), Command.TRAIN, payload)
            try:
                trained, now = self._exchange(
                    request,
                    TRAIN_BYTES,
                    lambda answer: parse_trained(answer, samples, count),
                    patience,
                )
                break
            except (LinkTimeout, DamagedReply, DeviceError) as error:
                if not left or not getattr(error, "transport", True):
                    raise
                left -= 1
            # Where nothing was learned nothing has been changed, and it may be done again.
            learned = (self.learning().count - count) % COUNTS
            self._count = None
            if learned:
                raise DamagedReply(
                    f"The answer to TRAIN was lost; {learned} samples were learned since"
                )
        self._count = now
        return trained

    def _known(self) -> int:
        """The count of learned samples."""
        return self.learning().count if self._count is None else self._count

    def learning(self) -> LearningState:
        identity = self._identity or self.identify()
        state = self._persist(lambda: self._state(identity))
        self._count = state.count
        return state

    def _state(self, identity: Identity) -> LearningState:
        """STATE; how long its answer is, the board says."""
        edges = self._edges

        def parse(answer: bytes) -> LearningState:
            return parse_state(answer, identity.lanes)

        length = None if edges is None else STATE_BYTES + edges
        state = self._ask(Command.STATE, length, parse)
        self._edges = len(state.rates)
        return state

    def rate(self, enabled: bool, margin: int, rates: tuple[int, ...]) -> None:
        payload = rate_payload(enabled, margin, rates)
        self._persist(lambda: self._send(Command.RATE, payload))

    def masters(self, progress: Callable[[int, int], None]) -> MasterState:
        identity = self._identity or self.identify()
        state = self.learning()
        rows = np.zeros((state.rows, identity.lanes), dtype=np.int64)
        for n in range(state.rows):
            request = struct.pack("<H", n)
            rows[n] = self._persist(
                lambda r=request: self._send(
                    Command.WEIGHTS,
                    r,
                    state.row_bytes,
                    lambda answer: unpack_row(answer, state, identity.lanes),
                )
            )
            progress(n + 1, state.rows)
        if self.learning() != state:
            raise DamagedReply("The board's masters were changed while they were read")
        return MasterState(rows=rows, random=state.random, count=state.count)

    def load_masters(self, masters: MasterState, progress: Callable[[int, int], None]) -> None:
        state = self.learning()
        self._count = None  # until all is there
        for n, row in enumerate(masters.rows):
            payload = struct.pack("<H", n) + pack_row(row, state)
            self._persist(lambda p=payload: self._send(Command.LOAD, p))
            progress(n + 1, state.rows)
        payload = struct.pack("<II", masters.random, masters.count)
        self._persist(lambda: self._send(Command.SEED, payload))
        self._count = masters.count

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

    def _ask(
        self, command: Command, length: int | None = 0, parse: Callable[[bytes], T] = bytes
    ) -> T:
        return self._send(command, b"", length, parse)

    def _send(
        self,
        command: Command,
        payload: bytes,
        length: int | None = 0,
        parse: Callable[[bytes], T] = bytes,
    ) -> T:
        return self._exchange(encode(self._next(), command, payload), length, parse)

    def _exchange(
        self, request: bytes, length: int | None, parse: Callable[[bytes], T], patience: float = 0.0
    ) -> T:
        """Send a request that keeps the board for `patience` seconds at most; what `parse` makes
        of its answer's payload of `length` bytes; None: of a STATE, which says itself how long it
        is."""
        sequence, command = request[2], Command(request[3])
        if not self._settled:
            self._settle()
        self._settled = False  # until the answer has been accepted
        self._transport.discard()
        self._transport.write(request)
        on_wire = (len(request) + OVERHEAD_BYTES) * self._byte_time
        answer = self._read(HEADER_BYTES, b"", command, on_wire + patience)
        if length is None:
            told = int.from_bytes(answer[4:6], "little")
            length = min(max(told, STATE_BYTES + 1), STATE_BYTES + MOST_EDGES)
        rest = answer_rest(answer, command, length)
        answer += self._read(rest, answer, command, rest * self._byte_time)
        try:
            parsed = parse(answer_payload(answer, sequence, command))
        except DeviceError as error:
            self._settled = not error.transport  # a refusal in good order
            raise
        self._settled = True
        return parsed

    def _read(self, count: int, before: bytes, command: Command, seconds: float) -> bytes:
        data = self._transport.read(count, self._timeout + seconds)
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
