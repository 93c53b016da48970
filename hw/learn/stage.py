"""The learning stage: a program stage that writes its weights."""

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.learning import DITHER_BITS
from hw.learn.engine import UpdateEngine
from hw.learn.held import HeldMaps
from hw.learn.judge import Judge
from hw.learn.memory import MasterMemory
from hw.program.code import Code, Scan, Sweep
from hw.program.operation import operation
from hw.program.program import Program
from hw.program.scanner import Scanner
from hw.program.stage import Learns, ProgramStage, RomFiles
from hw.program.walker import Walker
from hw.stage import TapPoint
from hw.stream.payloads import transfer

__all__ = ["MODE_GIVEN", "MODE_INFER", "MODE_JUDGE", "LearningStage", "teacher"]

MODE_INFER, MODE_JUDGE, MODE_GIVEN = range(3)
"""What is done with a picture: nothing is learned; the judge says what; an error is given."""


def teacher(program: Program) -> wiring.Signature:
    """What a learning stage is told, and tells, beside its streams.

    Members
    -------
    label, mode
        Of a picture: `MODE_...`; taken with its last word.
    margin, rates
        mu; k of each learned edge, less the smallest that the hardware can be set to. To be changed
        between pictures only.
    error : stream of signed(1 + error_planes)
        With `MODE_GIVEN`, the error of each class in order, after the picture's logits have left.
    done, learned
        High for a cycle when all that follows from a picture has been done; whether it was learned.
    random, seed_en, seed
        The last word of the dither's generator; set it.
    row_address, row, row_en, row_data
        Masters, while nothing is done: `row` two cycles after its address; written with `row_en`.
    """
    l = program.learning  # noqa: E741
    assert l is not None
    address = max(1, (len(l.masters) - 1).bit_length())
    width = program.master_table.width
    low, high = l.rate_range
    return wiring.Signature(
        {
            "label": Out(max(1, (program.classes - 1).bit_length())),
            "mode": Out(2),
            "margin": Out(l.margin_bits),
            "rates": Out(data.ArrayLayout(unsigned((high - low).bit_length()), l.rates)),
            "error": Out(stream.Signature(signed(1 + l.error_planes))),
            "done": In(1),
            "learned": In(1),
            "random": In(32),
            "seed_en": Out(1),
            "seed": Out(32),
            "row_address": Out(address),
            "row": In(width),
            "row_en": Out(1),
            "row_data": Out(width),
        }
    )


