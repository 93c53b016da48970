"""The part of a host port that a learning core needs: what may be set, asked for and learned."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import C, Cat, Module, Mux, Shape, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.contract.checks import SpecError
from hw.contract.link import (
    COUNT_BYTES,
    LABEL_BYTES,
    LENGTH_MAX,
    LOGITS,
    MARGIN_BYTES,
    ROW_BYTES,
    STATE_BYTES,
    TAG,
    TRAIN_BYTES,
    WORD_BYTES,
    Command,
    ErrorCode,
)

__all__ = ["LearningDesk", "LearningFacts", "drill"]

JUDGE = 1
"""`hw.learn.stage.MODE_JUDGE`: the sample is learned, if the judge says so."""


SAMPLE_BYTES = 2
PASSES_BYTES = 2
"""Of a number of pictures in the store; of passes over them."""


def drill(samples: int, label_bits: int) -> wiring.Signature:
    """What a store of so many labelled pictures is told, and tells (`hw.top.sample_store`).

    Members
    -------
    start
        Play `count` pictures from number `first` on, `passes` times; those are stable until `over`.
    done
        The core has done all that follows from a picture.
    label
        Of the picture whose word is offered to the core.
    over
        Nothing is played.
    cycles, hits
        Of what was played last: how long it took, and how many pictures had the class of their
        label before anything was learned from them.
    """
    return wiring.Signature(
        {
            "start": Out(1),
            "first": Out(range(samples)),
            "count": Out(range(samples + 1)),
            "passes": Out(8 * PASSES_BYTES),
            "done": Out(1),
            "label": In(label_bits),
            "over": In(1),
            "cycles": In(48),
            "hits": In(32),
        }
    )


@dataclass(frozen=True, kw_only=True)
class LearningFacts:
    """What a host port needs to know of a core that learns.

    Parameters
    ----------
    teacher
        `hw.learn.stage.teacher` of its program: widths of label, margin, rates and rows.
    rows, master_bits, weight_bits
        Of the memory of masters; width of a master, and of the weight that is its upper bits.
    lowest, highest
        Rates that the hardware can be set to.
    margin, rates
        At power-up.
    learned
        Samples that the masters at power-up have learned.
    samples
        Labelled pictures on the chip.
    """

    teacher: wiring.Signature
    rows: int
    master_bits: int
    weight_bits: int
    lowest: int
    highest: int
    margin: int
    rates: tuple[int, ...]
    learned: int = 0
    samples: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.rows <= LENGTH_MAX:
            raise SpecError(f"Rows of masters must be 1 to {LENGTH_MAX}, not {self.rows!r}")
        if not 0 <= self.samples < 1 << 8 * SAMPLE_BYTES:
            raise SpecError(
                f"Pictures on the chip must be at most {(1 << 8 * SAMPLE_BYTES) - 1}, not "
                f"{self.samples!r}"
            )
        if len(self.rates) > 64 or not all(
            self.lowest <= rate <= self.highest for rate in self.rates
        ):
            raise SpecError(
                f"Rates must be at most 64 in {self.lowest}..{self.highest}, not {self.rates!r}"
            )
        if not 0 <= self.margin < 1 << self.width("margin"):
            raise SpecError(
                f"Margin must have at most {self.width('margin')} bits, not be {self.margin!r}"
            )

    def width(self, member: str) -> int:
        """Bits of a member of `teacher`."""
        shape: Any = self.teacher.members[member].shape
        return Shape.cast(shape).width

    @property
    def drill(self) -> wiring.Signature:
        """To the store of pictures."""
        return drill(self.samples, self.width("label"))

    @property
    def row_bytes(self) -> int:
        """Of a row of masters."""
        return -(-self.width("row") // 8)

    def payloads(self, image_bytes: int) -> dict[int, int]:
        """Bytes of payload of each command that only a learning core has."""
        train: dict[int, int] = {Command.TRAIN: 2 * SAMPLE_BYTES + PASSES_BYTES + COUNT_BYTES}
        return (train if self.samples else {}) | {
            Command.LEARN: image_bytes + LABEL_BYTES + COUNT_BYTES,
            Command.RATE: 1 + MARGIN_BYTES + len(self.rates),
            Command.WEIGHTS: ROW_BYTES,
            Command.LOAD: ROW_BYTES + self.row_bytes,
            Command.SEED: WORD_BYTES + COUNT_BYTES,
            Command.STATE: 0,
        }

    def answers(self, result_bytes: int) -> dict[int, int]:
        """Bytes of payload of the answers to them that have any."""
        train: dict[int, int] = {Command.TRAIN: TRAIN_BYTES}
        return (train if self.samples else {}) | {
            Command.LEARN: result_bytes,
            Command.WEIGHTS: self.row_bytes,
            Command.STATE: STATE_BYTES + len(self.rates),
        }


class LearningDesk(wiring.Component):
    """Takes the payloads of LEARN, TRAIN, RATE, WEIGHTS, LOAD and SEED, says whether they can be
    carried out, and carries them out; count of learned samples and settings are kept here.

    All payloads go through one shift register: their fields are its last bytes, and stand until the
    next payload. Nothing is changed before `accept`. A reset leaves everything as it is, as it
    leaves the core's masters.

    Parameters
    ----------
    facts
        Of the core.
    classes, image_bytes
        Logits of a result; bytes of a LEARN before the label.

    Members
    -------
    teacher : Out(facts.teacher)
        To the core; its stream of errors stays empty.
    kind : In(8)
        Of the frame; stable from its header to its answer.
    begin : In(1)
        A payload will come.
    valid, byte : In
        Its next byte.
    image : Out(1)
        That byte is one of an image.
    verdict : Out(4)
        0, or why a right frame of this kind is refused; `LATENCY` cycles after its last byte.
    accept : In(1)
        Carry it out: of LEARN and RUN, a sample begins; not earlier than `verdict`.
    over : Out(1)
        The core has done all that follows from the sample; `result` and `count` are of now.
    result : Out(1)
        The sample was learned.
    count : Out(32)
        Samples learned.
    changed : Out(1)
        A sample was learned, or a row loaded, since power-up.
    index : In
        Byte of an answer to WEIGHTS, STATE or TRAIN; it is in `data` `LATENCY` cycles later.
    data : Out(8)
    drill : Out(drill), where there are pictures on the chip
    """

    LATENCY = 4

    teacher: Any
    kind: Signal
    begin: Signal
    valid: Signal
    byte: Signal
    image: Signal
    verdict: Signal
    accept: Signal
    over: Signal
    result: Signal
    count: Signal
    changed: Signal
    index: Signal
    data: Signal
    drill: Any

    def __init__(self, facts: LearningFacts, *, classes: int, image_bytes: int) -> None:
        self._facts, self._classes, self._size = facts, classes, image_bytes
        longest = max(facts.answers(WORD_BYTES * (LOGITS - TAG)).values())
        more = {"drill": Out(facts.drill)} if facts.samples else {}
        super().__init__(
            more
            | {
                "teacher": Out(facts.teacher),
                "kind": In(8),
                "begin": In(1),
                "valid": In(1),
                "byte": In(8),
                "image": Out(1),
                "verdict": Out(4),
                "accept": In(1),
                "over": Out(1),
                "result": Out(1),
                "count": Out(32),
                "changed": Out(1),
                "index": In(range(longest + 1)),
                "data": Out(8),
            }
        )

    @property
    def plays(self) -> bool:
        """There are pictures on the chip."""
        return self._facts.samples > 0

    def elaborate(self, platform) -> Module:
        m = Module()
        f, t = self._facts, self.teacher
        lengths = f.payloads(0)
        buffer = Signal(8 * max(lengths.values()), reset_less=True)
        left = Signal(range(self._size + 1))
        m.d.comb += self.image.eq(left != 0)
        with m.If(self.begin):
            m.d.sync += left.eq(self._size)
        with m.Elif(self.valid):
            m.d.sync += buffer.eq(Cat(buffer, self.byte)[8:])
            with m.If(self.image):
                m.d.sync += left.eq(left - 1)
        count = Signal(32, init=f.learned, reset_less=True)
        changed = Signal(reset_less=True)
        m.d.comb += [self.count.eq(count), self.changed.eq(changed)]

        def fields(command: Command, *sizes: int) -> list:
            """The fields of a command's payload, from its end."""
            place, found = len(buffer) - 8 * sum(sizes), []
            for size in sizes:
                found.append(buffer[place : place + 8 * size])
                place += 8 * size
            return found

        label, expected = fields(Command.LEARN, LABEL_BYTES, COUNT_BYTES)
        on, margin, *rates = fields(Command.RATE, 1, MARGIN_BYTES, *[1] * len(f.rates))
        (wanted,) = fields(Command.WEIGHTS, ROW_BYTES)
        loaded, row = fields(Command.LOAD, ROW_BYTES, f.row_bytes)
        masters = [row[n : n + f.master_bits] for n in range(0, f.width("row"), f.master_bits)]
        random, learned = fields(Command.SEED, WORD_BYTES, COUNT_BYTES)

        # In registers, twice where it is much: a payload stands long before it is judged.
        kind = self.kind
        place, loads = Signal(8 * ROW_BYTES), Signal()
        m.d.sync += [
            loads.eq(kind == Command.LOAD),
            place.eq(Mux(loads, loaded, wanted)),
            self.verdict.eq(0),
        ]
        other, no_label, beyond, unset, below = (Signal(name=f"bad{n}") for n in range(5))
        low = [Signal(name=f"low{n}") for n in range(len(masters))]
        out = [Signal(name=f"rate{n}_out") for n in range(len(rates))]
        m.d.sync += [
            other.eq(expected != count),
            no_label.eq(label >= self._classes),
            beyond.eq(place >= f.rows),
            unset.eq(random == 0),
            # The weight -q - 1; its upper bits alone say so.
            *(
                flag.eq(master[-f.weight_bits :] == 1 << f.weight_bits - 1)
                for flag, master in zip(low, masters, strict=True)
            ),
            below.eq(Cat(low).any()),
            *(
                flag.eq((rate.as_signed() < f.lowest) | (rate.as_signed() > f.highest))
                for flag, rate in zip(out, rates, strict=True)
            ),
        ]
        label_now, teaches_kind, impossible = label, kind == Command.LEARN, Signal()
        # In a register, as it goes to every bit of a row, which stands for long.
        m.d.sync += t.row_en.eq(self.accept & (kind == Command.LOAD))
        if f.samples:
            first, number, passes, _ = fields(
                Command.TRAIN, SAMPLE_BYTES, SAMPLE_BYTES, PASSES_BYTES, COUNT_BYTES
            )
            d, drills = self.drill, kind == Command.TRAIN
            m.d.sync += impossible.eq((number == 0) | (passes == 0) | (first + number > f.samples))
            m.d.comb += [
                d.start.eq(self.accept & drills),
                d.first.eq(first),
                d.count.eq(number),
                d.passes.eq(passes),
                d.done.eq(t.done),
            ]
            label_now, teaches_kind = Mux(drills, d.label, label), teaches_kind | drills
        wide = Signal()
        m.d.sync += wide.eq((margin >> f.width("margin") != 0) | (on > 1))
        with m.Switch(kind):
            with m.Case(Command.LEARN):
                with m.If(no_label):
                    m.d.sync += self.verdict.eq(ErrorCode.VALUE)
                with m.Elif(other):
                    m.d.sync += self.verdict.eq(ErrorCode.COUNT)
            if f.samples:
                with m.Case(Command.TRAIN):
                    with m.If(impossible):
                        m.d.sync += self.verdict.eq(ErrorCode.VALUE)
                    with m.Elif(other):
                        m.d.sync += self.verdict.eq(ErrorCode.COUNT)
            with m.Case(Command.RATE), m.If(wide | Cat(out).any()):
                m.d.sync += self.verdict.eq(ErrorCode.VALUE)
            with m.Case(Command.WEIGHTS), m.If(beyond):
                m.d.sync += self.verdict.eq(ErrorCode.VALUE)
            with m.Case(Command.LOAD), m.If(beyond | below):
                m.d.sync += self.verdict.eq(ErrorCode.VALUE)
            with m.Case(Command.SEED), m.If(unset):
                m.d.sync += self.verdict.eq(ErrorCode.VALUE)

        enabled = Signal(init=1, reset_less=True)
        margin_now = Signal.like(t.margin, init=f.margin, reset_less=True)
        span = f.width("rates") // len(f.rates)
        rates_now = [
            Signal(span, init=rate - f.lowest, reset_less=True, name=f"rate{n}")
            for n, rate in enumerate(f.rates)
        ]
        seeds, sets, teaches = Signal(), Signal(), Signal()
        m.d.comb += [
            seeds.eq(self.accept & (kind == Command.SEED)),
            sets.eq(self.accept & (kind == Command.RATE)),
            teaches.eq(teaches_kind & enabled),
            t.label.eq(label_now),
            t.mode.eq(Mux(teaches, JUDGE, 0)),
            t.margin.eq(margin_now),
            t.rates.as_value().eq(Cat(rates_now)),
            t.seed_en.eq(seeds),
            t.seed.eq(random),
            t.row_address.eq(place),
            t.row_data.eq(row),
        ]
        with m.If(sets):
            m.d.sync += [enabled.eq(on[0]), margin_now.eq(margin)]
            m.d.sync += [
                now.eq(rate.as_signed() - f.lowest)
                for now, rate in zip(rates_now, rates, strict=True)
            ]
        with m.If(self.accept):
            m.d.sync += [self.over.eq(0), self.result.eq(0)]
        with m.If(t.done):
            m.d.sync += [self.over.eq(1), self.result.eq(t.learned)]
        with m.If(seeds):
            m.d.sync += count.eq(learned)
        with m.Elif(t.done & t.learned):
            m.d.sync += count.eq(count + 1)
        with m.If(t.row_en | (t.done & t.learned)):
            m.d.sync += changed.eq(1)
        self._answer(m, enabled, margin_now, rates_now)
        return m

    def _answer(self, m: Module, enabled: Signal, margin: Signal, rates: list[Signal]) -> None:
        """The bytes of STATE, and of a row."""
        f, t = self._facts, self.teacher
        state = Cat(
            self.count,
            t.random,
            C(f.rows, 16),
            C(f.row_bytes, 16),
            C(f.master_bits, 8),
            C(f.weight_bits, 8),
            C(len(rates), 8),
            C(f.lowest, signed(8)),
            C(f.highest, signed(8)),
            C(f.samples, 8 * SAMPLE_BYTES),
            margin,
            C(0, 32 - len(margin)),
            enabled,
            C(0, 7),
        )
        wide = [Signal(signed(8), name=f"wide{n}") for n in range(len(rates))]
        for signal, rate in zip(wide, rates, strict=True):
            m.d.comb += signal.eq(rate + f.lowest)
        row = Cat(t.row, C(0, 8 * f.row_bytes - f.width("row")))
        said = Signal(8 * (STATE_BYTES + len(rates)))
        there = Signal(8 * f.row_bytes)
        m.d.comb += [said.eq(Cat(state, wide)), there.eq(row)]
        byte = Mux(
            self.kind == Command.STATE,
            said.word_select(self.index, 8),
            there.word_select(self.index, 8),
        )
        if f.samples:
            d = self.drill
            told = Cat(d.cycles, C(0, 64 - len(d.cycles)), self.count, d.hits)
            byte = Mux(self.kind == Command.TRAIN, told.word_select(self.index, 8), byte)
        m.d.sync += self.data.eq(byte)
