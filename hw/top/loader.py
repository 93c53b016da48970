"""Weight loader: from the bytes of a flash image into the weight RAMs of a core."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from hw.memory.rom import WeightRom
from hw.stream.payloads import load_layout, transfer

__all__ = ["DIGEST_BYTES", "DIGEST_ROWS", "MAGIC", "DigestReader", "LoadPart", "WeightLoader"]

MAGIC = b"STRN"
DIGEST_BYTES = 32
DIGEST_WORDS = DIGEST_BYTES // 4
DIGEST_ROWS = 64
"""Rows of the digest's ROM, of 32 bits: enough to be told from other ROMs when they are swapped."""


@dataclass(frozen=True, kw_only=True)
class LoadPart:
    """A weight RAM: bits per row, rows. Each row takes whole bytes in the flash image."""

    width: int
    depth: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return -(-self.width // 8)


class WeightLoader(wiring.Component):
    """Reads a flash image once and says whether it is there and whole.

        MAGIC, digest of the network, the rows of each part in turn (big-endian), CRC-32 of all that
        comes before (little-endian)

    `ready` or `fault` rises after the last byte and stays. With a wrong magic, too, it is then
    that `fault` rises: the bytes are counted through all the same.

    Takes a byte per cycle.

    Parameters
    ----------
    parts
        The weight RAMs, in the order of the core's `load` port.

    Members
    -------
    i : In(stream of 8 bits)
    load : Out(load_layout(parts))
        Writes one row in the cycle of `en`.
    digest_en, digest_addr, digest_data : Out
        Word 0..7 of the digest.
    ready, fault : Out
    """

    i: stream.Interface
    load: data.View
    digest_en: Signal
    digest_addr: Signal
    digest_data: Signal
    ready: Signal
    fault: Signal

    def __init__(self, parts: Sequence[LoadPart]) -> None:
        self._parts = list(parts)
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "load": Out(load_layout([(p.width, p.depth) for p in parts])),
                "digest_en": Out(1),
                "digest_addr": Out(3),
                "digest_data": Out(32),
                "ready": Out(1),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        crc: Any = CRC32_ISO_HDLC(data_width=8).create()
        m.submodules.crc = crc
        widest = max(p.row_bytes for p in self._parts)
        taken, wrong = transfer(self.i), Signal()
        row = Signal(max(8 * widest, 32))
        byte = Signal(range(max(widest, DIGEST_BYTES)))
        part = Signal(range(len(self._parts)))
        address = Signal(range(max(p.depth for p in self._parts)))

        m.d.comb += [crc.data.eq(self.i.payload), crc.valid.eq(taken)]
        # The digest's words are little-endian: the mailbox's bytes leave the lowest first.
        m.d.comb += self.digest_data.eq(Cat(row.word_select(k, 8) for k in reversed(range(4))))
        whole = Signal()  # the CRC of an image and its own CRC is a constant
        m.d.comb += [self.load.data.eq(row), whole.eq(~wrong & crc.match_detected)]
        m.d.sync += [self.digest_en.eq(0), self.load.en.eq(0)]
        with m.If(taken):
            m.d.sync += [row.eq(Cat(self.i.payload, row)), byte.eq(byte + 1)]
        with m.FSM():
            with m.State("MAGIC"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(taken):
                    expected = Array(MAGIC)[byte[:2]]
                    m.d.sync += wrong.eq(wrong | (self.i.payload != expected))
                    with m.If(byte == len(MAGIC) - 1):
                        m.d.sync += byte.eq(0)
                        m.next = "DIGEST"
            with m.State("DIGEST"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(taken & (byte[:2] == 3)):
                    m.d.sync += [self.digest_en.eq(1), self.digest_addr.eq(byte[2:5])]
                    with m.If(byte == DIGEST_BYTES - 1):
                        m.d.sync += byte.eq(0)
                        m.next = "ROWS"
            with m.State("ROWS"):
                m.d.comb += self.i.ready.eq(1)
                last_byte = Array(p.row_bytes - 1 for p in self._parts)[part]
                last_row = Array(p.depth - 1 for p in self._parts)[part]
                with m.If(taken & (byte == last_byte)):
                    m.d.sync += [
                        self.load.en.eq(1),
                        self.load.part.eq(part),
                        self.load.address.eq(address),
                        byte.eq(0),
                        address.eq(Mux(address == last_row, 0, address + 1)),
                    ]
                    with m.If(address == last_row):
                        m.d.sync += part.eq(part + 1)
                        with m.If(part == len(self._parts) - 1):
                            m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(taken & (byte == 3)):
                    m.next = "VERDICT"
            with m.State("VERDICT"):
                m.d.sync += [self.fault.eq(~whole), self.ready.eq(whole)]
                m.next = "DONE"
            with m.State("DONE"):
                pass
        return m


class DigestReader(wiring.Component):
    """Copies the digest out of its ROM after reset, for a board whose weights are in ROMs too: the
    digest is swapped along with them.

    Parameters
    ----------
    rows, file
        As of a `WeightRom` of 32 bits: words 0..7 are the digest.

    Members
    -------
    digest_en, digest_addr, digest_data : Out
        Word 0..7 of the digest.
    ready : Out
        All words were sent.
    """

    digest_en: Signal
    digest_addr: Signal
    digest_data: Signal
    ready: Signal

    def __init__(self, rows: Sequence[int], file: str | None) -> None:
        self._rows, self._file = rows, file
        super().__init__(
            {"digest_en": Out(1), "digest_addr": Out(3), "digest_data": Out(32), "ready": Out(1)}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.rom = rom = WeightRom(width=32, rows=self._rows, file=self._file)
        wait = Signal(range(WeightRom.PIPELINE_CYCLES + 1))
        m.d.comb += [
            rom.addr.eq(self.digest_addr),
            self.digest_data.eq(rom.data),
            self.digest_en.eq((wait == WeightRom.PIPELINE_CYCLES) & ~self.ready),
        ]
        with m.If(~self.ready):
            m.d.sync += wait.eq(wait + 1)
            with m.If(self.digest_en):
                m.d.sync += [wait.eq(0), self.digest_addr.eq(self.digest_addr + 1)]
                m.d.sync += self.ready.eq(self.digest_addr == DIGEST_WORDS - 1)
        return m
