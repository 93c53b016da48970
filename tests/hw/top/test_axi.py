"""hw.top.axi in the Amaranth simulator: what leaves is the golden answer to every faultless
packet."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil  # type: ignore[attr-defined]
from amaranth.hdl import Cat, ClockDomain, DomainRenamer, Module, Mux, ResetSignal, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from gen.core.law import CycleLaw
from gen.core.plan import CorePlan, plan_core
from gen.ip.package import used_bytes
from hw.contract.layout import MapLayout
from hw.neuron.readout import result_layout
from hw.stream.payloads import coefficients
from hw.top.axi import ERRORS, AxiStreamCore
from sim.golden.model import GoldenModel
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace, bits
from tests.hw.proving import Case, ports_of, prove, yosys
from tests.hw.vectors import random_vectors
from tests.networks import random_chain

SHORT, LONG, LARGE = (1 << bit for bit in range(len(ERRORS)))


def axi_core(plan: CorePlan) -> AxiStreamCore:
    return AxiStreamCore(plan.component(files=False), used=used_bytes(plan))


class Streams(wiring.Component):
    """An AxiStreamCore whose ports are Amaranth streams."""

    i: stream.Interface
    o: stream.Interface
    error: Signal

    def __init__(self, dut: AxiStreamCore) -> None:
        self.dut = dut
        self.taken = data.StructLayout({"data": data.ArrayLayout(8, dut.word), "last": 1})
        self.sent = data.StructLayout({"logit": 32, "best": len(dut.m_axis_tuser), "last": 1})
        super().__init__(
            {
                "aclk": In(1),
                "i": In(stream.Signature(self.taken)),
                "o": Out(stream.Signature(self.sent)),
                "error": Out(len(ERRORS)),
            }
        )
        self.aclk, self.reset = dut.aclk, Signal()

    def elaborate(self, platform) -> Module:
        m = Module()
        # Its clock domain would stand in for that of the harness around.
        m.submodules.dut = DomainRenamer({"sync": "axis"})(self.dut)
        dut = self.dut
        m.d.comb += [
            dut.aresetn.eq(~ResetSignal()),
            Cat(dut.s_axis_tdata, dut.s_axis_tlast).eq(self.i.payload),
            dut.s_axis_tvalid.eq(self.i.valid),
            self.i.ready.eq(dut.s_axis_tready),
            self.o.payload.eq(Cat(dut.m_axis_tdata, dut.m_axis_tuser, dut.m_axis_tlast)),
            self.o.valid.eq(dut.m_axis_tvalid),
            dut.m_axis_tready.eq(self.o.ready),
            self.error.eq(dut.error),
        ]
        return m

    def clocked(self) -> Module:
        """For the simulator, which clocks domains, not ports."""
        m = Module()
        domain: Any = ClockDomain("sync")
        domain.clk, domain.rst = self.aclk, self.reset
        m.domains += domain
        m.submodules.streams = self
        return m

    def packet(self, pixels: Sequence[int], transfers: int | None = None) -> list[int]:
        """A packet with these bytes; what is beyond them is junk. A number of transfers that is
        not the image's makes it a fault."""
        word, count = self.dut.word, transfers or self.dut.words
        junk = np.random.default_rng(len(pixels)).integers(0, 256, count * word).tolist()
        values = [*pixels, *junk[len(pixels) :]]
        return [
            bits(self.taken, {"data": values[n * word : (n + 1) * word], "last": n == count - 1})
            for n in range(count)
        ]

    def expected(self, plan: CorePlan, pixels: np.ndarray) -> list[int]:
        """What `o` says of images."""
        answers = []
        for row in GoldenModel(plan.network).run(pixels).logits.tolist():
            for n, logit in enumerate(row):
                best = row.index(max(row[: n + 1]))
                answer = {"logit": logit % 2**32, "best": best, "last": n == len(row) - 1}
                answers.append(bits(self.sent, answer))
        return answers


