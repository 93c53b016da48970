"""Frames of the host link (`docs/link.md`): taken apart from bytes, put together to bytes."""

from collections.abc import Mapping

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.checks import SpecError
from hw.contract.link import CRC_BYTES, LENGTH_MAX, SYNC, VERSION, ErrorCode
from hw.link.checksum import FrameCheck
from hw.stream.payloads import transfer

__all__ = ["FrameReceiver", "FrameSender", "check_length"]


def check_length(what: str, length: int) -> None:
    """Refuse a payload that a frame cannot carry."""
    if not 0 <= length <= LENGTH_MAX:
        raise SpecError(f"{what} must have at most {LENGTH_MAX} bytes, not {length!r}")


class FrameReceiver(wiring.Component):
    """Finds frames in bytes, says of each whether it is right, and what is wrong with it.

    What comes between frames is dropped, and so is everything while `listen` is low. `sequence`
    and `kind` stand until the next frame; what has not been received of them is 0.

    Cycle law: `opened`, or `done` with LENGTH, COMMAND or VERSION, comes 1 cycle after the header's
    last byte; `done` with TRUNCATED in the cycle of `fault`, or `timeout` cycles after the last
    byte; otherwise `FrameCheck.CYCLES` cycles after the frame's last byte. Bytes come at least
    `FrameCheck.CYCLES + 1` cycles apart.

    Parameters
    ----------
    lengths
        Bytes of payload of each kind of frame there is.
    timeout
        Cycles.

    Members
    -------
    i : In(stream of 8 bits, always ready)
    fault : In(1)
        A byte came damaged, and so not through `i`.
    listen : In(1)
        Frames are wanted; looked at between frames.
    sequence, kind : Out(8)
    opened : Out(1)
        The header is right; the payload follows.
    payload, check : Out(1)
        The byte in `i` belongs to the payload, or to the CRC.
    place : Out(3)
        With `check`: which byte of the CRC.
    done : Out(1)
        The frame is over.
    error : Out(4)
        With `done`: 0, or the `ErrorCode`.
    """

    i: stream.Interface
    fault: Signal
    listen: Signal
    sequence: Signal
    kind: Signal
    opened: Signal
    payload: Signal
    check: Signal
    place: Signal
    done: Signal
    error: Signal

    def __init__(self, lengths: Mapping[int, int], timeout: int) -> None:
        for kind, length in lengths.items():
            check_length(f"Frame of kind {kind}", length)
        self._lengths, self._timeout = dict(lengths), timeout
        super().__init__(
            {
                "i": In(stream.Signature(8, always_ready=True)),
                "fault": In(1),
                "listen": In(1),
                "sequence": Out(8),
                "kind": Out(8),
                "opened": Out(1),
                "payload": Out(1),
                "check": Out(1),
                "place": Out(3),
                "done": Out(1),
                "error": Out(4),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.crc = crc = FrameCheck()
        byte, valid = self.i.payload, self.i.valid
        # What the kind asks for: in registers, for it stands a byte before it is looked at.
        known, length = Signal(), Signal(16)
        m.d.sync += [known.eq(0), length.eq(0)]
        with m.Switch(self.kind):
            for kind, value in self._lengths.items():
                with m.Case(kind):
                    m.d.sync += [known.eq(1), length.eq(value)]

        patience, expired, broken = Signal(range(self._timeout)), Signal(), Signal()
        place, count = self.place, Signal(range(max(self._lengths.values()) + 1))
        version, fits = Signal(), Signal()  # right so far
        m.d.comb += [
            expired.eq(patience == self._timeout - 1),
            broken.eq(self.fault | expired),
            crc.valid.eq(valid),
            crc.byte.eq(byte),
        ]
        m.d.sync += patience.eq(Mux(valid, 0, patience + 1))

        def finish(error) -> None:
            m.d.comb += [self.done.eq(1), self.error.eq(error)]
            m.next = "HUNT"

        with m.FSM():
            with m.State("HUNT"):
                m.d.sync += [place.eq(0), count.eq(0), fits.eq(1)]
                m.d.comb += crc.start.eq(1)
                with m.If(valid & self.listen & (byte == SYNC)):
                    m.d.sync += [self.sequence.eq(0), self.kind.eq(0)]
                    m.next = "HEADER"
            with m.State("HEADER"):
                with m.If(valid):
                    m.d.sync += place.eq(place + 1)
                    with m.Switch(place):
                        with m.Case(0):
                            m.d.sync += version.eq(byte == VERSION)
                        with m.Case(1):
                            m.d.sync += self.sequence.eq(byte)
                        with m.Case(2):
                            m.d.sync += self.kind.eq(byte)
                        with m.Case(3):
                            m.d.sync += fits.eq(byte == length[:8])
                        with m.Case(4):
                            m.d.sync += fits.eq(fits & (byte == length[8:]))
                            m.next = "JUDGE"
                with m.Elif(broken):
                    finish(ErrorCode.TRUNCATED)
            with m.State("JUDGE"):
                m.d.sync += place.eq(0)
                with m.If(~version):
                    finish(ErrorCode.VERSION)
                with m.Elif(~known):
                    finish(ErrorCode.COMMAND)
                with m.Elif(~fits):
                    finish(ErrorCode.LENGTH)
                with m.Else():
                    m.d.comb += self.opened.eq(1)
                    m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                with m.If(count == length):
                    m.next = "CHECK"
                with m.Elif(valid):
                    m.d.comb += self.payload.eq(1)
                    m.d.sync += count.eq(count + 1)
                with m.Elif(broken):
                    finish(ErrorCode.TRUNCATED)
            with m.State("CHECK"):
                with m.If(valid):
                    m.d.comb += self.check.eq(1)
                    m.d.sync += place.eq(place + 1)
                    with m.If(place == CRC_BYTES - 1):
                        m.next = "VERDICT"
                with m.Elif(broken):
                    finish(ErrorCode.TRUNCATED)
            with m.State("VERDICT"), m.If(~crc.busy):
                finish(Mux(crc.good, 0, ErrorCode.CRC))
        return m


class FrameSender(wiring.Component):
    """Sends a frame; its payload is fetched byte by byte.

    Parameters
    ----------
    length_max
        Bytes of payload.

    Members
    -------
    start : In(1)
        Send a frame of these fields, which stand from the next cycle until `done`:
    sequence, kind, length : In
    index : Out
        Which byte of the payload is wanted in `data`, at the latest `FETCH_CYCLES` later.
    data : In(8)
    done : Out(1)
        The receiver of `o` has taken the last byte, and would take another.
    o : Out(stream of 8 bits)
        A byte every `FrameCheck.CYCLES` cycles, or slower.
    """

    FETCH_CYCLES = FrameCheck.CYCLES - 1

    start: Signal
    sequence: Signal
    kind: Signal
    length: Signal
    index: Signal
    data: Signal
    done: Signal
    o: stream.Interface

    def __init__(self, length_max: int) -> None:
        check_length("Answer", length_max)
        self._length_max = length_max
        super().__init__(
            {
                "start": In(1),
                "sequence": In(8),
                "kind": In(8),
                "length": In(range(length_max + 1)),
                "index": Out(range(length_max + 1)),
                "data": In(8),
                "done": Out(1),
                "o": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.crc = crc = FrameCheck()
        place, sent = Signal(3), transfer(self.o)
        length = self.length | C(0, 16)
        header = [C(SYNC, 8), C(VERSION, 8), self.sequence, self.kind, length[:8], length[8:]]
        m.d.comb += [crc.byte.eq(self.o.payload), crc.valid.eq(sent)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [place.eq(0), self.index.eq(0)]
                with m.If(self.start):
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += [
                    self.o.valid.eq(~crc.busy),
                    self.o.payload.eq(Cat(header).word_select(place, 8)),
                    crc.start.eq(place == 0),  # SYNC is not in the CRC
                ]
                with m.If(sent):
                    m.d.sync += place.eq(place + 1)
                    with m.If(place == len(header) - 1):
                        m.d.sync += place.eq(0)
                        m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += self.o.payload.eq(self.data)
                with m.If(self.index == self.length):
                    m.next = "CHECK"
                with m.Else():
                    m.d.comb += self.o.valid.eq(~crc.busy)
                    m.d.sync += self.index.eq(self.index + sent)
            with m.State("CHECK"):
                # A CRC register that is fed the bits that leave it has nothing to fold back: it
                # moves on by a byte, and the next byte of the CRC comes to the low end.
                over = place == CRC_BYTES
                m.d.comb += [
                    self.o.valid.eq(~crc.busy & ~over),
                    self.o.payload.eq(crc.crc[:8]),
                    crc.byte.eq(~crc.crc[:8]),
                    self.done.eq(over & self.o.ready),
                ]
                m.d.sync += place.eq(place + sent)
                with m.If(self.done):
                    m.next = "IDLE"
        return m
