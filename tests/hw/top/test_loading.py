"""Weights that are loaded at power-up: SPI flash, loader, RAMs, and a core that uses them."""

import random
import zlib
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator

from gen.board.flash_image import flash_image
from gen.core.plan import plan_core
from hw.memory.rom import WeightRom
from hw.top.loader import DIGEST_ROWS, DigestReader, LoadPart, WeightLoader
from hw.top.spi_flash import SpiFlashReader
from sim.golden.model import GoldenModel
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace
from tests.hw.layer.cores import check_results, image_words, random_pixels
from tests.networks import random_chain

PARTS = [LoadPart(width=12, depth=5), LoadPart(width=8, depth=1), LoadPart(width=33, depth=3)]


def random_rows(seed: int) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.getrandbits(part.width) for _ in range(part.depth)] for part in PARTS]


def flash_contents(rows: list[list[int]], digest: bytes) -> bytes:
    body = b"STRN" + digest
    for part, contents in zip(PARTS, rows, strict=True):
        body += b"".join(row.to_bytes(part.row_bytes, "big") for row in contents)
    return body + zlib.crc32(body).to_bytes(4, "little")


def load(data: bytes, pace: Pace):
    """Written rows (part, address, data), digest words, (ready, fault)."""
    loader = WeightLoader(PARTS)
    bench = Bench(loader, pace)
    bench.feed(loader.i, list(data))
    port = loader.load  # type: ignore[attr-defined]
    rows = bench.watch(port.en, port.part, port.address, port.data)
    words = bench.watch(loader.digest_en, loader.digest_addr, loader.digest_data)
    verdict = bench.watch(loader.ready, loader.fault)
    bench.run(extra=5)
    written = [
        (part, address, data & (1 << PARTS[part].width) - 1)  # what is above means nothing
        for en, part, address, data in rows
        if en
    ]
    return written, [seen[1:] for seen in words if seen[0]], verdict[-1]


@pytest.mark.parametrize("pace", [FLOWING, JITTERY[2]], ids=str)
def test_loader_writes_every_row(pace: Pace) -> None:
    rows, digest = random_rows(1), random.Random(2).randbytes(32)
    written, words, verdict = load(flash_contents(rows, digest), pace)
    expected = [
        (n, address, row) for n, contents in enumerate(rows) for address, row in enumerate(contents)
    ]
    assert written == expected
    assert words == [(n, int.from_bytes(digest[4 * n : 4 * n + 4], "little")) for n in range(8)]
    assert verdict == (1, 0)


def test_the_digest_comes_from_a_rom_word_by_word() -> None:
    """Each once, as often as the ROM answers; then, without a gap, it says so."""
    words = [random.Random(5).getrandbits(32) for _ in range(8)]
    reader = DigestReader([*words, *[0] * (DIGEST_ROWS - 8)], None)
    bench = Bench(reader, FLOWING)
    seen = bench.watch(reader.digest_en, reader.digest_addr, reader.digest_data, reader.ready)
    bench.run(extra=40)
    found = [(cycle, *rest) for cycle, (en, *rest) in enumerate(seen) if en]
    assert [(at, word) for _, at, word, _ in found] == [*enumerate(words)]
    assert {b[0] - a[0] for a, b in pairwise(found)} == {WeightRom.PIPELINE_CYCLES + 1}
    assert [ready for *_, ready in seen].index(1) == found[-1][0] + 1


def test_loader_refuses_every_damaged_byte() -> None:
    data = flash_contents(random_rows(3), bytes(32))
    rng = random.Random(4)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << rng.randrange(8)
        assert load(bytes(damaged), FLOWING)[2] == (0, 1), position


def test_loader_refuses_another_magic_with_a_right_crc() -> None:
    """Each of its bytes counts."""
    rng, body = random.Random(5), flash_contents(random_rows(5), bytes(32))[:-4]
    for n in range(4):
        other = bytearray(body)
        other[n] ^= 1 << rng.randrange(8)
        data = bytes(other) + zlib.crc32(other).to_bytes(4, "little")
        assert load(data, FLOWING)[2] == (0, 1), n


# The flash


RELEASE = [1, 0, 1, 0, 1, 0, 1, 1]


@dataclass
class Command:
    """What came while the chip was selected: in the cycles from `start` to before `stop`."""

    start: int
    stop: int = -1
    bits: list[int] = field(default_factory=list)