def make_plan(sizes=(37, 7, 4), *, input_bits=3, lanes=8, banks=2, steps=2) -> CorePlan:
    rng = np.random.default_rng(1)
    return plan_core(random_chain(rng, sizes, steps=steps, input_bits=input_bits), lanes, banks)


def make_pixels(plan: CorePlan, count: int) -> np.ndarray:
    spec = plan.network.spec
    rng = np.random.default_rng(count)
    return random_vectors(rng, count, spec.input_size, spec.input_bits, False).astype(np.uint8)


PLANS = {
    "padded": {},  # 37 pixels in 2 words of 32
    "full-bytes": {"sizes": (16, 5), "input_bits": 8, "banks": 1},  # no padding, no spare bit
    "smallest": {"sizes": (1, 1), "input_bits": 1, "banks": 1, "steps": 1},  # a word, a logit
    "many-classes": {"sizes": (5, 300), "lanes": 60, "banks": 1, "steps": 1},  # 9-bit class
}


@pytest.mark.parametrize(
    ("name", "pace"),
    [(name, pace) for name in PLANS for pace in (FLOWING, *JITTERY) if "many" not in name]
    + [("many-classes", FLOWING)],
    ids=str,
)
def test_packets_are_answered_like_the_golden_model(name: str, pace: Pace) -> None:
    plan = make_plan(**PLANS[name])
    pixels = make_pixels(plan, 5)
    dut = Streams(axi_core(plan))
    bench = Bench(dut.clocked(), pace)
    bench.feed(dut.i, [word for image in pixels for word in dut.packet(image.tolist())])
    expected = dut.expected(plan, pixels)
    sink = bench.collect(dut.o, len(expected))
    errors = bench.watch(dut.error)
    bench.run(extra=60)
    assert sink.values == expected
    assert set(errors) == {(0,)}
    if pace == FLOWING:
        check_latency(plan, pixels, sink.taken)


def test_images_wait_outside_when_too_many_are_inside(monkeypatch) -> None:
    """No core holds as many as the counter can count: here it can count one."""
    monkeypatch.setattr("hw.top.axi.MAX_IN_FLIGHT", 1)
    plan = make_plan()
    pixels = make_pixels(plan, 4)
    dut = Streams(axi_core(plan))
    bench = Bench(dut.clocked())
    bench.feed(dut.i, [word for image in pixels for word in dut.packet(image.tolist())])
    expected = dut.expected(plan, pixels)
    sink = bench.collect(dut.o, len(expected))
    bench.run(extra=60)
    assert sink.values == expected


def check_latency(plan: CorePlan, pixels: np.ndarray, taken: list[int]) -> None:
    """The core's cycle law, and what the wrapper adds; one cycle more is the reset's."""
    classes, trace = plan.network.spec.classes, GoldenModel(plan.network).run(pixels)
    predicted = CycleLaw(plan).predict(pixels, trace.spikes) + AxiStreamCore.LATENCY + 1
    assert taken[classes - 1 :: classes] == predicted.tolist()


def too_large(image: np.ndarray, plan: CorePlan, pixel: int) -> list[int]:
    values = image.tolist()
    values[pixel] += plan.network.spec.pixel_max + 1
    return values


FAULTS: dict[str, Any] = {  # packets of (pixels to spoil, transfers), the error bits they leave
    "short": ([(None, 1)], SHORT),
    "long": ([(None, 3)], LONG),
    "very long": ([(None, 9)], LONG),
    "first pixel": ([(0, 2)], LARGE),
    "last pixel": ([(36, 2)], LARGE),
    "large and short": ([(3, 1)], SHORT | LARGE),
    "several": ([(None, 1), (None, 1), (5, 5), (None, 4)], SHORT | LONG | LARGE),
}


