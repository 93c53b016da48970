"""cocotb bench of a core with AXI4-Stream ports: cocotbext-axi drives it, as a user's bench would.

Run by `tests/sim/bench/test_axis.py`; network and images lie in the folder named by STERNA_BENCH,
where each test adds a line to `findings.jsonl`. What crosses the ports is recorded apart from
cocotbext-axi, half a cycle before it happens, and held against the contract of AXI4-Stream and
against what cocotbext-axi believes.
"""

import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, with_timeout
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from hw.contract.network import Network
from hw.top.axi import ERRORS
from sim.bench.job import job_folder
from sim.golden.model import GoldenModel

SHORT, LONG, LARGE = (1 << bit for bit in range(len(ERRORS)))
QUIET_CYCLES = 300
"""Cycles to watch after the last answer, for what should not come."""


class Watch:
    """Every transfer of a port, and the contract: an offer stands, unchanged, until it is taken."""

    def __init__(self, dut, prefix: str, names: Sequence[str]) -> None:
        self.valid, self.ready = (getattr(dut, f"{prefix}_t{n}") for n in ("valid", "ready"))
        self.fields = [getattr(dut, f"{prefix}_t{name}") for name in names]
        self.aresetn = dut.aresetn
        self.transfers: list[tuple[int, ...]] = []
        self.standing: tuple[int, ...] | None = None

    def look(self) -> None:
        before, self.standing = self.standing, None
        if not int(self.aresetn.value):
            return
        offer = None
        if int(self.valid.value):
            offer = tuple(int(field.value) for field in self.fields)
        assert before is None or offer == before, "an offer has moved"
        if offer is not None and int(self.ready.value):
            self.transfers.append(offer)
        else:
            self.standing = offer