class Flash:
    """A flash in deep power-down. It hears nothing but a RELEASE, and after that nothing for `deaf`
    cycles from its deselection on; where it says nothing, ones are read."""

    def __init__(self, reader: SpiFlashReader, contents: bytes, address: int, deaf: int) -> None:
        self.reader, self.contents, self.deaf = reader, contents, deaf
        self.read = [int(bit) for bit in f"{0x03 << 24 | address:032b}"]
        self.commands: list[Command] = []

    async def play(self, ctx) -> None:
        reader, before, cycle, hears = self.reader, 0, 0, False
        ctx.set(reader.cipo, 1)
        async for *_, cs_n, clk, copi in ctx.tick().sample(reader.cs_n, reader.clk, reader.copi):
            last = self.commands[-1] if self.commands else Command(0, 0)
            if cs_n:
                assert not clk  # mode 0
                last.stop = cycle if last.stop < 0 else last.stop
            elif last.stop >= 0:
                hears = last.bits == RELEASE and cycle - last.stop >= self.deaf
                self.commands.append(last := Command(cycle))
            if clk and not before:
                last.bits.append(copi)
            if before and not clk and hears and last.bits[:32] == self.read:
                n = len(last.bits) - 32
                byte = self.contents[n // 8 % len(self.contents)]
                ctx.set(reader.cipo, byte >> (7 - n % 8) & 1)
            before, cycle = clk, cycle + 1


def read_flash(contents: bytes, *, pause: int, deaf: int = 0, stall: float = 0.0):
    """(bytes read, their cycles, commands that came) of as many bytes as there are."""
    address, rng = 0x0A0B0C, random.Random(7)
    reader = SpiFlashReader(address=address, pause=pause)
    flash = Flash(reader, contents, address, deaf)
    got: list[tuple[int, int]] = []

    async def host(ctx) -> None:
        ready = 1
        for cycle in range(60_000):
            ctx.set(reader.o.ready, ready)
            trigger = ctx.tick().sample(reader.o.valid, reader.o.ready, reader.o.payload)
            _, _, valid, taken, value = await trigger
            if valid and taken:
                got.append((value, cycle))
                if len(got) == len(contents):
                    return
            ready = int(rng.random() >= stall)
        pytest.fail("the reader never ended")

    m = Module()
    m.submodules.reader = reader
    m.d.sync += Signal().eq(0)
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(host)
    simulator.add_testbench(flash.play, background=True)
    simulator.run()
    return bytes(value for value, _ in got), [cycle for _, cycle in got], flash.commands


@pytest.mark.parametrize("stall", [0.0, 0.7])
def test_flash_reader_reads_from_its_address_on(stall: float) -> None:
    contents = random.Random(7).randbytes(40)
    got, cycles, (wake, read) = read_flash(contents, pause=30, stall=stall)
    assert got == contents
    assert wake.bits == RELEASE
    assert read.stop < 0
    gaps = {b - a for a, b in pairwise(cycles)}
    assert min(gaps) >= SpiFlashReader.BYTE_CYCLES
    if not stall:
        assert gaps == {SpiFlashReader.BYTE_CYCLES}


@pytest.mark.parametrize("pause", [2, 7, 8, 9, 30, 31, 32, 33, 150])
def test_the_flash_has_its_pause_and_no_more(pause: int) -> None:
    """Deselected for a cycle less; a flash that needs that many hears the READ, one that needs more
    does not."""
    contents = bytes([0x96, 0x5A])
    for deaf, expected in ((pause - 1, contents), (pause, b"\xff\xff")):
        got, _, (wake, read) = read_flash(contents, pause=pause, deaf=deaf)
        assert read.start - wake.stop == pause - 1
        assert got == expected


@pytest.mark.parametrize(
    ("lanes", "banks", "weight_bits", "own"),
    [
        *((4, 1, 4, False), (4, 2, 4, False), (18, 1, 4, False), (18, 2, 4, False)),
        *((18, 2, 16, False), (18, 2, 4, True), (4, 1, 4, True)),
    ],
)
def test_core_with_loaded_weights_is_golden(
    lanes: int, banks: int, weight_bits: int, own: bool
) -> None:
    """Loads through the loader while the core is held in reset, then classifies. Rows of 16 lanes
    of 16 bits are as long as a digest. Constants by channel are loaded, too."""
    rng = np.random.default_rng(lanes)
    network = random_chain(rng, (9, 18, 5), steps=2, input_bits=2, weight_bits=weight_bits, own=own)
    plan = plan_core(network, lanes, banks, ["ram", "ram"])
    core = plan.component(files=False)
    loader = WeightLoader([LoadPart(width=w, depth=d) for w, d in core.parts])
    data = flash_image(plan)
    pixels = random_pixels(network, 4, seed=1)

    class Both(wiring.Component):
        flash: Any
        i: Any
        o: Any
        ready: Signal

        def __init__(self) -> None:
            super().__init__(
                {
                    "flash": core_side(loader.i),
                    "i": core_side(core.i),
                    "o": wiring.Out(core.o.signature),
                    "ready": wiring.Out(1),
                }
            )

        def elaborate(self, platform) -> Module:
            from amaranth.hdl import ResetInserter

            m = Module()
            m.submodules.loader = loader
            m.submodules.core = ResetInserter(~loader.ready)(core)
            wiring.connect(m, wiring.flipped(self.flash), loader.i)
            wiring.connect(m, core.o, wiring.flipped(self.o))
            m.d.comb += [
                core.load.eq(loader.load),
                self.ready.eq(loader.ready),
                core.i.valid.eq(self.i.valid & loader.ready),
                core.i.payload.eq(self.i.payload),
                self.i.ready.eq(core.i.ready & loader.ready),
            ]
            return m

    both = Both()
    bench = Bench(both)
    bench.feed(both.flash, list(data))
    bench.feed(both.i, image_words(plan, pixels))  # type: ignore[attr-defined]
    sink = bench.collect(both.o, len(pixels) * 5)  # type: ignore[attr-defined]
    bench.run(extra=5)
    check_results(plan, sink, GoldenModel(network).run(pixels))


def core_side(port):
    return wiring.In(port.signature.flip())
