"""Each mutation is the one that it says, and nothing else of the file changes."""

import ast
from pathlib import Path

import pytest

from tests.trust.campaign import ROOT, CampaignError, equivalents
from tests.trust.mutants import LISTED
from tests.trust.mutation import KINDS, Mutant, mutants_of, sampled
from tests.trust.own_tests import LEFT_OUT, components, own_tests

CASES = {
    "operators": ("x = a + b * 2", {"a - b * 2", "b + 2", "3", "1"}),
    "shift": ("x = a << b", {"a >> b"}),
    "floor": ("x = a // b", {"a * b"}),
    "bits": ("x = a & ~b", {"a | ~b", "b"}),
    "minus": ("x = -a", {"a"}),
    "negative-constant": ("x = -2", {"-1", "-3"}),
    "words": ("x = a and not b", {"a or not b", "b"}),
    "extremes": ("x = min(a, b)", {"max(a, b)"}),
    "all": ("x = all(f(y) for y in z)", {"any((f(y) for y in z))"}),
    "less": ("x = a < b", {"a <= b", "a >= b"}),
    "equal": ("x = a == b", {"a != b"}),
    "between": ("x = a < b == c", {"a <= b == c", "a >= b == c", "a < b != c"}),
    "within": ("x = a in b", {"a not in b"}),
    "none": ("x = a is None", {"a is not None"}),
    "zero": ("x = 0", {"1"}),
    "flag": ("x = f(y=True)", {"False"}),
    "if": ("if a:\n    x = b", {"not a"}),
    "if-compared": ("if a == b:\n    x = c", {"a != b"}),
    "while": ("while f(a):\n    b()", {"not f(a)", "pass"}),
    "chosen": ("x = a if b else c", {"c if b else a"}),
    "mux": ("x = Mux(a, b, c)", {"Mux(a, c, b)"}),
    "hardware-if": ("with m.If(a & b):\n    x = c", {"a & b == 0", "a | b"}),
    "statement": ("m.d.comb += x.eq(y)", {"[]"}),
    "statements": ("m.d.sync += [x.eq(y), z.eq(w)]", {"[]"}),
    "connected": ("m.d.comb += connect(a, b)", {"pass"}),
    "added": ("x += y", {"pass", "x -= y"}),
    "item": ("x[i] = y", {"pass"}),
    "call": ("x.append(y)", {"pass"}),
    "the-rest-of-an-array": ("x = y.reshape(-1)", {"0"}),
    "init": ("x = Signal(3, init=2)", {"2", "3"}),
    "init-of-a-name": ("x = Signal(n, init=y)", {"y + 1"}),
    "init-of-a-fact": ("x = Signal(init=a > 0)", {"not a > 0"}),
}


def changes(source: str) -> list[Mutant]:
    return mutants_of(source, "hw/x.py")


@pytest.mark.parametrize("name", CASES)
def test_every_kind(name: str) -> None:
    source, expected = CASES[name]
    found = {mutant.change.partition(" -> ")[2] for mutant in changes(source)}
    assert found == {" ".join(text.split()) for text in expected}


SOURCE = '''"""Not this one: 1."""
import x
__all__ = ["a"]
TABLE: dict[str, int] = {"b": 3}
def f(a: int | None = None, b: int = 4) -> int:
    """Nor 2."""
    total = a + b
    if total > 7:
        raise ValueError(f"not {a + 1}")
    total = 2 * total  # \u00fcber
    assert total < 3
    progress(5)
    return (total
            - 1)
class C(wiring.Component):
    @property(1)
    def g(self):
        m = Module()
        count, flag = Signal(range(6 + 1)), Signal(reset_less=True)
        other = Signal(unsigned(4), name="n" * 2)
        with m.If(count == 5):
            m.d.sync += [count.eq(count + 1), flag.eq(0)]
        m.d.comb += other.eq(
            Mux(flag, 2, 3)
        )
        return m
    def __repr__(self):
        return 1 + 2
'''


