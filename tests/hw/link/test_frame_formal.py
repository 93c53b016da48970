"""Ring 2: frames of the host link as `docs/link.md` has them (see `tests.hw.proving`), by
induction, for byte streams of any length.

* FrameCheck: what it says of any bytes is their CRC-32, worked out here from the polynomial; `good`
  is the CRC's residue, and (for any CRC and any four bytes) that is left by the CRC itself alone.
* FrameReceiver: of any bytes, damaged ones and pauses, and whenever it listens: a frame is
  accepted, in the cycle of the law, exactly if its header, its length and its CRC are right; of
  each other one what is wrong with it is said, once; what is between frames is dropped; the next
  frame is told as if nothing had been before it.
* FrameSender: any frame leaves byte by byte as the table has it, each byte once, its payload as it
  was fetched, whatever the receiver's pace.

Lengths of payloads 0, 2 and 258 (received), up to 3 (sent); time-outs 12 and 21 cycles.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from amaranth.hdl import Array, C, Cat, Mux, Signal, Value

from hw.contract.link import CRC_BYTES, HEADER_BYTES, SYNC, VERSION, ErrorCode
from hw.link import checksum, frame
from hw.stream.payloads import transfer
from tests.hw.proving import Harness, broken, induction, mutant, refuted

POLYNOMIAL = 0xEDB88320
"""Of IEEE 802.3, the lowest power in the highest bit."""

RESIDUE = 0xDEBB20E3
"""In the register when a CRC follows what it is of."""

CYCLES = checksum.FrameCheck.CYCLES


def add_bit(register: Any, bit: Any) -> Any:
    """What is in the register after a bit: of numbers, and of signals."""
    if isinstance(register, int):
        return register >> 1 ^ (POLYNOMIAL if (register ^ bit) & 1 else 0)
    return (register >> 1) ^ Mux(register[0] ^ bit, POLYNOMIAL, 0)


class Law:
    """`value`: the CRC register of the bytes so far, worked out bit by bit, for the solver is no
    friend of a byte's equations; `more`: bits of the last byte that are not in it yet. `name`:
    of the FrameCheck that follows it all the way."""

    def __init__(self, h: Harness, name: str, start: Value, valid: Value, byte: Value) -> None:
        m = h.m
        self.value, self.last, self.more = Signal(32, init=-1), Signal(8), Signal(range(CYCLES))
        with m.If(start):
            m.d.sync += [self.value.eq(-1), self.more.eq(0)]
        with m.Elif(valid):
            m.d.sync += [self.last.eq(byte), self.more.eq(8)]
        with m.Elif(self.more != 0):
            bit = self.last.bit_select((8 - self.more)[:3], 1)
            m.d.sync += [self.value.eq(add_bit(self.value, bit)), self.more.eq(self.more - 1)]
        if not name:
            return
        # Where the component stands. `bits` is a register that Amaranth leaves without a name.
        bits = h.within(f"{name}.$signal", 8)
        h.helps((self.more <= 8) & (h.within(f"{name}.left", 4) == self.more))
        h.helps(h.within(f"{name}.crc", 32) == ~self.value)
        for n in range(8):
            h.helps((self.more != 8 - n) | (bits[: 8 - n] == self.last[n:]))


def crc(module: ModuleType) -> Harness:
    h = Harness()
    h.m.submodules.dut = dut = module.FrameCheck()
    h.drives(dut)
    h.given(~dut.valid | ~dut.busy)
    law = Law(h, "dut", dut.start, dut.valid, dut.byte)
    h.always(dut.busy == (law.more != 0))
    h.always(dut.busy | (dut.crc == ~law.value))
    h.always(dut.busy | (dut.good == (law.value == RESIDUE)))
    return h


def test_the_residue_is_left_by_the_crc_alone() -> None:
    """Four bytes are added to a register by a map that is linear but for what it makes of zeros:
    it is known from what it makes of single bits, and one to one in the bytes if they are
    independent. So of any register one number of four bytes leaves the residue: its CRC."""

    def after(register: int, four: int) -> int:
        for n in range(32):
            register = add_bit(register, four >> n & 1)
        return register

    ones = 0xFFFFFFFF
    assert after(0, 0) == 0
    images = [after(0, 1 << n) for n in range(32)]
    assert [after(1 << n, 0) for n in range(32)] == images  # of the sum of both, that is
    assert after(0, ones) == RESIDUE
    found: list[int] = []
    for image in images:
        for pivot in found:
            image = min(image, image ^ pivot)
        assert image
        found.append(image)


NAMES = (
    (
        "broken = Signal(range(self._timeout))",
        'broken = Signal(range(self._timeout), name="patience")',
    ),
    ("known, length = Signal(), Signal(16)", 'known, length = Signal(name="known"), Signal(16)'),
    ("place, sent = Signal(3)", 'place, sent = Signal(3, name="place")'),
    ("version, fits = Signal(), Signal()", 'version, fits = Signal(name="version"), Signal()'),
)
"""For the helper invariants: what tuples of Signals leave without names."""

LENGTHS = {1: 0, 7: 2, 9: 258}
HUNT, HEADER, JUDGE, BODY, VERDICT = range(5)


def receiver(module: ModuleType, timeout: int) -> Harness:
    h = Harness()
    m = h.m
    m.submodules.dut = dut = module.FrameReceiver(LENGTHS, timeout)
    h.drives(dut)
    byte, valid = dut.i.payload, dut.i.valid
    # Bytes and faults come no closer than the law has it.
    pause = Signal(range(CYCLES + 1), init=CYCLES)
    m.d.sync += pause.eq(Mux(valid | dut.fault, 0, pause + (pause < CYCLES)))
    h.given(~(valid & dut.fault))
    h.given(~(valid | dut.fault) | (pause == CYCLES))

    # The frame: which part of it; bytes of that part; cycles since the last byte; what came.
    phase, count, since = Signal(3), Signal(9), Signal(range(timeout + 1))
    header = [Signal(8, name=f"header{n}") for n in range(5)]
    version, sequence, kind, *length = header
    told, known = Signal(16), Signal()
    fed = valid & (phase != HUNT)
    law = Law(h, "dut.crc", phase == HUNT, fed, byte)
    with m.Switch(kind):
        for number, value in LENGTHS.items():
            with m.Case(number):
                m.d.comb += [known.eq(1), told.eq(value)]
    late = ~valid & (dut.fault | (since == timeout))
    done, error = Signal(name="done_law"), Signal(4, name="error_law")
    opened, payload, check = (Signal(name=f"{n}_law") for n in ("opened", "payload", "check"))
    m.d.sync += since.eq(Mux(valid, 1, since + (since < timeout)))
    with m.If(fed):
        m.d.sync += count.eq(count + 1)
    with m.Switch(phase):
        with m.Case(HUNT), m.If(valid & dut.listen & (byte == SYNC)):
            m.d.sync += [phase.eq(HEADER), count.eq(0)]
            m.d.sync += [value.eq(0) for value in header]
        with m.Case(HEADER):
            with m.If(valid):
                m.d.sync += Array(header)[count].eq(byte)
                with m.If(count == 4):
                    m.d.sync += phase.eq(JUDGE)
            with m.Elif(late):
                m.d.comb += [done.eq(1), error.eq(ErrorCode.TRUNCATED)]
        with m.Case(JUDGE):
            m.d.sync += [phase.eq(BODY), count.eq(0)]
            with m.If(version != VERSION):
                m.d.comb += [done.eq(1), error.eq(ErrorCode.VERSION)]
            with m.Elif(~known):
                m.d.comb += [done.eq(1), error.eq(ErrorCode.COMMAND)]
            with m.Elif(Cat(length) != told):
                m.d.comb += [done.eq(1), error.eq(ErrorCode.LENGTH)]
            with m.Else():
                m.d.comb += opened.eq(1)
        with m.Case(BODY):
            m.d.comb += [payload.eq(valid & (count < told)), check.eq(valid & (count >= told))]
            with m.If(check & (count == told + CRC_BYTES - 1)):
                m.d.sync += phase.eq(VERDICT)
            with m.Elif(late):
                m.d.comb += [done.eq(1), error.eq(ErrorCode.TRUNCATED)]
        with m.Case(VERDICT), m.If(since == CYCLES):
            m.d.comb += [done.eq(1), error.eq(Mux(law.value == RESIDUE, 0, ErrorCode.CRC))]
    with m.If(done):
        m.d.sync += phase.eq(HUNT)
    for ours, its in (
        (done, dut.done),
        (opened, dut.opened),
        (payload, dut.payload),
        (check, dut.check),
        (sequence, dut.sequence),
        (kind, dut.kind),
    ):
        h.always(ours == its)
    h.always(~done | (dut.error == error))
    h.always(~check | (dut.place == count - told))

    # Where the component's registers stand.
    state, place, patience = (
        h.within(f"dut.{name}", bits)
        for name, bits in (("fsm_state", 3), ("place", 3), ("patience", range(timeout)))
    )
    counted = h.within("dut.count", 9)
    h.helps(phase <= VERDICT)
    h.helps((phase == HUNT) | ((since >= 1) & (since <= timeout) & (patience == since - 1)))
    h.helps((phase == HUNT) | (since > CYCLES) | (pause == since - 1))
    h.helps((phase == HUNT) | (since <= CYCLES) | (pause <= CYCLES))
    added = (phase >= JUDGE) | ((phase == HEADER) & (count > 0))
    h.helps((phase == HUNT) | (law.more == Mux(added & (since < CYCLES), CYCLES - since, 0)))
    h.helps((phase != HUNT) | (state == 0))
    in_header = (state == 1) & (count < 5) & (place == count)
    h.helps((phase != HEADER) | in_header)
    for n in range(5):
        h.helps((phase != HEADER) | (count > n) | (header[n] == 0))
    its_version, its_known, its_length, its_fits = (
        h.within(f"dut.{name}", bits)
        for name, bits in (("version", 1), ("known", 1), ("length", 16), ("fits", 1))
    )
    headed = (phase >= JUDGE) | ((phase == HEADER) & ((count > 3) | ((count == 3) & (since > 1))))
    h.helps(~headed | ((its_known == known) & (its_length == told)))
    h.helps(
        ~((phase >= JUDGE) | (count > 0)) | (phase == HUNT) | (its_version == (version == VERSION))
    )
    low = length[0] == told[:8]
    h.helps((phase != HEADER) | (its_fits == ((count < 4) | low)))
    h.helps((phase != JUDGE) | ((state == 2) & (since == 1) & (count == 5)))
    h.helps((phase != JUDGE) | (its_fits == (Cat(length) == told)))
    right = (version == VERSION) & known & (Cat(length) == told)
    h.helps((phase < BODY) | right)
    paid, turning = count < told, (count == told) & (state == 3) & (since <= 2)
    checking = (count >= told) & (state == 4) & (place == count - told)
    body = (counted == Mux(paid, count, told)) & (count < told + CRC_BYTES)
    waits = (paid & (state == 3)) | (turning & (place == 0)) | (checking & (since >= 1))
    h.helps((phase != BODY) | (body & waits & (~paid | (place == 0))))
    h.helps((phase != VERDICT) | ((state == 5) & (since <= CYCLES)))
    h.helps((phase >= BODY) | (counted == 0) | (phase == HUNT))
    return h


MOST = 3
"""Bytes of the longest payload sent."""


def sender(module: ModuleType) -> Harness:
    h = Harness()
    m = h.m
    m.submodules.dut = dut = module.FrameSender(MOST)
    h.drives(dut)
    contents = h.fixed(8 * MOST, "contents")
    total = HEADER_BYTES + CRC_BYTES + dut.length
    # Bytes that have left of the frame under way; cycles since the last one did.
    # (the first, which is in no CRC, is followed at once).
    active, sent = Signal(), Signal(range(MOST + 11))
    since = Signal(range(CYCLES + 1), init=CYCLES)
    leaves = transfer(dut.o)
    m.d.sync += since.eq(Mux(leaves, 1, since + (since < CYCLES)))
    with m.If(~active):
        m.d.sync += [active.eq(dut.start), sent.eq(0)]
    with m.Elif(dut.done):
        m.d.sync += active.eq(0)
    with m.Else():
        m.d.sync += sent.eq(sent + leaves)
        with m.If(sent == 0):
            m.d.sync += since.eq(CYCLES)
    # The fields stand; the payload is there `FETCH_CYCLES` after its index.
    fields = Cat(dut.sequence, dut.kind, dut.length)
    before, stand = Signal(len(fields), name="fields_before"), Signal()
    m.d.sync += [before.eq(fields), stand.eq(active & ~dut.done)]
    h.given(~stand | (fields == before))
    h.given(dut.length <= MOST)
    index_before, fetched = Signal.like(dut.index, name="index_before"), Signal(range(CYCLES))
    reading = Mux(
        dut.index != index_before, 0, fetched + (fetched < module.FrameSender.FETCH_CYCLES)
    )
    m.d.sync += [index_before.eq(dut.index), fetched.eq(reading)]
    asked = contents.word_select(dut.index[:2], 8)
    h.given((reading < module.FrameSender.FETCH_CYCLES) | (dut.data == asked))

    # What leaves.
    place = sent - HEADER_BYTES
    in_payload = (sent >= HEADER_BYTES) & (place < dut.length)
    in_crc = (sent >= HEADER_BYTES) & (place >= dut.length) & (sent < total)
    added = active & leaves & (sent > 0) & ~in_crc
    law = Law(h, "", (sent == 0) | ~active, added, dut.o.payload)
    number = (place - dut.length)[:2]
    header = [C(SYNC, 8), C(VERSION, 8), dut.sequence, dut.kind, dut.length | C(0, 8), C(0, 8)]
    with_crc = (~law.value).word_select(number, 8)
    byte = Mux(in_payload, contents.word_select(place[:2], 8), with_crc)
    expected = Mux(sent < HEADER_BYTES, Array(header)[sent], byte)
    h.always(dut.o.valid == (active & (sent < total) & (since == CYCLES)))
    h.always(~dut.o.valid | (dut.o.payload == expected))
    h.always(dut.done == (active & (sent == total) & dut.o.ready))

    # Where the component's registers stand.
    state, at = h.within("dut.fsm_state", 2), h.within("dut.place", 3)
    register, bits = ~h.within("dut.crc.crc", 32), h.within("dut.crc.$signal", 8)
    left = h.within("dut.crc.left", 4)
    h.helps((since >= 1) & (since <= CYCLES) & (left == CYCLES - since))
    h.helps(~active | (sent <= total))
    h.helps(~active | (sent != 1) | (since == CYCLES))
    h.helps(fetched < CYCLES)
    h.helps(active == (state != 0))
    h.helps(~active | (sent != 0) | law.value.all())
    in_header = active & (sent < HEADER_BYTES)
    h.helps(~in_header | ((state == 1) & (at == sent) & (dut.index == 0)))
    paid = active & (sent >= HEADER_BYTES) & (place < dut.length)
    h.helps(~paid | ((state == 2) & (at == 0) & (dut.index == place)))
    turns = active & (sent >= HEADER_BYTES) & (place == dut.length)
    turned = Mux(since == 1, state == 2, state == 3) & (at == 0) & (dut.index == dut.length)
    h.helps(~turns | turned)
    over = active & (sent >= HEADER_BYTES) & (place > dut.length)
    h.helps(~over | ((state == 3) & (at == place - dut.length)))
    h.helps(~(in_header & (sent > 1) | paid) | (reading >= since - 1))
    open_ = active & (sent > 0) & ~over
    h.helps(law.more == Mux(open_ & (sent > 1), CYCLES - since, 0))
    h.helps(~open_ | (register == law.value))
    for n in range(9):
        h.helps(~(open_ & (law.more == 8 - n)) | (bits[: 8 - n] == law.last[n:]))
        h.helps(~over | (left != n) | (bits[:n] == register[:n]))
    for k in range(1, CRC_BYTES + 1):
        for n in range(9):
            here = over & (at == k) & (left == n)
            h.helps(~here | (register == law.value >> 8 * k - n))
    return h


CONTRACTS = {
    "crc": (lambda module: crc(module), checksum, ()),
    "receiver": (lambda module: receiver(module, 12), frame, NAMES),
    "receiver-21": (lambda module: receiver(module, 21), frame, NAMES),
    "sender": (sender, frame, NAMES),
}


@pytest.mark.parametrize(
    "contract",
    [*("crc", "receiver", "sender"), pytest.param("receiver-21", marks=pytest.mark.long)],
)
def test_frames(contract: str, tmp_path: Path) -> None:
    make, module, names = CONTRACTS[contract]
    assert induction(make(mutant(module, *names)), tmp_path)


MUTANTS = {
    "crc": [
        ("left.eq(8)", "left.eq(7)"),
        ("bits.eq(bits[1:])", "bits.eq(bits.rotate_left(1))"),
        ("with m.If(self.start)", "with m.If(self.start & ~self.valid)"),
        ("ResetInserter(self.start)", "ResetInserter(self.start & ~self.busy)"),
        ("self.good.eq(crc.match_detected)", "self.good.eq(crc.crc == 0)"),
    ],
    "receiver": [
        ("byte == SYNC", "byte[1:] == SYNC >> 1"),
        ("broken.eq(self.fault | expired)", "broken.eq(self.fault)"),
        ("broken.eq(self.fault | expired)", "broken.eq(expired)"),
        ("& self.listen ", ""),
        ("[self.sequence.eq(0), self.kind.eq(0)]", "self.kind.eq(0)"),
        ("self.kind.eq(0)]", "self.kind.eq(self.kind)]"),
        ("patience.eq(Mux(valid, 0, patience + 1))", "patience.eq(patience + 1)"),
        ("version.eq(byte == VERSION)", "version.eq(byte[:7] == VERSION)"),
        ("fits.eq(fits & (byte == length[8:]))", "fits.eq(byte == length[8:])"),
        ("with m.Elif(~fits)", "with m.Elif(0)"),
        ("with m.Elif(~known)", "with m.Elif(0)"),
    ],
    "sender": [
        ("self.sequence, self.kind, length[:8]", "self.kind, self.sequence, length[:8]"),
        ("C(VERSION, 8), self", "C(VERSION + 1, 8), self"),
        ("length[8:]]", "length[:8]]"),
    ],
}


@broken(MUTANTS)
def test_a_broken_link_is_refuted(
    contract: str, changes: list[tuple[str, str]], tmp_path: Path
) -> None:
    make, module, _ = CONTRACTS[contract]
    deep = {"crc": 12, "receiver": 72, "sender": 44}[contract]
    assert bool(changes) == refuted(make(mutant(module, *changes)), tmp_path, deep)


DEEP = {
    "receiver": [
        ("finish(Mux(crc.good, 0, ErrorCode.CRC))", "finish(0)"),
        ("with m.If(place == CRC_BYTES - 1)", "with m.If(place == CRC_BYTES - 2)"),
        ("with m.If(count == length)", "with m.If(count == length[:1])"),
        ("m.d.comb += crc.start.eq(1)", "m.d.comb += crc.start.eq(~self.i.valid)"),
        ("count.eq(0), fits", "fits"),
    ],
    "sender": [
        ("self.index.eq(self.index + sent)", "self.index.eq(self.index + 1)"),
        ("crc.start.eq(place == 0)", "crc.start.eq(0)"),
        ("~crc.crc[:8]", "crc.crc[:8]"),
        ("self.done.eq(over & self.o.ready)", "self.done.eq(over)"),
        ("over = place == CRC_BYTES", "over = place == CRC_BYTES - 1"),
        ("self.o.valid.eq(~crc.busy & ~over)", "self.o.valid.eq(~over)"),
        ("[place.eq(0), self.index.eq(0)]", "[place.eq(0)]"),
    ],
}


@pytest.mark.long
@pytest.mark.parametrize(
    ("contract", "change"), [(name, change) for name, changes in DEEP.items() for change in changes]
)
def test_a_fault_behind_a_whole_frame_is_not_proven(
    contract: str, change: tuple[str, str], tmp_path: Path
) -> None:
    """To find a run of a hundred cycles through a CRC takes too long; the proof fails."""
    make, module, names = CONTRACTS[contract]
    assert not induction(make(mutant(module, *names, change)), tmp_path)