@pytest.mark.parametrize("pace", [FLOWING, JITTERY[3]], ids=str)
@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_packet_is_dropped_and_told(fault: str, before: int, pace: Pace) -> None:
    """Whatever is under way is answered, what follows is right, nothing else comes."""
    plan = make_plan()
    dut = Streams(axi_core(plan))
    pixels = make_pixels(plan, before + 2)
    packets, mark = FAULTS[fault]
    words = [word for image in pixels[:before] for word in dut.packet(image.tolist())]
    start = len(words)
    for spoilt, transfers in packets:
        bad = pixels[0].tolist() if spoilt is None else too_large(pixels[0], plan, spoilt)
        words += dut.packet(bad[: transfers * dut.dut.word], transfers)
    words += [word for image in pixels[before:] for word in dut.packet(image.tolist())]
    bench = Bench(dut.clocked(), pace)
    source = bench.feed(dut.i, words)
    expected = dut.expected(plan, pixels)
    sink = bench.collect(dut.o, len(expected))
    errors = bench.watch(dut.error)
    bench.run(extra=60)
    assert sink.values == expected
    assert errors[-1] == (mark,)
    assert not any(error for (error,) in errors[: source.taken[start]])
    assert all(a & b == a for (a,), (b,) in pairwise(errors))  # sticky


def first_answer(plan: CorePlan, pixels: np.ndarray) -> int:
    """The cycle in which it leaves."""
    dut = Streams(axi_core(plan))
    bench = Bench(dut.clocked())
    bench.feed(dut.i, [word for image in pixels for word in dut.packet(image.tolist())])
    sink = bench.collect(dut.o, len(pixels) * plan.network.spec.classes)
    bench.run()
    return sink.taken[0]