def test_only_the_place_that_is_named_changes() -> None:
    """The tree of the mutated file is the original one, but for one node; outside its place the
    text is the same."""
    data, trees = SOURCE.encode(), ast.dump(ast.parse(SOURCE))
    found = changes(SOURCE)
    for mutant in found:
        mutated = mutant.apply(SOURCE)
        assert mutated != SOURCE
        assert ast.dump(ast.parse(mutated)) != trees
        rest = mutated.encode()
        assert rest[: mutant.start] == data[: mutant.start]
        assert rest[len(rest) - (len(data) - mutant.end) :] == data[mutant.end :]
        assert mutant.before == data[mutant.start : mutant.end].decode()
        assert SOURCE.splitlines()[mutant.line - 1].find(mutant.before.splitlines()[0]) >= 0
    assert len({mutant.name for mutant in found}) == len(found)
    assert {mutant.kind for mutant in found} == set(KINDS)


def test_what_could_only_be_equivalent_is_not_made() -> None:
    """Texts, annotations, docstrings, asserts, what is raised, names, wider signals, what needs no
    reset, decorators."""
    found = {(m.line, m.change) for m in changes(SOURCE)}
    assert {line for line, _ in found} == {4, 5, 7, 8, 10, 13, 14, 19, 20, 21, 22, 23, 24}
    assert {change for line, change in found if line == 19} == {
        "6 + 1 -> 6 - 1",
        "6 -> 5",
        "1 -> 0",
        "Signal(range(6 + 1)) -> Signal(range(6 + 1), init=1)",
    }
    assert [change for line, change in found if line == 20] == ["4 -> 3"]
    resets = [m for m in changes(SOURCE) if m.kind == "reset"]
    assert [m.line for m in resets] == [19]  # the other one is never assigned in a domain


def test_a_second_assignment_may_be_dropped_and_the_first_not() -> None:
    dropped = [m for m in changes(SOURCE) if m.kind == "dropped" and m.after == "pass"]
    assert [m.line for m in dropped] == [10]


def test_names_stay_where_lines_move() -> None:
    """A mutant that is listed as equivalent stays so when something above it changes."""
    moved = SOURCE.replace("import x\n", "import x\nimport y\n\n")
    assert [m.name for m in changes(moved)] == [m.name for m in changes(SOURCE)]
    twice = [m for m in changes("def f():\n    return g(1, 1)\n") if m.change == "1 -> 2"]
    assert [m.name.partition(" :: ")[2] for m in twice] == ["1 -> 2", "1 -> 2 #1"]


def test_any_beginning_of_a_sample_is_a_fair_one() -> None:
    many = [m for n in range(4) for m in mutants_of("x = [1, 2, 3, 4, 5]\n" * (n + 1), f"hw/{n}")]
    order = sampled(many, 7)
    assert sorted(m.name for m in order) == sorted(m.name for m in many)
    assert order == sampled(many, 7) != sampled(many, 8)
    half = order[: len(order) // 2]
    for n in range(4):
        whole = sum(m.path == f"hw/{n}" for m in many)
        assert abs(sum(m.path == f"hw/{n}" for m in half) - whole / 2) <= 1


# The repository's own


def test_every_component_has_tests_of_its_own() -> None:
    """But for files without anything to mutate."""
    names = components(ROOT)
    assert len(names) > 70
    for name in names:
        tests = own_tests(ROOT, name)
        assert all((ROOT / test).is_file() for test in tests), name
        assert tests or not mutants_of((ROOT / name).read_text(), name), name
    assert all((ROOT / name).exists() for name in LEFT_OUT)


def test_equivalent_mutants_are_there() -> None:
    """Each that is listed is one of the campaign's, and has a reason."""
    listed = equivalents(LISTED)
    files = {name.partition(" ")[0] for name in listed}
    there = {m.name for f in files for m in mutants_of((ROOT / f).read_text(), f)}
    assert set(listed) <= there


@pytest.mark.parametrize(
    "text",
    [
        "equivalent = 3",
        "[[equivalent]]\nmutants = ['a']\n",
        "[[equivalent]]\nmutants = ['a']\nwhy = ' '\n",
        "[[equivalent]]\nmutants = ['a', 'a']\nwhy = 'x'\n",
        "x = [",
    ],
)
def test_a_list_of_another_form_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "list.toml").write_text(text)
    with pytest.raises(CampaignError):
        equivalents(tmp_path / "list.toml")
