"""A board in Python: docs/link.md, written from the document and not from `sw.host.protocol`,
around the golden model; and a line to it on which every byte can be damaged, in both directions."""

import struct
import zlib
from collections.abc import Callable

import numpy as np

from gen.core.plan import CorePlan
from sw.host.golden import GoldenBackend

TIMEOUT = 4096
"""Bit times."""

Damage = Callable[[bytes], bytes]


class DeviceTwin:
    """Takes bytes and pauses, has bytes in `answer`. `facts` overrides mailbox words 0 to 15."""

    def __init__(self, plan: CorePlan, *, clock_hz: int = 25_000_000, baud: int = 1_000_000):
        self.plan, self.clock_hz, self.baud = plan, clock_hz, baud
        self.golden = GoldenBackend(plan)
        self.ready, self.facts = True, {}
        self.wrong_tag = self.wrong_label = 0  # what a faulty board would add to them
        self.answer = bytearray()
        self.frame = bytearray()
        self.sending = 0  # bytes of the last answer that have not left yet
        self.forget()

    def forget(self) -> None:
        self.network: np.ndarray | None = None
        self.image_tag = 0
        self.result: bytes | None = None

    @property
    def image_bytes(self) -> int:
        """Whole words of the core, each with its padding."""
        return -(-self.plan.words * self.plan.input_bits // 8)

    def identity(self) -> bytes:
        spec = self.plan.network.spec
        digest = struct.unpack("<8I", bytes.fromhex(self.plan.network.digest))
        words = [
            1 | 7 << 8 | self.ready << 16,
            *digest,
            spec.input_size,
            spec.input_bits | spec.steps << 16,
            spec.classes,
            self.plan.lanes | self.plan.banks << 16,
            self.clock_hz,
            self.baud,
            self.image_bytes,
        ]
        for word, value in self.facts.items():
            words[word] = value
        return struct.pack("<16I", *words)

    def burst(self, data: bytes) -> None:
        """Bytes without a pause. While an answer leaves, as many of them are dropped."""
        self.sending = 0
        for byte in data:
            if self.sending:
                self.sending -= 1
            elif self.frame or byte == 0xA5:
                self.frame.append(byte)
                self.look()

    def pause(self, bits: float) -> None:
        """Nothing comes for so long."""
        self.sending = 0
        if self.frame and bits >= TIMEOUT:
            self.error(5)

    def byte_without_stop(self) -> None:
        if self.frame:
            self.error(5)

    def reply(self, kind: int, payload: bytes) -> None:
        sequence = self.frame[2] if len(self.frame) > 2 else 0
        body = struct.pack("<BBBH", 1, sequence, kind, len(payload)) + payload
        self.answer += b"\xa5" + body + struct.pack("<I", zlib.crc32(body))
        self.sending = len(payload) + 10
        self.frame.clear()

    def error(self, code: int) -> None:
        self.reply(0xFF, bytes([code, self.frame[3] if len(self.frame) > 3 else 0]))

    def look(self) -> None:
        if len(self.frame) < 6:
            return
        _, version, _, kind, length = struct.unpack_from("<BBBBH", self.frame)
        if len(self.frame) == 6:
            if version != 1:
                self.error(4)
            elif not 1 <= kind <= 6:
                self.error(3)
            elif length != (self.image_bytes if kind == 2 else 0):
                self.error(2)
        elif len(self.frame) == length + 10:
            (crc,) = struct.unpack("<I", self.frame[-4:])
            if zlib.crc32(self.frame[1:-4]) != crc:
                self.error(1)
            else:
                self.carry_out(kind, bytes(self.frame[6:-4]), crc)

    def carry_out(self, kind: int, payload: bytes, crc: int) -> None:
        if kind == 1:
            self.reply(0x81, self.identity())
        elif kind == 6:
            self.forget()
            self.reply(0x86, b"")
        elif kind in (2, 3) and not self.ready:
            self.error(8)
        elif kind == 2:
            self.network, self.image_tag, self.result = self.unpack(payload), crc, None
            self.reply(0x82, b"")
        elif kind == 3 and self.network is None:
            self.error(6)
        elif kind == 3:
            self.run()
            self.reply(0x83, b"")
        elif self.result is None:
            self.error(7)
        else:
            self.reply(kind | 0x80, self.result if kind == 4 else self.result[:16])

    def run(self) -> None:
        assert self.network is not None
        done = self.golden.infer(self.network)
        self.network = None
        tag, label = self.image_tag ^ self.wrong_tag, done.label + self.wrong_label
        words = struct.pack("<4I", tag, label, done.counters.cycles, done.counters.events)
        self.result = words + struct.pack(f"<{len(done.logits)}i", *done.logits)

    def unpack(self, payload: bytes) -> np.ndarray:
        spec = self.plan.network.spec
        number, mask = int.from_bytes(payload, "little"), (1 << spec.input_bits) - 1
        assert number >> spec.input_bits * spec.input_size == 0  # zeros after the pixels
        pixels = [number >> spec.input_bits * n & mask for n in range(spec.input_size)]
        return np.array(pixels, dtype=np.uint8)


class TwinLine:
    """A transport to a twin. `damage_request` and `damage_answer` turn what is sent into what
    arrives; `late` answers are held back until the line was read in vain."""

    def __init__(self, twin: DeviceTwin) -> None:
        self.twin = twin
        self.damage_request: Damage = bytes
        self.damage_answer: Damage = bytes
        self.late = False
        self.held = bytearray()
        self.arrived = bytearray()
        self.closed = False
        self.time = 0.0

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.twin.burst(self.damage_request(data))
        self.collect()

    def collect(self) -> None:
        answer = self.damage_answer(bytes(self.twin.answer)) if self.twin.answer else b""
        self.twin.answer.clear()
        (self.held if self.late else self.arrived).extend(answer)

    def read(self, count: int, timeout: float) -> bytes:
        assert not self.closed
        if len(self.arrived) < count:  # time passes
            self.time += timeout
            self.twin.pause(timeout * self.twin.baud)
            self.collect()
        data = bytes(self.arrived[:count])
        del self.arrived[:count]
        if len(data) < count:  # what was held back comes after this time-out
            self.arrived += self.held
            self.held.clear()
        return data

    def discard(self) -> None:
        self.arrived.clear()

    def close(self) -> None:
        self.closed = True
