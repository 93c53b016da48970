"""The core behind AXI4-Stream ports, for other people's designs."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Cat, ClockDomain, Const, DomainRenamer, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.core import Core
from hw.stream.payloads import transfer
from hw.stream.skid import SkidBuffer

__all__ = ["ERRORS", "AxiStreamCore"]

ERRORS = (
    "a packet ended before its image was complete",
    "a packet went on after its image was complete",
    "a pixel was larger than the network's largest",
)
"""What the bits of `error` say, bit 0 first."""

MAX_IN_FLIGHT = 255
"""Images that may be inside at a time: more than any core holds."""


class AxiStreamCore(wiring.Component):
    """Packets of pixels in, packets of logits and the class out; the top of a design of its own.

    A pixel is a byte, in the place where the core's words have it: of a core that takes its pixels
    one after the other, byte n of a packet is pixel n, whatever the width of the bus. A packet is
    `words` transfers, the last marked by `tlast`; bytes that are no pixel are ignored.

    All outputs are registers or gates of registers: no path leads from an input to an output. They
    cost a cycle on either side of the core, and no throughput.

    Faults of the sender (see `ERRORS`) never become an answer: the packet is dropped up to and with
    its `tlast`, its bit of `error` stays set until reset, the images before it are answered, then
    the core is reset, which forgets the part of an image that it had, and goes on with the next
    packet. So the answers are those of the faultless packets, in order.

    Reset is synchronous: one cycle of `aresetn` low is enough.

    Parameters
    ----------
    core
        The core inside, whose input has no signs.
    used
        (transfers of an image, bytes of a transfer): which bytes are pixels.

    Members
    -------
    aclk, aresetn : In(1)
    s_axis_tdata : In(8 * word), s_axis_tvalid, s_axis_tready, s_axis_tlast
        A byte for each value of a word of the core. While in reset, `tready` is low.
    m_axis_tdata : Out(32), m_axis_tvalid, m_axis_tready, m_axis_tlast
        Logits 0, 1, ... of an image, one per transfer, sign-extended.
    m_axis_tuser : Out(8 or 16)
        With `tlast`, the class of the image (the first maximum); before, the best so far.
    error : Out(3)
        A bit per entry of `ERRORS`.

    Attributes
    ----------
    core
        The core inside.
    word, words
        Bytes per transfer, a power of two; transfers per image.
    """

    LATENCY = 2 * SkidBuffer.LATENCY
    """Cycles more than the core has, from first word to last logit."""

    aclk: Signal
    aresetn: Signal
    s_axis_tdata: Signal
    s_axis_tvalid: Signal
    s_axis_tready: Signal
    s_axis_tlast: Signal
    m_axis_tdata: Signal
    m_axis_tvalid: Signal
    m_axis_tready: Signal
    m_axis_tlast: Signal
    m_axis_tuser: Signal
    error: Signal

    def __init__(self, core: Core, *, used: npt.NDArray[np.bool_]) -> None:
        self.core = core
        self.words, self.word = used.shape
        taken: Any = core.i.payload.shape()
        assert taken.length == self.word
        self._bits = taken.elem_shape.size
        # Bytes are of a few kinds, by the transfers in which they are pixels.
        self._kinds: dict[tuple[bool, ...], list[int]] = {}
        for k in range(self.word):
            self._kinds.setdefault(tuple(used[:, k].tolist()), []).append(k)
        best = len(core.o.payload.best)
        super().__init__(
            {
                "aclk": In(1),
                "aresetn": In(1),
                "s_axis_tdata": In(8 * self.word),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "s_axis_tlast": In(1),
                "m_axis_tdata": Out(32),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "m_axis_tlast": Out(1),
                "m_axis_tuser": Out(8 * -(-best // 8)),
                "error": Out(len(ERRORS)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        outer: Any = ClockDomain("sync")
        inner: Any = ClockDomain("core", local=True)
        m.domains += [outer, inner]
        outer.clk = inner.clk = self.aclk
        # The core has a reset of its own, because faults reset it too: a register, so that no
        # logic stands between it and the many registers that it clears.
        restart = Signal(init=1)
        m.d.sync += restart.eq(0)
        m.d.comb += [outer.rst.eq(~self.aresetn), inner.rst.eq(restart)]
        m.submodules.core = DomainRenamer("core")(self.core)

        words = self._receive(m, restart)
        answered = self._send(m, restart)
        in_flight = Signal(range(MAX_IN_FLIGHT + 1))
        periods = {_period(kind) for kind in self._kinds} - {1}
        # The transfer's number, as often as bytes that are pixels at times come again.
        index = {
            period: Signal(range(period), name=f"index{period}")
            for period in sorted(periods | {self.words})
        }
        complete, last = Signal(), words.payload.last
        faults, large = Signal(len(ERRORS)), Signal(len(self._kinds))
        m.d.comb += [
            complete.eq(index[self.words] == self.words - 1),
            faults.eq(Cat(last & ~complete, ~last & complete, large.any())),
        ]
        for n, (kind, bytes_of) in enumerate(self._kinds.items()):
            pixels = _inside(kind, index)
            # A packet that ends too early has no pixels there: it may be the padding of its end.
            judged = pixels if all(kind) else pixels & (complete | ~last)
            m.d.comb += large[n].eq(words.payload.large[n] & judged)
            for k in bytes_of:
                # What is no pixel would cost cycles, though nothing has a weight for it.
                pixel = self.core.i.payload[k].magnitude
                m.d.comb += pixel.eq(Mux(pixels, words.payload.pixels[k], 0))

        with m.FSM():
            with m.State("LOAD"):
                offered = Signal()
                good = ~faults.any()
                m.d.comb += [
                    offered.eq(words.valid & ~restart & (in_flight != MAX_IN_FLIGHT)),
                    self.core.i.valid.eq(offered & good),
                    words.ready.eq(offered & (self.core.i.ready | ~good)),
                ]
                with m.If(offered & ~good):
                    m.d.sync += self.error.eq(self.error | faults)
                    m.next = "SKIP"
                    with m.If(last):
                        m.next = "DRAIN"
            with m.State("SKIP"):
                m.d.comb += words.ready.eq(1)
                with m.If(words.valid & last):
                    m.next = "DRAIN"
            with m.State("DRAIN"), m.If(in_flight == 0):
                m.d.sync += [restart.eq(1), *(number.eq(0) for number in index.values())]
                m.next = "LOAD"

        loaded = transfer(self.core.i)
        with m.If(loaded):
            for period, number in index.items():
                m.d.sync += number.eq(Mux(number == period - 1, 0, number + 1))
        m.d.sync += in_flight.eq(in_flight + (loaded & complete) - answered)
        return m

    def _receive(self, m: Module, restart: Signal) -> stream.Interface:
        """The register at the entrance, without the bits that no pixel uses. Returns a stream of
        pixels, `last`, and whether one is too large, for each kind of bytes."""
        shape = data.StructLayout(
            {
                "pixels": data.ArrayLayout(self._bits, self.word),
                "large": len(self._kinds),
                "last": 1,
            }
        )
        m.submodules.inlet = inlet = SkidBuffer(shape)
        pixels = [self.s_axis_tdata.word_select(k, 8) for k in range(self.word)]
        large = [pixel[self._bits :].any() for pixel in pixels]
        word = inlet.i.payload
        m.d.comb += [
            word.pixels.as_value().eq(Cat(pixel[: self._bits] for pixel in pixels)),
            word.large.eq(Cat(Cat(large[k] for k in ks).any() for ks in self._kinds.values())),
            word.last.eq(self.s_axis_tlast),
            inlet.i.valid.eq(self.s_axis_tvalid & ~restart),
            self.s_axis_tready.eq(inlet.i.ready & ~restart),
        ]
        return inlet.o

    def _send(self, m: Module, restart: Signal) -> Value:
        """The register at the exit. Returns the end of an image's results leaving the core."""
        m.submodules.outlet = outlet = SkidBuffer(self.core.o.payload.shape())
        result = outlet.o.payload
        m.d.comb += [
            outlet.i.valid.eq(self.core.o.valid & ~restart),
            outlet.i.payload.eq(self.core.o.payload),
            self.core.o.ready.eq(outlet.i.ready),
            self.m_axis_tdata.eq(result.logit),
            self.m_axis_tuser.eq(result.best),
            self.m_axis_tlast.eq(result.last),
            self.m_axis_tvalid.eq(outlet.o.valid),
            outlet.o.ready.eq(self.m_axis_tready),
        ]
        return transfer(outlet.i) & outlet.i.payload.last


def _period(kind: tuple[bool, ...]) -> int:
    """After how many transfers it repeats."""
    every = (n for n in range(1, len(kind) + 1) if len(kind) % n == 0)
    return next(n for n in every if kind == kind[:n] * (len(kind) // n))


def _inside(kind: tuple[bool, ...], index: Mapping[int, Signal]) -> Value:
    """Whether bytes of this kind are pixels in the transfer that has these numbers."""
    period = _period(kind)
    if period == 1:
        return Const(kind[0], 1)
    at, start, hits = index[period], 0, []
    for inside, run in groupby(kind[:period]):
        stop = start + len(list(run))
        if inside:
            ends = ([at >= start] if start else []) + ([at < stop] if stop < period else [])
            hits.append(Cat(ends).all())
        start = stop
    return Cat(hits).any()
