"""Spike queue: holds vectors of coefficients and plays them as events, silence left out.

It decouples a sender that delivers a vector word by word from an accumulator that takes one event
per cycle, as many times over as it has groups. A vector is loaded while another one plays, so both
sides keep busy; the nonzero finder leaves out what has no bit, so playing costs one cycle an event.
"""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.layer.encoder import ChunkEncoder
from hw.layer.finder import WordFinder, visit_layout
from hw.stream.payloads import Kind, coefficients, event, transfer
from hw.stream.skid import SkidBuffer

__all__ = ["SpikeQueue"]


class SpikeQueue(wiring.Component):
    """Memory of one or two vectors with an event player.

    A vector arrives as `words` words of `chunk` coefficients. It is played plane by plane, the
    most significant first: a SPIKE event per set bit in slot order, then PLANE, or STEP after the
    last plane; the whole `replays` times. Words with nothing in a plane cost no cycle.

        word stream -> store -> fetch -> select plane -> ChunkEncoder -> event stream
                   `-> WordFinder --'

    With two buffers, while one vector plays the next is loaded. A buffer is free again in the
    cycle after the hand-shake of its last STEP.

    Cycle law (o always ready): a vector loaded by its last word in cycle L and with k[p] set bits
    in plane p sends its first event in cycle `max(L + fill_cycles, E + 1)`, E being the cycle of
    the last STEP before it, and takes `replays * sum over planes of (k[p] + 1)` cycles.

    Parameters
    ----------
    words, chunk
        Words per vector, coefficients per word (a power of two).
    planes, signed
        Coefficient format, see `hw.stream.payloads.coefficients`.
    replays
        How often each vector is played (the receiver's groups).
    repeat
        Play plane p 2^p times.
    lean
        One buffer, no skid buffer, and an encoder that does not look ahead.

    Members
    -------
    i : In(stream of coefficients(chunk, planes, signed))
    o : Out(stream of event(words * chunk))
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(
        self,
        *,
        words: int,
        chunk: int,
        planes: int,
        signed: bool,
        replays: int,
        repeat: bool = False,
        lean: bool = False,
    ) -> None:
        self._repeat = repeat
        self._buffers, self._lean = (1, True) if lean else (2, False)
        self._words, self._chunk = words, chunk
        self._planes, self._signed, self._replays = planes, signed, replays
        self._word = coefficients(chunk, planes, signed)
        super().__init__(
            {
                "i": In(stream.Signature(self._word)),
                "o": Out(stream.Signature(event(words * chunk))),
            }
        )

    @staticmethod
    def fill_cycles(lean: bool = False) -> int:
        """Cycles from the hand-shake of a vector's last word to that of its first event."""
        skid = 0 if lean else SkidBuffer.LATENCY
        return 1 + WordFinder.LATENCY + 2 + skid + ChunkEncoder.LATENCY

    def elaborate(self, platform) -> Module:
        m = Module()
        address_bits = (self._words - 1).bit_length()
        depth = self._buffers << address_bits
        m.submodules.store = store = Memory(shape=self._word, depth=depth, init=[])
        m.submodules.finder = finder = WordFinder(
            words=self._words,
            planes=self._planes,
            replays=self._replays,
            buffers=self._buffers,
            repeat=self._repeat,
        )
        m.submodules.encoder = encoder = ChunkEncoder(
            self._words, self._chunk, ahead=not self._lean
        )
        write, read = store.write_port(), store.read_port()

        # Load: a word per cycle while the buffer is free.
        full = [Signal(name=f"full{b}") for b in range(self._buffers)]
        word = Signal(range(self._words))
        target = Signal()
        room = Signal(init=1)
        loading, loaded = transfer(self.i), Signal()
        m.d.comb += [self.i.ready.eq(room), loaded.eq(loading & (word == self._words - 1))]
        some = Cat(
            Cat(self.i.payload[n].magnitude[p] for n in range(self._chunk)).any()
            for p in range(self._planes)
        )
        # A cycle late, so that the sender's multiplexers are apart from memory and counters. Memory
        # and finder are late together: no word is listed before it can be read.
        m.d.sync += [
            write.addr.eq(Cat(word, target)),
            write.data.eq(self.i.payload),
            write.en.eq(loading),
            finder.en.eq(loading),
            finder.last.eq(loaded),
            finder.some.eq(some),
        ]
        with m.If(loading):
            m.d.sync += word.eq(Mux(loaded, 0, word + 1))
            if self._buffers == 2:
                m.d.sync += target.eq(target ^ loaded)

        # Fetch: finder -> memory's register -> fabric register -> the plane's bits -> encoder.
        # Each register moves on when the one after it is empty or moves on: `register`, `fetch`.
        # The skid buffer keeps the encoder's `ready` from reaching back to the finder.
        chunks = encoder.i
        if not self._lean:
            m.submodules.skid = skid = SkidBuffer(encoder.i.payload.shape())
            wiring.connect(m, skid.o, encoder.i)
            chunks = skid.i
        visited = visit_layout(self._words, self._planes)
        fetched, visit = Signal(), Signal(visited, reset_less=True)
        valid, plane = Signal(), Signal(visited, reset_less=True)
        row = Signal(self._word, reset_less=True)
        register, fetch = Signal(), Signal()
        m.d.comb += [
            register.eq(~valid | chunks.ready),
            fetch.eq(~fetched | register),
            finder.o.ready.eq(fetch),
            read.addr.eq(Cat(finder.o.payload.word, finder.o.payload.buffer)),
            read.en.eq(fetch),
            chunks.valid.eq(valid),
            chunks.payload.word.eq(plane.word),
            chunks.payload.end.eq(plane.end),
        ]
        with m.If(fetch):
            m.d.sync += [fetched.eq(finder.o.valid), visit.eq(finder.o.payload)]
        with m.If(register):
            m.d.sync += [valid.eq(fetched), plane.eq(visit), row.eq(read.data)]
        for n in range(self._chunk):
            element = row[n]
            bit = element.magnitude.bit_select(plane.plane, 1)
            m.d.comb += chunks.payload.active[n].eq(bit)
            if self._signed:
                m.d.comb += chunks.payload.negative[n].eq(element.negative)

        # Release: when the last STEP has been taken, the buffer may be loaded again. Passes are
        # counted here once more, as the finder is several words ahead of the events that leave.
        wiring.connect(m, encoder.o, wiring.flipped(self.o))
        played = Signal()
        replay = Signal(range(self._replays))
        done = transfer(self.o) & (self.o.payload.kind == Kind.STEP)
        last = replay == self._replays - 1
        with m.If(done):
            m.d.sync += replay.eq(Mux(last, 0, replay + 1))
            if self._buffers == 2:
                m.d.sync += played.eq(played ^ last)
        stays = Signal(self._buffers)
        for b in range(self._buffers):
            freed = done & last & (played == b)
            m.d.comb += stays[b].eq((loaded & (target == b)) | (full[b] & ~freed))
            m.d.sync += full[b].eq(stays[b])
        # Known a cycle ahead: from here `ready` has a long way to what sends the words.
        m.d.sync += room.eq(~Array(stays)[target ^ loaded if self._buffers == 2 else 0])
        return m
