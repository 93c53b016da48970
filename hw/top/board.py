"""The top of a board: clock, reset, host link, core, and a flash with the weights if need be."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.core import Core
from hw.link.learning import LearningFacts
from hw.link.port import HostPort
from hw.top.loader import DigestReader, LoadPart, WeightLoader
from hw.top.pll import PllSpec, pll_instance
from hw.top.sample_store import Samples, SampleStore
from hw.top.self_test import SelfTest, TestImages
from hw.top.spi_flash import SpiFlashReader

__all__ = ["CORE_RESET_CYCLES", "BoardSpec", "BoardTop", "StatusLed"]

POWER_ON_CYCLES = 1024
"""Reset after power-up: an iCE40's block RAMs cannot be read in the first microseconds."""

CORE_RESET_CYCLES = 4
"""From a command that resets the core to the core's first cycle without reset."""

FLASH_PAUSE_SECONDS = 50e-6
"""After the flash was woken; it needs 3 to 30 microseconds, by make."""


@dataclass(frozen=True, kw_only=True)
class BoardSpec:
    """What the top needs to know of a board.

    number
        Of the board, for IDENTIFY.
    clock_hz, baud
        The system clock, after the PLL; bits per second of the host link.
    pll
        None: the oscillator is the system clock.
    led_active_low
        The LED lights when its pin is low.
    flash_address
        Of the flash image; None on a board whose weights come with the bitstream.
    """

    number: int
    clock_hz: int
    baud: int
    pll: PllSpec | None
    led_active_low: bool
    flash_address: int | None


