"""cocotb bench that moves a board's pins for another process: bytes in, bytes out, at line speed.

Run by `sim.board.simulation`, which asks through a socket; STERNA_BENCH names the folder with its
`job.json`. While nothing is asked, the simulation stands still: the only time is simulated time.
"""

import json
from dataclasses import dataclass
from multiprocessing.connection import Client

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import Event, FallingEdge, First, RisingEdge, Timer
from cocotb.utils import get_sim_time

from sim.bench.job import job_folder

START_CYCLES = 16
"""Clock cycles with the line at rest, before the first request."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """Names of a top's pins, and its times in picoseconds."""

    clock: str
    rx: str
    tx: str
    clock_period: int
    bit_time: int


class Server:
    """Drives RX, decodes TX: 8 data bits, no parity, one stop bit, low bits first."""

    def __init__(self, dut, line: Line) -> None:
        self.rx, self.tx = getattr(dut, line.rx), getattr(dut, line.tx)
        self.line = line
        self.received = bytearray()
        self.arrived = Event()
        self.faults = 0

    async def start(self, dut) -> None:
        """Clock on, line at rest. Everything driven later lies between two edges of the clock."""
        self.rx.value = 1
        Clock(getattr(dut, self.line.clock), self.line.clock_period, "ps").start()
        await Timer(START_CYCLES * self.line.clock_period + self.line.clock_period // 4, "ps")
        cocotb.start_soon(self.listen())

    async def listen(self) -> None:
        """Decode TX for ever. A byte counts in the middle of its stop bit; a start bit that does
        not last, or a stop bit that is not there, is a fault, and its byte is dropped."""
        rising, falling = RisingEdge(self.tx), FallingEdge(self.tx)
        # Its own: a Timer that two coroutines wait for fires for both when it does for the first.
        bit, half_bit = Timer(self.line.bit_time, "ps"), Timer(self.line.bit_time // 2, "ps")
        while True:
            if int(self.tx.value):
                await falling
            await half_bit
            if int(self.tx.value):
                self.faults += 1
                continue
            byte = 0
            for n in range(8):
                await bit
                byte |= int(self.tx.value) << n
            await bit
            if int(self.tx.value):
                self.received.append(byte)
                self.arrived.set()
            else:
                self.faults += 1
                await rising

    async def write(self, data: bytes) -> None:
        """Drive bytes without a pause, after one bit time of rest (the board's last stop bit is
        only half over when its byte has counted)."""
        bit = Timer(self.line.bit_time, "ps")
        await bit
        for byte in data:
            for level in (0, *(byte >> n & 1 for n in range(8)), 1):
                self.rx.value = level
                await bit

    async def drive(self, levels: list[tuple[int, int]]) -> None:
        """Drive RX with (level, picoseconds), then leave it at rest."""
        for level, duration in levels:
            self.rx.value = level
            await Timer(duration, "ps")
        self.rx.value = 1

    async def read(self, count: int, timeout: int) -> bytes:
        """The next `count` bytes, fewer after `timeout` picoseconds."""
        end = now() + timeout
        while len(self.received) < count and now() < end:
            self.arrived.clear()
            await First(self.arrived.wait(), Timer(end - now(), "ps"))
        data = bytes(self.received[:count])
        del self.received[:count]
        return data

    async def discard(self) -> None:
        """Forget the bytes that came."""
        self.received.clear()


def now() -> int:
    """Simulated picoseconds."""
    return int(get_sim_time("ps"))


@cocotb.test()
async def serve_a_board(dut) -> None:
    """Carry out requests, (method, *arguments), until the other end closes the socket. Each is
    answered with (what it returns, simulated picoseconds, faults on TX so far)."""
    job = json.loads((job_folder() / "job.json").read_text())
    server = Server(dut, Line(**job["line"]))
    with Client(job["socket"], family="AF_UNIX") as connection:
        await server.start(dut)
        try:
            while True:
                method, *arguments = connection.recv()
                answer = await getattr(server, method)(*arguments)
                connection.send((answer, now(), server.faults))
        except (EOFError, ConnectionError):
            return