class LearningStage(ProgramStage):
    """As a program stage; between a picture's logits and the next picture it may learn.

    A reset leaves masters and random word as they are; one within an update leaves some rows
    changed, and others not.

    Parameters
    ----------
    program
        With `learning`; the operation behind its `Send` is a `Decide`.
    files, events, taps
        See `hw.program.stage.ProgramStage`; `masters_file` is that of the masters.

    Members
    -------
    teaching : In(teacher(program))

    Taps
    ----
    words
        As of a program stage.
    counts
        A word of N or B that is written, then the masks of its neurons.
    """

    def __init__(
        self,
        program: Program,
        files: RomFiles | None = None,
        *,
        masters_file: str | None = None,
        events: bool = False,
        taps: bool = False,
    ) -> None:
        self._masters_file = masters_file
        self._tap_counts = Signal()
        self._counted: Signal | None = None
        super().__init__(
            program, files, events=events, taps=taps, more={"teaching": In(teacher(program))}
        )
        self.teacher = teacher(program)
        if taps:
            ports: Any = self._potentials.counting
            counted = Cat(ports.word.as_value(), ports.masks)
            self._counted = Signal(len(counted))
            self.taps["counts"] = TapPoint(self._tap_counts, self._counted)

    def _learn(self, m: Module, word: Value, scanner: Scanner, walker: Walker) -> Learns:
        p, t = self._program, self.teaching
        l = p.learning  # noqa: E741
        assert l is not None
        potentials = self._potentials
        # A cycle late, which is early enough: the operation goes far, to every lane.
        late = Signal(p.code.bits)
        m.d.sync += late.eq(word)
        scan, kind = operation(p, late, Scan), late[: Code.KIND_BITS]
        m.submodules.masters = masters = MasterMemory(
            width=p.master_table.width, rows=p.master_table.words, file=self._masters_file
        )
        m.submodules.engine = engine = UpdateEngine(p)
        m.submodules.held = held = HeldMaps(p, len(scanner.address))
        m.submodules.judge = judge = Judge(
            classes=p.classes, logit_bits=p.logit_bits, margin_bits=l.margin_bits
        )
        wiring.connect(m, potentials.counting, held.counting)
        learns = Learns()
        updating = Signal()
        m.d.comb += [
            updating.eq((kind == Code.number(Scan)) & scan.update),
            learns.updating.eq(updating),
            learns.busy.eq(engine.busy),
            held.word.eq(late),
            held.sweeping.eq(kind == Code.number(Sweep)),
            held.address.eq(scanner.address),
            held.read.eq(scanner.read),
            scanner.held.eq(held.held),
            held.vector_address.eq(walker.o.potential),
            engine.valid.eq(walker.valid & updating),
            engine.i.eq(walker.o),
            engine.vector.eq(held.vector),
            engine.rate.eq(t.rates[scan.rate] if l.rates > 1 else t.rates[0]),
            masters.addr.eq(
                Mux(learns.idle, t.row_address, Mux(updating, engine.read, walker.o.weight))
            ),
            masters.write_en.eq(engine.write | t.row_en),
            masters.write_addr.eq(Mux(t.row_en, t.row_address, engine.address)),
            masters.write_data.eq(Mux(t.row_en, t.row_data, engine.changed)),
            engine.row.eq(masters.data),
            t.row.eq(masters.data),
        ]
        for k in range(p.lanes):
            master = masters.data.word_select(k, l.master_bits)
            m.d.comb += potentials.row[k].eq(master[l.fraction_bits :].as_signed())
        self._dither(m, learns, engine)
        self._decide(m, learns, judge, held)
        if self._counted is not None:
            port: Any = potentials.counting
            m.d.comb += [
                self._tap_counts.eq(port.forward | port.back),
                self._counted.eq(Cat(port.word.as_value(), port.masks)),
            ]
        return learns

    def _dither(self, m: Module, learns: Learns, engine: UpdateEngine) -> None:
        """xorshift32, a step for each sample that is learned."""
        t, l = self.teaching, self._program.learning  # noqa: E741
        assert l is not None
        x = Signal(32, init=l.seed, reset_less=True)
        steps = [Signal(32, name=f"x{n}") for n in range(3)]
        m.d.comb += [
            steps[0].eq(x ^ x << 13),
            steps[1].eq(steps[0] ^ steps[0] >> 17),
            steps[2].eq(steps[1] ^ steps[1] << 5),
            engine.random.eq(x[:DITHER_BITS]),
            t.random.eq(x),
        ]
        with m.If(t.seed_en):
            m.d.sync += x.eq(t.seed)
        with m.Elif(learns.decided & learns.learn):
            m.d.sync += x.eq(steps[2])

    def _decide(self, m: Module, learns: Learns, judge: Judge, held: HeldMaps) -> None:
        """The verdict on a picture, by its label or the error that is given."""
        t = self.teaching
        given = Signal(range(self._program.classes))
        some, complete = Signal(), Signal()
        label = Array(Signal.like(t.label, name=f"label{n}") for n in range(2))
        mode = Array(Signal.like(t.mode, name=f"mode{n}") for n in range(2))
        for n in range(2):
            with m.If(learns.taken & (learns.target == n)):
                m.d.sync += [label[n].eq(t.label), mode[n].eq(t.mode)]
        here = Signal.like(t.mode)
        m.d.comb += [
            here.eq(mode[learns.current]),
            judge.clear.eq(learns.finished),
            judge.valid.eq(transfer(self.o)),
            judge.logit.eq(self.o.payload.logit),
            judge.label.eq(label[learns.current]),
            judge.margin.eq(t.margin),
            held.label.eq(judge.label),
            held.wrong.eq(judge.wrong),
            held.judged.eq(learns.deciding & judge.done & (here == MODE_JUDGE)),
            held.error_en.eq(transfer(t.error)),
            held.error_index.eq(given),
            held.error_value.eq(t.error.payload),
            t.error.ready.eq(learns.deciding & judge.done & (here == MODE_GIVEN) & ~complete),
            t.done.eq(learns.finished),
            t.learned.eq(learns.deep),
        ]
        with m.If(transfer(t.error)):
            m.d.sync += [
                given.eq(given + 1),
                some.eq(some | (t.error.payload != 0)),
                complete.eq(given == self._program.classes - 1),
            ]
        with m.If(learns.finished | (complete & learns.decided)):
            m.d.sync += [given.eq(0), some.eq(0), complete.eq(0)]
        # Whatever is to follow, the picture's logits leave first: the judge counts them.
        with m.Switch(here):
            with m.Case(MODE_GIVEN):
                m.d.comb += [learns.decided.eq(learns.deciding & complete), learns.learn.eq(some)]
            with m.Default():
                m.d.comb += [
                    learns.decided.eq(learns.deciding & judge.done),
                    learns.learn.eq(judge.learn & (here == MODE_JUDGE)),
                ]
