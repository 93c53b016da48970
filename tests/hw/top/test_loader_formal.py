"""Ring 2: the weight loader (see `tests.hw.proving`), by induction, for runs of any length.

Of any bytes, at whatever pace: each row of each part is written once, in order, at its address, in
the cycle after its last byte, as those bytes say; so is each word of the digest; nothing else is
written. `ready` rises exactly if magic and CRC are right, else `fault`, two cycles after the last
byte, and stays; no byte is taken from then on.

Rows are written as they come, before the CRC is known: it is `ready` alone, which a board waits
for, that a damaged image does not get. The CRC is Amaranth's: proven is that it is given each byte
once, and that its verdict counts (that it is zlib's, `tests.hw.top.test_loading` shows).
"""

from pathlib import Path
from types import ModuleType

import pytest
from amaranth.hdl import Array, Cat, Signal

from hw.stream.payloads import transfer
from hw.top import loader
from hw.top.loader import DIGEST_BYTES, MAGIC, LoadPart
from tests.hw.proving import Harness, broken, induction, mutant, refuted

PARTS = {
    "one": [LoadPart(width=8, depth=1)],
    "three": [LoadPart(width=3, depth=2), LoadPart(width=9, depth=3), LoadPart(width=17, depth=1)],
}
CRC_BYTES = 4
UNIT = {"valid": 1, "data": 8, "start": 1, "match_detected": 1}


def loads(module: ModuleType, parts: list[LoadPart]) -> Harness:
    h = Harness()
    m = h.m
    m.submodules.dut = dut = module.WeightLoader(parts)
    h.drives(dut)
    # What is done with each byte: state; which one of its kind; the row or word it is the last of.
    table: list[tuple[int, int, int, int, bool, bool]] = []
    for k in range(len(MAGIC)):
        table.append((0, k, 0, 0, False, False))
    for k in range(DIGEST_BYTES):
        table.append((1, k, k // 4, 0, False, k % 4 == 3))
    for number, part in enumerate(parts):
        for row in range(part.depth):
            for k in range(part.row_bytes):
                table.append((2, k, number, row, k == part.row_bytes - 1, False))
    for k in range(CRC_BYTES):
        table.append((3, k, 0, 0, False, False))
    size = len(table)
    place, judged = Signal(range(size + 1)), Signal()
    state, byte, part, address, row, word = (
        Array([*column, column[-1]])[place] for column in zip(*table, strict=True)
    )
    taken = transfer(dut.i)
    last, wrong = Signal(32), Signal(name="wrong_law")
    m.d.sync += place.eq(place + taken)
    with m.If(taken):
        m.d.sync += last.eq(Cat(dut.i.payload, last))
        with m.If(place < len(MAGIC)):
            m.d.sync += wrong.eq(wrong | (dut.i.payload != Array(MAGIC)[place]))
    m.d.sync += judged.eq(place == size)

    written, told = Signal(), Signal()
    which, where = Signal(8), Signal(8)
    m.d.sync += [written.eq(taken & row), told.eq(taken & word), which.eq(part), where.eq(address)]
    h.always(dut.i.ready == (place < size))
    h.always(dut.load.en == written)
    h.always(~written | ((dut.load.part == which) & (dut.load.address == where)))
    for number, made in enumerate(parts):
        here = written & (which == number)
        h.always(~here | (dut.load.data[: made.width] == last[: made.width]))
    h.always(dut.digest_en == told)
    h.always(~told | (dut.digest_addr == which))
    h.always(~told | (dut.digest_data == Cat(last[24 - 8 * k :][:8] for k in range(4))))
    unit = {name: h.within(f"dut.crc.{name}", bits, claimed=True) for name, bits in UNIT.items()}
    h.always(unit["valid"] == taken)
    h.always(~taken | (unit["data"] == dut.i.payload))
    h.always(~unit["start"])
    whole = ~wrong & unit["match_detected"]
    h.always(dut.ready == (judged & whole))
    h.always(dut.fault == (judged & ~whole))

    # Where the component's registers stand.
    its_state, its_byte = h.within("dut.fsm_state", 3), h.within("dut.byte", range(DIGEST_BYTES))
    its_part = h.within("dut.part", range(len(parts)))
    its_address = h.within("dut.address", range(max(p.depth for p in parts)))
    coming = place < size
    h.helps(place <= size)
    h.helps(~coming | ~judged)
    h.helps(~coming | ((its_state == state) & (its_byte == byte)))
    h.helps(coming | (its_state == 4 + judged))
    in_rows = state == 2
    h.helps(~coming | (state > 2) | (its_part == Array([0, 0, part, 0])[state]))
    h.helps(~coming | (its_address == Array([0, 0, address, 0])[state]))
    h.helps(~coming | in_rows | (its_address == 0))
    h.helps(h.within("dut.row", 32) == last)
    h.helps(h.within("dut.wrong", 1) == wrong)
    return h


@pytest.mark.parametrize("parts", PARTS)
def test_what_is_written_is_what_was_sent(parts: str, tmp_path: Path) -> None:
    assert induction(loads(loader, PARTS[parts]), tmp_path)


CONTRACTS = {"three": lambda module: loads(module, PARTS["three"])}

SMALL = ("import CRC32_ISO_HDLC", "import CRC3_GSM as CRC32_ISO_HDLC")
"""No solver looks for a run through a CRC-32 in reasonable time; which CRC it is, no claim says."""

MUTANTS = {
    "three": [
        ("byte[:2] == 3)", "byte[:2] == 2)"),
        ("wrong | (self.i.payload != expected)", "(self.i.payload != expected)"),
        ("self.digest_addr.eq(byte[2:5])", "self.digest_addr.eq(byte[:3])"),
        ("for k in reversed(range(4))", "for k in range(4)"),
        ("byte == DIGEST_BYTES - 1", "byte == DIGEST_BYTES - 5"),
        ("Array(p.row_bytes - 1 for p in self._parts)[part]", "self._parts[0].row_bytes - 1"),
        ("Array(p.depth - 1 for p in self._parts)[part]", "self._parts[0].depth - 1"),
        ("self.load.part.eq(part)", "self.load.part.eq(part + 1)"),
        ("self.load.address.eq(address)", "self.load.address.eq(address + 1)"),
        ("Mux(address == last_row, 0, address + 1)", "address + 1"),
        ("part.eq(part + 1)", "part.eq(part)"),
        ("row.eq(Cat(self.i.payload, row))", "row.eq(Cat(row[8:], self.i.payload))"),
        ("[self.digest_en.eq(0), self.load.en.eq(0)]", "[self.digest_en.eq(0)]"),
        ("whole.eq(~wrong & crc.match_detected)", "whole.eq(crc.match_detected)"),
        ("whole.eq(~wrong & crc.match_detected)", "whole.eq(~wrong)"),
        ("taken & (byte == 3)", "taken & (byte == 2)"),
        ("self.fault.eq(~whole)", "self.fault.eq(0)"),
    ]
}


@broken(MUTANTS)
def test_a_broken_one_is_refuted(
    contract: str, changes: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert bool(changes) == refuted(
        CONTRACTS[contract](mutant(loader, SMALL, *changes)), tmp_path, 60
    )