class Bench:
    """Source, sink, watches and golden model of one core."""

    def __init__(self, dut) -> None:
        self.dut, self.folder = dut, job_folder()
        self.network = Network.load(self.folder / "network.npz")
        self.pixels = np.load(self.folder / "pixels.npy")
        trace = GoldenModel(self.network).run(self.pixels)
        self.logits, self.classes = trace.logits.tolist(), trace.classes.tolist()
        self.word = len(dut.s_axis_tdata) // 8
        self.size = -(-self.network.spec.input_size // self.word) * self.word
        self.random = Random(1)
        Clock(dut.aclk, 10, "ns").start()
        bound = (dut.aclk, dut.aresetn, False)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), *bound)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), *bound)
        self.fed = Watch(dut, "s_axis", ("data", "last"))
        self.told = Watch(dut, "m_axis", ("data", "user", "last"))
        self.compared = 0
        cocotb.start_soon(self._watch())

    async def _watch(self) -> None:
        while True:
            await FallingEdge(self.dut.aclk)
            self.fed.look()
            self.told.look()

    async def reset(self) -> None:
        """One cycle."""
        self.dut.aresetn.value = 0
        await RisingEdge(self.dut.aclk)
        self.dut.aresetn.value = 1

    def pause(self, idle: float, stall: float) -> None:
        """Hold back transfers, and refuse them, with these probabilities per cycle."""

        def chance(probability: float) -> Iterator[bool]:
            while True:
                yield self.random.random() < probability

        self.source.set_pause_generator(chance(idle))
        self.sink.set_pause_generator(chance(stall))

    def send(self, n: int, *, size: int = 0, large: bool = False) -> None:
        """Offer image n, of another length or with a pixel that is too large."""
        size = size or self.size
        data = self.pixels[n].tobytes().ljust(size, b"\xff")[:size]
        if large:
            data = bytes([data[0] | self.network.spec.pixel_max + 1]) + data[1:]
        self.source.send_nowait(AxiStreamFrame(data))

    async def answers(self, images: Sequence[int]) -> None:
        """Take the answers to these images, and see that nothing else comes."""
        for n in images:
            frame: Any = await with_timeout(self.sink.recv(compact=False), 1, "ms")
            logits = np.frombuffer(bytes(frame.tdata), dtype="<i4").tolist()
            assert logits == self.logits[n], f"logits of image {n}"
            assert frame.tuser[-1] == self.classes[n], f"class of image {n}"
            self.compared += len(logits) + 1
        await ClockCycles(self.dut.aclk, QUIET_CYCLES)
        assert self.sink.empty(), "a surplus answer"

    def finish(self, test: str, images: Sequence[int]) -> None:
        """Hold the recorded transfers against the images, and leave the findings."""
        packets = [self.logits[n] for n in images]
        told = [(data - (data >> 31 << 32), last) for data, _, last in self.told.transfers]
        assert told == [
            (logit, int(k == len(row) - 1)) for row in packets for k, logit in enumerate(row)
        ]
        assert [user for _, user, last in self.told.transfers if last] == [
            self.classes[n] for n in images
        ]
        line = {
            "test": test,
            "images": len(images),
            "compared": self.compared,
            "transfers": len(self.fed.transfers) + len(self.told.transfers),
        }
        with (self.folder / "findings.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


async def run_all(dut, test: str, idle: float, stall: float) -> None:
    """All images, once."""
    bench = Bench(dut)
    await bench.reset()
    if idle or stall:
        bench.pause(idle, stall)
    images = range(len(bench.pixels))
    for n in images:
        bench.send(n)
    await bench.answers(images)
    assert int(dut.error.value) == 0
    size, word = bench.network.spec.input_size, bench.word
    sent = b"".join(data.to_bytes(word, "little") for data, _ in bench.fed.transfers)
    taken = np.frombuffer(sent, dtype=np.uint8).reshape(len(images), -1)
    assert np.array_equal(taken[:, :size], bench.pixels), "transfers were lost or doubled"
    bench.finish(test, images)


@cocotb.test()
async def flowing(dut) -> None:
    await run_all(dut, "flowing", 0.0, 0.0)


@cocotb.test()
async def idle(dut) -> None:
    await run_all(dut, "idle", 0.6, 0.0)


@cocotb.test()
async def stalled(dut) -> None:
    await run_all(dut, "stalled", 0.0, 0.6)


@cocotb.test()
async def idle_and_stalled(dut) -> None:
    await run_all(dut, "idle_and_stalled", 0.3, 0.3)


@cocotb.test()
async def faults(dut) -> None:
    """Packets that are too short, too long and too bright, between good ones."""
    bench = Bench(dut)
    await bench.reset()
    bench.pause(0.2, 0.2)
    seen = 0
    good: list[int] = []
    for mark, fault in [
        (0, None),
        (SHORT, {"size": bench.word}),
        (LONG, {"size": bench.size + bench.word}),
        (LARGE, {"large": True}),
        (LONG, {"size": 5 * bench.size}),
        (SHORT, {"size": bench.size - bench.word}),
    ]:
        for _ in range(2):
            if fault is not None:
                bench.send(0, **fault)
        batch = [bench.random.randrange(len(bench.pixels)) for _ in range(3)]
        for n in batch:
            bench.send(n)
        await bench.answers(batch)
        good += batch
        seen |= mark
        assert int(dut.error.value) == seen
    bench.finish("faults", good)


@cocotb.test()
async def resets(dut) -> None:
    """A reset in the middle of everything; source and sink are reset with the core."""
    bench = Bench(dut)
    await bench.reset()
    rounds = 20
    for _ in range(rounds):
        for n in range(4):
            bench.send(n)
        await ClockCycles(dut.aclk, bench.random.randrange(1, 400))
        bench.source.clear()
        await bench.reset()
        await RisingEdge(dut.aclk)
        bench.sink.clear()
        bench.told.transfers.clear()
        batch = [bench.random.randrange(len(bench.pixels)) for _ in range(2)]
        for n in batch:
            bench.send(n)
        bench.compared = 0
        await bench.answers(batch)
        assert int(dut.error.value) == 0
    bench.finish("resets", batch)
