"""cocotb's side of `sim.bench.harness`."""

from typing import Any

from cocotb.triggers import Timer, ValueChange

from sim.bench.harness import PERIOD

__all__ = ["Driver"]

RESET_CYCLES = 2


class Driver:
    """Resets the bench, and sleeps until it has something to tell."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut

    async def reset(self) -> None:
        """Begin anew: the first word, empty records, cycle 0. Ends half a cycle after an edge."""
        self.dut.rst.value = 1
        await Timer(RESET_CYCLES * PERIOD + PERIOD // 2, "ns")
        self.dut.rst.value = 0

    async def wait(self, *, target: int = 0, deadline: int = 0) -> None:
        """Until so many results have been taken since reset, or so many cycles are over (0:
        whenever).

        Raises
        ------
        AssertionError
            When the core breaks the contract of its results, or does nothing any more.
        """
        self.dut.target.value, self.dut.deadline.value = target, deadline
        await ValueChange(self.dut.wake)
        assert not int(self.dut.moved.value), "an offered result has moved"
        assert not int(self.dut.dead.value), "the core does nothing any more"