class StatusLed(wiring.Component):
    """One LED for three states: a slow blink, alive; on, busy; a fast blink, error.

    Parameters
    ----------
    clock_hz
        System clock; the slow blink lasts about two seconds, the fast one a quarter of one.

    Members
    -------
    busy, error : In
    o : Out
    """

    busy: Signal
    error: Signal
    o: Signal

    def __init__(self, clock_hz: int) -> None:
        self._bits = clock_hz.bit_length()
        super().__init__({"busy": In(1), "error": In(1), "o": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        time = Signal(self._bits + 1)
        hold = Signal(self._bits - 4)  # an image takes microseconds: keep its light on for a while
        m.d.sync += time.eq(time + 1)
        with m.If(self.busy):
            m.d.sync += hold.eq(-1)
        with m.Elif(hold != 0):
            m.d.sync += hold.eq(hold - 1)
        m.d.sync += self.o.eq(time[-1])
        with m.If(self.error):
            m.d.sync += self.o.eq(time[-4])
        with m.If(hold != 0):
            m.d.sync += self.o.eq(1)
        return m


class BoardTop(wiring.Component):
    """Everything between the pins.

        clk -> PLL -> sync, held in reset until the PLL stands and some time after
        rx, tx <-> HostPort <-> [SelfTest or SampleStore] <-> Core
        flash <-> SpiFlashReader -> WeightLoader -> Core.load

    Parameters
    ----------
    board
        Clock, link, LED, flash.
    core
        With the port `events`.
    words, classes
        Words of an image; logits of a result.
    identity
        Words 0 .. 15 of the mailbox (docs/link.md); the digest is put in at power-up.
    digest, digest_file
        Rows of the digest's ROM, and its `$readmemh` file, on a board without a flash.
    learning
        Of a core with the port `teacher`; it is the host's.
    stored
        Put a `SelfTest`, or of labelled pictures a `SampleStore`, between host and core; of those
        `learning` says how many there are.

    Members
    -------
    clk : In
        The oscillator.
    rx : In, tx : Out
        The host link, idle high.
    led : Out
    flash_cs_n, flash_clk, flash_copi : Out, flash_cipo : In
        Only with a flash.
    """

    clk: Signal
    rx: Signal
    tx: Signal
    led: Signal
    flash_cs_n: Signal
    flash_clk: Signal
    flash_copi: Signal
    flash_cipo: Signal

    def __init__(
        self,
        board: BoardSpec,
        core: Core,
        *,
        words: int,
        classes: int,
        identity: Sequence[int],
        digest: Sequence[int] = (),
        digest_file: str | None = None,
        learning: LearningFacts | None = None,
        stored: TestImages | Samples | None = None,
    ) -> None:
        self._board, self._core, self._identity = board, core, list(identity)
        self._words, self._classes = words, classes
        self._digest, self._digest_file = digest, digest_file
        self._learning, self._stored = learning, stored
        members = {
            "clk": In(1),
            "rx": In(1, init=1),  # type: ignore[call-arg]
            "tx": Out(1, init=1),  # type: ignore[call-arg]
            "led": Out(1),
        }
        if board.flash_address is not None:
            members |= {
                "flash_cs_n": Out(1, init=1),  # type: ignore[call-arg]
                "flash_clk": Out(1),
                "flash_copi": Out(1),
                "flash_cipo": In(1),
            }
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        self._clock(m)
        board, core = self._board, self._core
        word_bits = core.i.payload.shape().size
        logit_bits = len(core.o.payload.logit)
        m.submodules.host = host = HostPort(
            divisor=round(board.clock_hz / board.baud),
            word_bits=word_bits,
            words=self._words,
            classes=self._classes,
            logit_bits=logit_bits,
            identity=self._identity,
            event_lanes=len(core.events),
            learning=self._learning,
        )
        m.submodules.core = DomainRenamer("core")(core)
        if self._learning is not None:
            wiring.connect(m, host.teacher, core.teacher)
        self._core_reset(m, host)
        words, store, stored = host.image, None, self._stored
        shape = {"word_bits": word_bits, "classes": self._classes, "logit_bits": logit_bits}
        if isinstance(stored, Samples):
            m.submodules.store = store = SampleStore(stored, **shape)
            wiring.connect(m, host.drill, store.drill)
            wiring.connect(m, host.image, store.i)
            wiring.connect(m, core.o, store.results)
            wiring.connect(m, store.answers, host.results)
            words = store.o
        elif stored is None:
            wiring.connect(m, core.o, host.results)
        else:
            m.submodules.self_test = test = SelfTest(stored, **shape)
            wiring.connect(m, host.image, test.i)
            wiring.connect(m, core.o, test.results)
            wiring.connect(m, test.sums, host.results)
            words = test.o
        m.d.comb += [
            core.i.valid.eq(words.valid),
            core.i.payload.eq(words.payload),
            words.ready.eq(core.i.ready),
            host.events.eq(core.events),
            host.rx.eq(self.rx),
            self.tx.eq(host.tx),
        ]
        if board.flash_address is not None:
            digest = self._load(m, core, host, store)
        else:
            m.submodules.digest = digest = DigestReader(self._digest, self._digest_file)
        m.d.comb += [
            host.load_en.eq(digest.digest_en),
            host.load_addr.eq(digest.digest_addr + 1),
            host.load_data.eq(digest.digest_data),
            host.ready.eq(digest.ready),
        ]

        m.submodules.led = led = StatusLed(board.clock_hz)
        m.d.comb += [
            led.busy.eq(host.busy),
            led.error.eq(host.error | host.fault),
            self.led.eq(led.o ^ board.led_active_low),
        ]
        return m

    def _clock(self, m: Module) -> None:
        """The domain `sync`, and `start`, without reset, in which the power-on reset is counted."""
        m.domains.sync = ClockDomain("sync")
        m.domains.start = ClockDomain("start", reset_less=True)
        locked, pll = Signal(), self._board.pll
        if pll is None:
            m.d.comb += [ClockSignal("sync").eq(self.clk), locked.eq(1)]
        else:
            clock = Signal()
            m.submodules.pll = pll_instance(pll, self.clk, clock, locked)
            m.d.comb += ClockSignal("sync").eq(clock)
        m.d.comb += ClockSignal("start").eq(ClockSignal("sync"))
        stable, left = Signal(2), Signal(range(POWER_ON_CYCLES), init=POWER_ON_CYCLES - 1)
        # Two registers, so that one of them can sit among those it resets.
        early, reset = Signal(init=1), Signal(init=1)
        m.d.start += [stable.eq(stable << 1 | locked), early.eq(left != 0), reset.eq(early)]
        with m.If(~stable[1]):
            m.d.start += left.eq(POWER_ON_CYCLES - 1)
        with m.Elif(left != 0):
            m.d.start += left.eq(left - 1)
        m.d.comb += ResetSignal("sync").eq(reset)

    def _core_reset(self, m: Module, host: HostPort) -> None:
        """The core's own domain: the same clock, and a reset out of a register that can sit among
        the hundreds that it reaches. It ends when the weights are there."""
        m.domains.core = ClockDomain("core")
        m.d.comb += ClockSignal("core").eq(ClockSignal("sync"))
        early, reset = Signal(init=1), Signal(init=1)
        m.d.start += [
            early.eq(ResetSignal("sync") | host.core_reset | ~host.ready),
            reset.eq(early),
        ]
        m.d.comb += ResetSignal("core").eq(reset)

    def _load(
        self, m: Module, core: Core, host: HostPort, store: SampleStore | None
    ) -> WeightLoader:
        """Weights, or the store's pictures, from the flash."""
        board = self._board
        assert board.flash_address is not None
        parts: list[tuple[int, int]] = core.parts
        if store is not None and store.parts:
            assert not parts
            parts, loaded = store.parts, store.load
        else:
            loaded = core.load
        m.submodules.flash = flash = SpiFlashReader(
            address=board.flash_address, pause=round(board.clock_hz * FLASH_PAUSE_SECONDS)
        )
        m.submodules.loader = loader = WeightLoader(
            [LoadPart(width=width, depth=depth) for width, depth in parts]
        )
        wiring.connect(m, flash.o, loader.i)
        m.d.comb += [
            self.flash_cs_n.eq(flash.cs_n),
            self.flash_clk.eq(flash.clk),
            self.flash_copi.eq(flash.copi),
            flash.cipo.eq(self.flash_cipo),
            loaded.eq(loader.load),
            host.fault.eq(loader.fault),
        ]
        return loader
