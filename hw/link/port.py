"""Host port: carries out what the host asks for over the UART (`docs/link.md`)."""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.checks import SpecError
from hw.contract.link import (
    ANSWER,
    IDENTITY_WORDS,
    LEARNED_WORDS,
    LEARNING,
    LENGTH_MAX,
    LOGITS,
    REFUSAL,
    TAG,
    TIMEOUT_BITS,
    WORD_BYTES,
    Command,
    ErrorCode,
)
from hw.link.frame import FrameReceiver, FrameSender, check_length
from hw.link.learning import LearningDesk, LearningFacts
from hw.link.mailbox import Mailbox, ResultRecorder
from hw.link.uart import UartReceiver, UartTransmitter, check_divisor
from hw.neuron.readout import result_layout
from hw.stream.payloads import transfer

__all__ = ["HostPort", "ImageAssembler"]

STATUS_BYTE = 2
"""Of the mailbox; bit 0: the weights are there, bit 1: they could not be read, bit 2: the core
learns, bit 3: it has."""


class ImageAssembler(wiring.Component):
    """Makes words of the bytes of an image, and keeps the last one back until it is asked for.

    A word is offered from the cycle after its last byte; the first byte is in its low bits.

    Parameters
    ----------
    word_bits, words
        Shape of an image; whole bytes.

    Members
    -------
    clear : In(1)
        Forget everything, an offer too.
    byte, valid : In
        The next byte of the image.
    go : In(1)
        Offer the last word.
    late : Out(1)
        `o` had not been taken when the next byte came: the image is spoiled.
    o : Out(stream of word_bits)
    """

    clear: Signal
    byte: Signal
    valid: Signal
    go: Signal
    late: Signal
    o: stream.Interface

    def __init__(self, word_bits: int, words: int) -> None:
        self._word_bits, self._words = word_bits, words
        super().__init__(
            {
                "clear": In(1),
                "byte": In(8),
                "valid": In(1),
                "go": In(1),
                "late": Out(1),
                "o": Out(stream.Signature(word_bits)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        word = Signal(self._word_bits, reset_less=True)
        places = self._word_bits // 8
        place, left = Signal(range(places)), Signal(range(self._words), init=self._words - 1)
        m.d.comb += self.o.payload.eq(word)
        with m.If(transfer(self.o)):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.go):
            m.d.sync += self.o.valid.eq(1)
        with m.If(self.valid & self.o.valid):
            m.d.sync += self.late.eq(1)
        with m.Elif(self.valid):
            m.d.sync += [word.eq(Cat(word, self.byte)[8:]), place.eq(place + 1)]
            with m.If(place == places - 1):
                m.d.sync += [place.eq(0), left.eq(left - 1), self.o.valid.eq(left != 0)]
        with m.If(self.clear):
            m.d.sync += [self.o.valid.eq(0), self.late.eq(0), place.eq(0), left.eq(left.init)]
        return m


class HostPort(wiring.Component):
    """The board's end of the link: the core's input and output behind a UART.

    Words of an image go to the core while it arrives, but the last: it follows with RUN. The core
    is reset when an image begins, so that nothing of an image that failed, or was replaced, stays.

    Words must be taken within `9 * divisor` cycles, except for the last; if not, the image is
    answered like a damaged one. `image` and `results` are the core's; the core's events of an
    image come not later than its last logit.

    Parameters
    ----------
    divisor
        Clocks per bit.
    timeout_bits
        Bit times until a frame without a further byte is given up.
    word_bits, words
        An image; whole bytes.
    classes, logit_bits
        Format of the results.
    identity
        Words 0 .. 15 of the mailbox; bits 16 to 19 of word 0 are filled in here.
    event_lanes
        Bits of `events`.
    learning
        Of a core that learns: its commands are carried out too.

    Members
    -------
    rx, tx : In(1), Out(1)
        The pins, idle high.
    image : Out(stream of word_bits)
    results : In(stream of result_layout(classes, logit_bits))
    events : In(event_lanes)
        A weight row is added, one bit per layer and bank.
    core_reset : Out(1)
        High for a cycle when the core must forget what it has; high in the first cycle too.
    ready, fault : In(1)
        The weights are there; they could not be read.
    load_en, load_addr, load_data : In
        Write a word 0 .. 15 of the mailbox; only while `ready` is low. Used by the loader.
    teacher : Out(learning.teacher), with `learning`
    drill : Out(learning.drill), where pictures are on the chip
    busy : Out(1)
        A command is carried out or answered.
    error : Out(1)
        The last answer was an error.
    """

    rx: Signal
    tx: Signal
    image: stream.Interface
    results: stream.Interface
    events: Signal
    core_reset: Signal
    ready: Signal
    fault: Signal
    load_en: Signal
    load_addr: Signal
    load_data: Signal
    busy: Signal
    error: Signal
    teacher: wiring.PureInterface
    drill: Any

    def __init__(
        self,
        *,
        divisor: int,
        word_bits: int,
        words: int,
        classes: int,
        logit_bits: int,
        identity: Sequence[int],
        event_lanes: int,
        timeout_bits: int = TIMEOUT_BITS,
        learning: LearningFacts | None = None,
    ) -> None:
        check_divisor(divisor)
        if word_bits % 8:
            raise SpecError(f"Image word must have whole bytes, not {word_bits!r} bits")
        size = words * word_bits // 8
        if len(identity) != IDENTITY_WORDS or identity[-1] & LENGTH_MAX != size:
            raise SpecError(f"Identity must be 16 words, the last {size}, not {list(identity)!r}")
        self._divisor, self._timeout_bits = divisor, timeout_bits
        self._word_bits, self._words, self._size = word_bits, words, size
        self._classes, self._logit_bits = classes, logit_bits
        self._identity, self._event_lanes = list(identity), event_lanes
        self._learning = learning
        self._requests: dict[int, int] = {  # bytes of payload
            command: size * (command == Command.WRITE)
            for command in Command
            if command not in LEARNING
        }
        self._mailbox_words = LOGITS + classes + LEARNED_WORDS * (learning is not None)
        result = WORD_BYTES * (self._mailbox_words - TAG)
        self._answers: dict[int, int] = {
            Command.IDENTIFY: WORD_BYTES * IDENTITY_WORDS,
            Command.READ: result,
            Command.COUNTERS: WORD_BYTES * (LOGITS - TAG),
        }
        members: dict[str, Any] = {}
        if learning is not None:
            self._requests |= learning.payloads(size)
            self._answers |= learning.answers(result)
            members["teacher"] = Out(learning.teacher)
            if learning.samples:
                members["drill"] = Out(learning.drill)
        check_length("Image", self._requests.get(Command.LEARN, size))
        check_length("Answer to READ", result)
        super().__init__(
            members
            | {
                "rx": In(1, init=1),  # type: ignore[call-arg]
                "tx": Out(1, init=1),  # type: ignore[call-arg]
                "image": Out(stream.Signature(word_bits)),
                "results": In(stream.Signature(result_layout(classes, logit_bits))),
                "events": In(event_lanes),
                "core_reset": Out(1, init=1),  # type: ignore[call-arg]
                "ready": In(1),
                "fault": In(1),
                "busy": Out(1),
                "error": Out(1),
                "load_en": In(1),
                "load_addr": In(range(IDENTITY_WORDS)),
                "load_data": In(32),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.rx = rx = UartReceiver(self._divisor)
        m.submodules.tx = tx = UartTransmitter(self._divisor)
        m.submodules.receiver = receiver = FrameReceiver(
            self._requests, self._timeout_bits * self._divisor
        )
        m.submodules.sender = sender = FrameSender(max(self._answers.values()))
        m.submodules.assembler = assembler = ImageAssembler(self._word_bits, self._words)
        m.submodules.recorder = recorder = ResultRecorder(
            classes=self._classes, logit_bits=self._logit_bits, event_lanes=self._event_lanes
        )
        m.submodules.mailbox = mailbox = Mailbox(self._mailbox_words, self._identity)
        desk = None
        if self._learning is not None:
            m.submodules.desk = desk = LearningDesk(
                self._learning, classes=self._classes, image_bytes=self._size
            )
            wiring.connect(m, desk.teacher, wiring.flipped(self.teacher))
            if self._learning.samples:
                wiring.connect(m, desk.drill, wiring.flipped(self.drill))
        wiring.connect(m, rx.o, receiver.i)
        wiring.connect(m, sender.o, tx.i)
        wiring.connect(m, assembler.o, wiring.flipped(self.image))
        wiring.connect(m, wiring.flipped(self.results), recorder.results)

        # writing: a WRITE comes in. loaded: its image waits for RUN. finished: a result is there.
        writing, loaded, finished = Signal(), Signal(), Signal()
        verdict, failure = Signal(4), Signal(4)  # 0, or an ErrorCode
        opened, ended, refused, forget, go = (Signal() for _ in range(5))
        kind = receiver.kind
        # In registers, as `failure` is: no cycle both decodes a frame and acts on it.
        runs, resets = Signal(), Signal()
        writes, running = kind == Command.WRITE, kind == Command.RUN
        forgetting, drills = kind == Command.RESET, Signal()
        if desk is not None:
            writes, running = writes | (kind == Command.LEARN), running | (kind == Command.LEARN)
            if desk.plays:
                forgetting |= kind == Command.TRAIN
                m.d.sync += drills.eq(kind == Command.TRAIN)
        m.d.sync += [
            opened.eq(receiver.opened & writes & self.ready),
            runs.eq(running),
            resets.eq(forgetting),
        ]
        taken = receiver.payload & writing
        if desk is not None:
            taken &= desk.image
        m.d.comb += [
            refused.eq(failure != 0),
            forget.eq(opened | (ended & Mux(refused, writing, resets))),
            rx.rx.eq(self.rx),
            self.tx.eq(tx.tx),
            receiver.fault.eq(rx.fault),
            assembler.clear.eq(self.core_reset),
            assembler.byte.eq(rx.o.payload),
            assembler.valid.eq(taken),
            assembler.go.eq(go),
            recorder.go.eq(go),
            recorder.sent.eq(transfer(self.image)),
            recorder.clear.eq(self.core_reset),
            recorder.events.eq(self.events),
            recorder.byte.eq(rx.o.payload),
            recorder.tag.eq((receiver.check & writing) << receiver.place[:2]),
            mailbox.en.eq(Mux(self.load_en, -1, recorder.en)),
            mailbox.addr.eq(Mux(self.load_en, self.load_addr, recorder.addr)),
            mailbox.data.eq(Mux(self.load_en, self.load_data, recorder.data)),
            self.busy.eq(1),
        ]
        self._judge(m, receiver, assembler.late, writing, loaded, finished, verdict, desk)
        self._answer(m, receiver, sender, mailbox, failure, desk)
        if desk is not None:
            m.d.comb += [
                desk.kind.eq(kind),
                desk.begin.eq(receiver.opened),
                desk.valid.eq(receiver.payload),
                desk.byte.eq(rx.o.payload),
                desk.accept.eq(ended & ~refused),
            ]

        m.d.sync += self.core_reset.eq(forget)
        with m.If(opened):
            m.d.sync += writing.eq(1)
        with m.If(recorder.done):
            m.d.sync += finished.eq(1)
        with m.If(ended):
            m.d.sync += [loaded.eq((loaded | writing) & ~go), writing.eq(0), self.error.eq(refused)]
        with m.If(forget):
            m.d.sync += [loaded.eq(0), finished.eq(0)]

        with m.FSM():
            with m.State("LISTEN"):
                m.d.comb += [receiver.listen.eq(1), self.busy.eq(0)]
                m.d.sync += failure.eq(receiver.error)
                with m.If(receiver.done):
                    m.next = "JUDGE"
            with m.State("JUDGE"):
                m.next = "BEGIN"
                with m.If(~refused):
                    m.d.sync += failure.eq(verdict)
            with m.State("BEGIN"):
                m.d.comb += [ended.eq(1), go.eq(runs & ~refused)]
                m.next = "ANSWER"
                with m.If(go):
                    m.next = "RUN"
                if desk is not None and desk.plays:
                    with m.If(drills & ~refused):
                        m.next = "TRAIN"
            if desk is not None and desk.plays:
                with m.State("TRAIN"), m.If(desk.drill.over):
                    m.next = "ANSWER"
            if desk is None:
                with m.State("RUN"), m.If(recorder.done):
                    m.next = "ANSWER"
            else:
                self._note(m, desk, mailbox, finished)
            with m.State("ANSWER"):
                m.d.comb += sender.start.eq(1)
                with m.If(sender.done):
                    m.next = "LISTEN"
        return m

    def _note(self, m: Module, desk: LearningDesk, mailbox: Mailbox, finished: Signal) -> None:
        """A sample is over when result and core are; both words about it go behind the logits."""
        with m.State("RUN"), m.If(finished & desk.over):
            m.next = "LEARNED"
        for name, following, word, value in (
            ("LEARNED", "COUNT", 0, desk.result),
            ("COUNT", "ANSWER", 1, desk.count),
        ):
            with m.State(name):
                m.d.comb += [
                    mailbox.en.eq(-1),
                    mailbox.addr.eq(LOGITS + self._classes + word),
                    mailbox.data.eq(value),
                ]
                m.next = following

    def _judge(
        self,
        m: Module,
        receiver: FrameReceiver,
        late: Signal,
        writing: Signal,
        loaded: Signal,
        finished: Signal,
        verdict: Signal,
        desk: LearningDesk | None,
    ) -> None:
        """What a whole frame of the kind received is answered: 0, or a fault."""
        if desk is not None:
            m.d.comb += verdict.eq(desk.verdict)
        with m.Switch(receiver.kind):
            with m.Case(Command.WRITE):
                with m.If(~writing):
                    m.d.comb += verdict.eq(ErrorCode.NOT_READY)
                with m.Elif(late):
                    m.d.comb += verdict.eq(ErrorCode.CRC)
            if desk is not None:
                with m.Case(Command.LEARN):
                    with m.If(~writing):
                        m.d.comb += verdict.eq(ErrorCode.NOT_READY)
                    with m.Elif(late):
                        m.d.comb += verdict.eq(ErrorCode.CRC)
                if desk.plays:
                    with m.Case(Command.TRAIN), m.If(~self.ready):
                        m.d.comb += verdict.eq(ErrorCode.NOT_READY)
            with m.Case(Command.RUN), m.If(~loaded):
                m.d.comb += verdict.eq(Mux(self.ready, ErrorCode.NO_INPUT, ErrorCode.NOT_READY))
            with m.Case(Command.READ, Command.COUNTERS), m.If(~finished):
                m.d.comb += verdict.eq(ErrorCode.NO_RESULT)

    def _answer(
        self,
        m: Module,
        receiver: FrameReceiver,
        sender: FrameSender,
        mailbox: Mailbox,
        failure: Signal,
        desk: LearningDesk | None,
    ) -> None:
        """The fields of the answer, and its payload byte by byte."""
        kind = receiver.kind
        identify = kind == Command.IDENTIFY
        m.d.comb += [
            sender.sequence.eq(receiver.sequence),
            sender.kind.eq(kind | ANSWER),
            sender.data.eq(mailbox.byte),
        ]
        # Registers, so that the decoding of the command and the sender are in different cycles.
        m.d.sync += [
            sender.length.eq(0),
            mailbox.index.eq(sender.index + Mux(identify, 0, WORD_BYTES * TAG)),
        ]
        with m.If(identify & (sender.index == STATUS_BYTE)):
            m.d.comb += sender.data.eq(
                Cat(self.ready, self.fault)
                if desk is None
                else Cat(self.ready, self.fault, 1, desk.changed)
            )
        if desk is not None:
            m.d.comb += desk.index.eq(sender.index)
            told = (kind == Command.WEIGHTS) | (kind == Command.STATE)
            if desk.plays:
                told |= kind == Command.TRAIN
            with m.If(told):
                m.d.comb += sender.data.eq(desk.data)
        with m.Switch(kind):
            for command, length in self._answers.items():
                with m.Case(command):
                    m.d.sync += sender.length.eq(length)
        with m.If(failure != 0):
            m.d.comb += [
                sender.kind.eq(REFUSAL),
                sender.data.eq(Mux(sender.index == 0, failure, kind)),
            ]
            m.d.sync += sender.length.eq(2)
