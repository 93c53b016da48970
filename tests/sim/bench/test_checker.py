"""The checker: right records pass, and every kind of wrong value is counted and named."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from gen.core.plan import CorePlan, plan_core, plan_programs
from hw.contract.neuron import NeuronSpec
from sim.bench.checker import Checker, Findings
from sim.bench.recording import Recording
from sim.golden.model import GoldenModel, Trace
from tests.hw.driving import FLOWING, Bench
from tests.hw.program.programs import conv, dense, network, part, random_pixels

MAPS = network(
    (2, 3, 3), part(4, conv("input", 3, padding=1)), part(8, dense("a")), part(3, dense("b"))
)
CHAIN = network((1, 3, 3), part(6, dense("input")), part(3, dense("a")))
PLANS: dict[str, Callable[[], CorePlan]] = {
    "program": lambda: plan_programs(MAPS, 4, ()),
    "layers": lambda: plan_core(CHAIN, 4, 2),
}
Records = dict[str, list[tuple[int, int]]]


@cache
def recorded(which: str) -> tuple[CorePlan, np.ndarray, Records, list[tuple[str, int]]]:
    """A core in Amaranth's simulator: (cycle, value) of each row of each record."""
    plan = PLANS[which]()
    pixels, core = random_pixels(plan.network, 2), plan.component(files=False, taps=True)
    bench = Bench(core, FLOWING, limit=100_000)
    bench.feed(core.i, plan.pack(pixels))
    sink = bench.collect(core.o, len(pixels) * plan.network.spec.classes)
    seen = {
        name: bench.watch(getattr(core, f"tap_{name}_valid"), getattr(core, f"tap_{name}"))
        for name, _ in core.taps
    }
    bench.run(extra=40)
    records = {
        name: [(n, value) for n, (valid, value) in enumerate(rows) if valid]
        for name, rows in seen.items()
    }
    records["results"] = list(zip(sink.taken, sink.values, strict=True))
    bits = len(core.o.payload.as_value())
    return plan, pixels, records, [*core.taps, ("results", bits)]


