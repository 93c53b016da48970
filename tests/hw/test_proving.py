"""The proof of the stream contract can fail: a broken component is found."""

from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tests.hw.proving import Case, prove


class Broken(wiring.Component):
    """A register that forgets one of the rules of a stream."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, fault: str) -> None:
        self._fault = fault
        signature = stream.Signature(unsigned(2))
        super().__init__({"i": In(signature), "o": Out(signature)})

    def elaborate(self, platform) -> Module:
        m = Module()
        full, held, room = Signal(), Signal(2), Signal()
        m.d.comb += [
            room.eq(~full | self.o.ready),
            self.i.ready.eq(room),
            self.o.valid.eq(full & self.o.ready if self._fault == "waits" else full),
            self.o.payload.eq(self.i.payload if self._fault == "not held" else held),
        ]
        with m.If(room | (self._fault == "overwrites")):
            m.d.sync += [full.eq(self.i.valid), held.eq(self.i.payload)]
        if self._fault == "dead":
            m.d.comb += self.o.valid.eq(0)
        return m


FAULTS = {
    "": None,
    "overwrites": "proof did fail",
    "not held": "proof did fail",
    "waits": "selection is not empty",
    "dead": "proof did succeed",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_component_is_found(fault: str, tmp_path: Path) -> None:
    run = prove(Case(lambda: Broken(fault)), tmp_path)
    text = FAULTS[fault]
    assert (run.returncode == 0) == (text is None), run.stdout[-2000:]
    if text is not None:
        assert text in run.stdout + run.stderr