@pytest.mark.parametrize("moment", [1, 2, 3, 5, 9, *(f"answer{n:+}" for n in range(-3, 4))])
def test_one_cycle_of_reset_at_any_time(moment: int | str) -> None:
    """What came before the reset is gone; a packet it cut is short; what follows is right."""
    plan = make_plan()
    dut = Streams(axi_core(plan))
    early = isinstance(moment, int)
    pixels = make_pixels(plan, 6 if early else 9)  # enough for two answers after the reset
    reset_at = moment if early else first_answer(plan, pixels) + int(moment[len("answer") :])
    packets = [dut.packet(image.tolist()) for image in pixels]
    bench = Bench(dut.clocked())
    source = bench.feed(dut.i, [word for packet in packets for word in packet])
    sink = bench.collect(dut.o, 2 * plan.network.spec.classes)
    bench.play(dut.reset, [0] * reset_at + [1])
    states = bench.watch(dut.reset, dut.o.valid, dut.error, dut.i.ready)
    bench.run()
    # The sender waits in the cycle after the reset; what the reset's own cycle takes is lost.
    lost = sum(cycle <= reset_at for cycle in source.taken)
    cut = lost % dut.dut.words
    answered = sum(cycle <= reset_at for cycle in sink.taken)
    good = pixels[-(-lost // dut.dut.words) :]
    expected = dut.expected(plan, good)
    assert sink.values[answered:] == expected[: len(sink.values) - answered]
    assert states[reset_at + 1][1:] == (0, 0, 0)
    assert states[-1][2] == (SHORT if cut else 0)


@pytest.mark.parametrize("name", ["padded", "smallest"])
def test_offers_stand_and_no_path_leads_from_an_input_to_an_output(
    name: str, tmp_path: Path
) -> None:
    plan = (
        make_plan((3, 2), input_bits=2, lanes=2, banks=1, steps=1)
        if name == "padded"
        else (make_plan(**PLANS[name]))
    )
    run = prove(Case(lambda: Streams(axi_core(plan)), 3), tmp_path)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr
    dut = axi_core(plan)
    (tmp_path / "dut.il").write_text(rtlil.convert(dut, ports=ports_of(dut), name="dut"))
    paths = "o:* %cie* i:* %i"
    run = yosys(
        "read_rtlil dut.il; hierarchy -top dut; proc; flatten; opt_clean; "
        f"select -assert-any o:*; select -assert-none {paths}",
        tmp_path,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr


@pytest.mark.parametrize(
    ("name", "word", "words", "user"),
    [("padded", 32, 2, 8), ("smallest", 1, 1, 8), ("many-classes", 8, 1, 16)],
)
def test_ports(name: str, word: int, words: int, user: int) -> None:
    dut = axi_core(make_plan(**PLANS[name]))
    assert (dut.word, dut.words) == (word, words)
    text = rtlil.convert(dut, ports=ports_of(dut), name="dut")
    found = re.findall(
        r"wire(?: width (\d+))? (input|output) \d+\s+\\(\w+)",
        text[text.index("module \\dut\n") :].partition("\nend\n")[0],
    )
    assert {(port, way, int(width or 1)) for width, way, port in found} == {
        ("aclk", "input", 1),
        ("aresetn", "input", 1),
        ("error", "output", len(ERRORS)),
        ("s_axis_tdata", "input", 8 * word),
        ("s_axis_tvalid", "input", 1),
        ("s_axis_tready", "output", 1),
        ("s_axis_tlast", "input", 1),
        ("m_axis_tdata", "output", 32),
        ("m_axis_tvalid", "output", 1),
        ("m_axis_tready", "input", 1),
        ("m_axis_tlast", "output", 1),
        ("m_axis_tuser", "output", user),
    }


# Which bytes are pixels


class Echo(wiring.Component):
    """In place of a core: answers each word with itself as a logit, and an image ends with its
    last word."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, word: int, words: int, planes: int) -> None:
        self._words, bits = words, word * planes
        super().__init__(
            {
                "i": In(stream.Signature(coefficients(word, planes, False))),
                "o": Out(stream.Signature(result_layout(3, bits + 1))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        count, source = Signal(range(self._words)), self.i
        sink: Any = self.o
        last = count == self._words - 1
        m.d.comb += [
            sink.valid.eq(source.valid),
            source.ready.eq(sink.ready),
            sink.payload.logit.eq(source.payload.as_value()),
            sink.payload.last.eq(last),
        ]
        with m.If(source.valid & source.ready):
            m.d.sync += count.eq(Mux(last, 0, count + 1))
        return m


def _used(layout: MapLayout) -> Any:
    used = np.zeros((layout.words, layout.lanes), dtype=bool)
    used[layout.places()] = True
    return used


@pytest.mark.parametrize(
    "used",
    [
        _used(MapLayout((1, 3, 4), 4, 4)),
        _used(MapLayout((1, 3, 5), 4, 4)),
        _used(MapLayout((3, 2, 3), 8, 2)),
        _used(MapLayout((5, 2, 2), 4)),
        np.array([[0, 1, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 0, 0], [0, 0, 1]], dtype=bool),
    ],
    ids=[
        "every byte is a pixel",
        "rows of two transfers, the second with one pixel",
        "a byte of each position is no channel",
        "a second group, of one channel",
        "pixels that begin and end anywhere",
    ],
)
def test_only_pixels_pass_and_are_judged(used: Any) -> None:
    """Junk elsewhere is taken for 0, and is no fault; a pixel that is too large is one."""
    planes, (count, word), images = 3, used.shape, 4
    rng = np.random.default_rng(1)
    sent = rng.integers(0, 256, (images, *used.shape))
    sent[:, used] %= 1 << planes
    spoilt = sent[1].copy()
    spoilt[tuple(np.argwhere(used)[-1])] = 1 << planes
    core: Any = Echo(word, count, planes)
    dut = Streams(AxiStreamCore(core, used=used))
    bench = Bench(dut.clocked(), FLOWING)
    packets = [dut.packet(image.reshape(-1).tolist()) for image in (sent[0], spoilt, *sent[1:])]
    bench.feed(dut.i, [transfer for packet in packets for transfer in packet])
    sink = bench.collect(dut.o, images * count + count - 1)
    errors = bench.watch(dut.error)
    bench.run(extra=20)
    logits = [value & (1 << 32) - 1 for value in sink.values]
    words = [
        [sum(int(v) << planes * k for k, v in enumerate(row)) for row in np.where(used, image, 0)]
        for image in (sent[0], spoilt, *sent[1:])
    ]
    wanted = [*words[0], *words[1][:-1], *(word for image in words[2:] for word in image)]
    assert logits == wanted
    assert {error for (error,) in errors} == {0, LARGE}