def found(folder: Path, which: str, spoil: Callable[[Records], object]) -> Findings:
    """About two pictures, each checked by itself, after `spoil`."""
    plan, pixels, records, widths = recorded(which)
    copy = {name: list(rows) for name, rows in records.items()}
    spoil(copy)
    for name, bits in widths:
        rows = [(n % 2**32 | value << 32) for n, value in copy[name]]
        size = 4 * (1 + -(-bits // 32))
        (folder / f"{name}.bin").write_bytes(b"".join(r.to_bytes(size, "little") for r in rows))
    checker = Checker(plan, Recording(folder, widths), tapped=True, law=True)
    trace = GoldenModel(plan.network).run(pixels)
    for n in range(2):
        one = slice(n, n + 1)
        part = Trace(
            tuple(s[one] for s in trace.spikes),
            tuple(u[one] for u in trace.potentials),
            trace.logits[one],
            trace.classes[one],
        )
        checker.check(pixels[one], trace.classes[one], part)
    checker.finish()
    return checker.findings


def flip(name: str, row: int, bits: int) -> Callable[[Records], None]:
    def spoil(records: Records) -> None:
        cycle, value = records[name][row]
        records[name][row] = cycle, value ^ bits

    return spoil


def late(records: Records) -> None:
    cycle, value = records["results"][2]
    records["results"][2] = cycle + 1, value


def surplus(name: str) -> Callable[[Records], None]:
    return lambda records: records[name].append((10**6, 0))


def missing(name: str) -> Callable[[Records], object]:
    return lambda records: records[name].pop()


def taps_of(which: str) -> list[str]:
    return [name for name, _ in recorded(which)[3][:-1]]


@pytest.mark.parametrize("which", PLANS)
def test_what_is_right_passes(tmp_path: Path, which: str) -> None:
    findings = found(tmp_path, which, lambda records: None)
    assert (findings.mismatches, findings.cycle_law_violations) == (0, 0), findings.first_mismatch
    assert findings.images == findings.correct_rtl == 2
    assert all(recorded(which)[2].values())
    if which == "program":
        # Spikes and potentials of 36 and 8 neurons, two steps; logits and ends of 3 classes, a
        # class.
        assert findings.compared == 2 * (2 * 2 * (36 + 8) + 3 + 3 + 1)


@pytest.mark.parametrize("which", PLANS)
def test_one_wrong_bit_of_any_tap_is_one_wrong_value(tmp_path: Path, which: str) -> None:
    for name in taps_of(which):
        for row in (0, 1, -1):
            findings = found(tmp_path, which, flip(name, row, 1))
            assert findings.mismatches >= 1
            assert findings.first_mismatch.startswith(("Spike of layer", "Event of layer"))
            assert findings.cycle_law_violations == 0


def test_spikes_and_potentials_are_told_apart(tmp_path: Path) -> None:
    """Of a program's word of 4 lanes: spikes, with their signs, then potentials."""
    (name,), width = taps_of("program"), 4 * 2
    for row, bits, count, what in (
        (5, 1, 1, "Spike"),
        (30, 1 << width, 1, "Potential"),
        (-1, 1 | 2 << width, 2, "Spike"),
    ):
        findings = found(tmp_path, "program", flip(name, row, bits))
        assert findings.mismatches == count
        assert findings.first_mismatch.startswith(what)


@pytest.mark.parametrize("which", PLANS)
def test_surplus_and_missing_rows_are_mismatches(tmp_path: Path, which: str) -> None:
    for name in taps_of(which):
        more = found(tmp_path, which, surplus(name))
        assert more.mismatches == 1
        assert more.first_mismatch.startswith("After the last image, 1 surplus rows of tap")
        assert found(tmp_path, which, missing(name)).mismatches >= 1


@pytest.mark.parametrize("which", PLANS)
def test_results_and_their_cycles(tmp_path: Path, which: str) -> None:
    wrong = found(tmp_path, which, flip("results", 4, 1))
    assert (wrong.mismatches, wrong.cycle_law_violations) == (1, 0)
    assert wrong.first_mismatch.startswith("Logit")
    assert found(tmp_path, which, surplus("results")).mismatches == 1
    delayed = found(tmp_path, which, late)
    assert (delayed.mismatches, delayed.cycle_law_violations) == (0, 1)


def test_an_initial_potential_where_channels_do_not_fill_the_lanes(tmp_path, monkeypatch) -> None:
    """Lanes without a channel start at u0 like all others; nobody sees it but the checker."""
    neuron = NeuronSpec(theta=20, u0=5, potential_bits=6)
    small = network((1, 2, 2), part(3, dense("input"), neuron=neuron), part(2, dense("a")))
    monkeypatch.setitem(PLANS, "small", lambda: plan_programs(small, 4, ()))
    findings = found(tmp_path, "small", lambda records: None)
    assert (findings.mismatches, findings.first_mismatch) == (0, "")


def test_cycles_beyond_32_bits(tmp_path: Path) -> None:
    """Records have 32 bits of a cycle, and less lies between two rows; a row that is half written
    is not there yet."""
    cycles = [5, 2**32 - 1, 2**32 + 7, 2**33 + 3]
    rows = b"".join((n % 2**32 | 9 << 32).to_bytes(12, "little") for n in cycles)
    file = tmp_path / "results.bin"
    file.write_bytes(rows[:30])
    recording = Recording(tmp_path, [("results", 33)])
    assert recording.left("results") == 2
    assert recording.take("results", 1).cycles.tolist() == cycles[:1]
    file.write_bytes(rows)
    seen = recording.take("results", 9)
    assert seen.cycles.tolist() == cycles[1:]
    assert seen.data.tolist() == [[9, 0]] * 3
    assert recording.left("results") == 0
    assert recording.take("results", 9).data.shape == (0, 2)
