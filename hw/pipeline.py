"""A pipeline of shared cores: each runs some of a network's layers, on an image of its own."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out

from hw.program.program import Program
from hw.program.stage import RomFiles, SharedCore

__all__ = ["Pipeline"]


class Pipeline(wiring.Component):
    """Stages in a row: what one sends, the spikes of its last layer, is a recording to the next.

    Every stage has room for two images: while it works on one, the stage before sends the next.

    Parameters
    ----------
    programs
        Of the stages; the last has the readout.
    files
        ROM images of each, for Verilog; None for simulation by Amaranth.
    events
        Add the port `events`, for a counter.
    taps
        Simulation only: the ports of `SharedCore` that watch, numbered by stage.

    Members
    -------
    i, o
        Of the first stage; of the last.
    events : Out
        A bit per stage (`SharedCore`).
    """

    i: stream.Interface
    o: stream.Interface
    events: Signal

    def __init__(
        self,
        programs: Sequence[Program],
        files: Sequence[RomFiles] | None = None,
        *,
        events: bool = False,
        taps: bool = False,
    ) -> None:
        paths = [None] * len(programs) if files is None else files
        self._cores = [
            SharedCore(program, path, events=events, taps=taps)
            for program, path in zip(programs, paths, strict=True)
        ]
        ports = {
            f"{name}{n}": member
            for n, core in enumerate(self._cores)
            for name, member in core.signature.members.items()
            if name.startswith("tap_")
        }
        first, last = (self._cores[n].signature.members for n in (0, -1))
        if events:
            ports["events"] = Out(len(programs))
        self._count = events
        super().__init__({"i": first["i"], "o": last["o"], **ports})

    def elaborate(self, platform) -> Module:
        m = Module()
        for n, core in enumerate(self._cores):
            m.submodules[f"stage{n}"] = core
            for name in core.signature.members:
                if name.startswith("tap_"):
                    port: Signal = getattr(self, f"{name}{n}")
                    m.d.comb += port.eq(getattr(core, name))
            if n > 0:
                self._connect(m, self._cores[n - 1], core)
        if self._count:
            m.d.comb += self.events.eq(Cat(core.events for core in self._cores))
        wiring.connect(m, wiring.flipped(self.i), self._cores[0].i)
        wiring.connect(m, self._cores[-1].o, wiring.flipped(self.o))
        return m

    @staticmethod
    def _connect(m: Module, sender: SharedCore, receiver: SharedCore) -> None:
        """A sender whose other layers have signs may send a layer that has none."""
        m.d.comb += [receiver.i.valid.eq(sender.o.valid), sender.o.ready.eq(receiver.i.ready)]
        for source, target in zip(sender.o.payload, receiver.i.payload, strict=True):
            for name in target.shape().members:
                m.d.comb += target[name].eq(source[name])
