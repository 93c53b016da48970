"""The core behind AXI4-Stream ports, for other people's designs."""

from typing import Any

from amaranth.hdl import Cat, ClockDomain, DomainRenamer, Module, Mux, Signal, Value
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

    A pixel is a byte, so byte n of a packet is pixel n, whatever the width of the bus. A packet is
    `words` transfers, the last marked by `tlast`; bytes after the last pixel are ignored.

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
        The core inside, whose input is pictures.
    pixels, words
        Pixels of a picture; transfers of one.

    Members
    -------
    aclk, aresetn : In(1)
    s_axis_tdata : In(8 * word), s_axis_tvalid, s_axis_tready, s_axis_tlast
        Byte k of transfer w is pixel `w * word + k`. While in reset, `tready` is low.
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

    def __init__(self, core: Core, *, pixels: int, words: int) -> None:
        self.core, self.words = core, words
        taken: Any = core.i.payload.shape()
        self.word = taken.length
        self._bits = taken.elem_shape.size
        self._tail = pixels - (words - 1) * self.word  # pixels of the last word
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
        index = Signal(range(self.words))
        complete, last = Signal(), words.payload.last
        faults = Signal(len(ERRORS))
        m.d.comb += [
            complete.eq(index == self.words - 1),
            faults.eq(
                Cat(
                    last & ~complete,
                    ~last & complete,
                    words.payload.large | (words.payload.large_beyond & ~complete & ~last),
                )
            ),
        ]
        for k in range(self.word):
            # What lies beyond the last pixel would cost cycles, though its weights are zero.
            beyond = complete if k >= self._tail else 0
            pixel = self.core.i.payload[k].magnitude
            m.d.comb += pixel.eq(Mux(beyond, 0, words.payload.pixels[k]))

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
                m.d.sync += [restart.eq(1), index.eq(0)]
                m.next = "LOAD"

        loaded = transfer(self.core.i)
        with m.If(loaded):
            m.d.sync += index.eq(Mux(complete, 0, index + 1))
        m.d.sync += in_flight.eq(in_flight + (loaded & complete) - answered)
        return m

    def _receive(self, m: Module, restart: Signal) -> stream.Interface:
        """The register at the entrance, without the bits that no pixel uses. Returns a stream of
        pixels, `last`, and whether one is too large: in the image, or beyond it."""
        shape = data.StructLayout(
            {
                "pixels": data.ArrayLayout(self._bits, self.word),
                "large": 1,
                "large_beyond": 1,
                "last": 1,
            }
        )
        m.submodules.inlet = inlet = SkidBuffer(shape)
        pixels = [self.s_axis_tdata.word_select(k, 8) for k in range(self.word)]
        large = [pixel[self._bits :].any() for pixel in pixels]
        word = inlet.i.payload
        m.d.comb += [
            word.pixels.as_value().eq(Cat(pixel[: self._bits] for pixel in pixels)),
            word.large.eq(Cat(large[: self._tail]).any()),
            word.large_beyond.eq(Cat(large[self._tail :]).any()),
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
