"""The campaign of mutants on a tiny repository: who is killed, by what, and who is not; what is
kept when it is killed itself."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.imports import imported
from tests.trust import campaign, mutants
from tests.trust.campaign import ROOT, Campaign, CampaignError, workshop
from tests.trust.mutation import mutants_of

SOURCE = '''"""A component."""


def clamp(x: int, most: int) -> int:
    """At most that."""
    if x > most:
        return most
    return x


def spin(n: int) -> int:
    """Down to nothing."""
    while n != 0:
        n -= 1
    return n
'''
TEST = """import inspect

import pytest
from hw.room.clamp import clamp, spin

def test_slow():
    assert spin(2) == 0

def test_clamp():
    assert [clamp(n, 2) for n in range(4)] == [0, 1, 2, 2]

@pytest.mark.refutation
def test_the_source_is_as_it_was():
    assert "if x > most" in inspect.getsource(clamp)
    assert "n -= 1" in inspect.getsource(spin)
"""
"""The last one would kill any mutant of two lines, and is not asked."""
NAME = "hw/room/clamp.py"
BORDER = "x > most -> x >= most"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository with one component; a test may take half a second more."""
    monkeypatch.setattr(campaign, "MORE_CPU", (5.0, 0.5))
    for name, text in (
        (NAME, SOURCE),
        ("tests/hw/room/test_clamp.py", TEST),
        ("pyproject.toml", '[tool.pytest.ini_options]\npythonpath = ["."]\n'),
    ):
        file = tmp_path / "repository" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    workshop.cache_clear()
    root = tmp_path / "repository"
    yield root
    if workshop.cache_info().currsize:
        workshop(str(root)).close()
        workshop.cache_clear()


def run(root: Path, **more) -> tuple[list, dict[str, str]]:
    """Mutants there are, and outcomes by change."""
    every, outcomes = Campaign(out=root.parent / "out", root=root, workers=0, **more).run()
    return every, {o.mutant.change: o.outcome for o in outcomes}


EXPECTED = {
    BORDER: "survived",
    "x > most -> x <= most": "killed",
    "n != 0 -> n == 0": "killed",
    "0 -> 1": "killed",
    "n -= 1 -> pass": "hang",
    "n -= 1 -> n += 1": "hang",
    "1 -> 0": "hang",
    "1 -> 2": "survived",
}
"""`n -= 2` comes from 2 to 0, too."""


def test_who_is_killed_and_who_is_not(tiny: Path) -> None:
    """All of it, once; then nothing is done again; then only what another test may change."""
    every, outcomes = run(tiny)
    assert len(every) == len(EXPECTED)
    assert outcomes == EXPECTED
    kept = {p: p.stat().st_mtime_ns for p in (tiny.parent / "out").glob("results/*/*.json")}
    assert len(kept) == len(EXPECTED) + 1  # and the tests as they are
    assert run(tiny)[1] == EXPECTED
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    test = tiny / "tests/hw/room/test_clamp.py"
    test.write_text(TEST.replace("spin(2)", "spin(3)"))
    workshop(str(tiny)).close()
    workshop.cache_clear()
    _, (better) = run(tiny)
    assert better == EXPECTED | {"1 -> 2": "hang"}
    assert (tiny / NAME).read_text() == SOURCE


def test_tests_as_they_are_depend_on_all_they_import(tiny: Path) -> None:
    """Through other modules, too; not on what lies elsewhere, unless they start programs."""
    files = {
        "hw/room/__init__.py": "",
        "hw/room/other.py": "",
        "gen/far.py": "",
        "sw/near.py": "def later():\n    from hw.room import other\n",
        "tests/tools.py": "import sw.near\n",
    }
    for name, text in files.items():
        (tiny / name).parent.mkdir(parents=True, exist_ok=True)
        (tiny / name).write_text(text)
    test = tiny / "tests/hw/room/test_clamp.py"

    def sources() -> list[str]:
        imported.cache_clear()
        campaign._files_of.cache_clear()
        return [file.relative_to(tiny).as_posix() for file in campaign._imported(tiny, test)]

    near = ["hw/room/__init__.py", "hw/room/clamp.py", "hw/room/other.py", "sw/near.py"]
    assert sources() == near[:2]
    test.write_text("from tests import tools\n" + TEST)
    assert sources() == near
    (tiny / "sw/near.py").write_text("from hw.room import other\nimport subprocess\n")
    assert sources() == ["gen/far.py", *near]


def test_bytecode_of_a_mutant_goes_with_it(tiny: Path) -> None:
    """Its size and time may be those of what comes after it: it would be taken for that."""
    shop = workshop(str(tiny))
    kept = shop.root / "hw/room/__pycache__" / f"clamp.{sys.implementation.cache_tag}.pyc"
    kept.parent.mkdir()
    with shop.mutated(NAME, SOURCE.replace("most", "less")):
        kept.write_bytes(b"of the mutant")
    assert not kept.exists()
    assert (shop.root / NAME).read_text() == SOURCE


def test_equivalents_are_not_tried_and_the_report_names_the_rest(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    border = next(m for m in mutants_of(SOURCE, NAME) if m.change == BORDER)
    chosen = Campaign(
        out=tiny.parent / "out", root=tiny, workers=0, listed={border.name: "both say most"}
    )
    every, outcomes = chosen.run()
    monkeypatch.setattr(mutants, "ROOT", tiny)
    facts = mutants.report(every, outcomes, chosen.listed, {"seed": 1})
    assert facts["all"] | {"killed": 3, "hang": 3} == facts["all"]
    assert (facts["all"]["tried"], facts["all"]["noticed"], facts["all"]["per_cent"]) == (
        *(7, 6),
        85.71,
    )
    assert facts["all"]["equivalent"] == 1
    (survivor,) = facts["survivors"]
    assert (survivor["at"], survivor["change"]) == (f"{NAME}:14", "1 -> 2")
    assert facts["equivalents"] == [{"at": f"{NAME}:6", "change": BORDER, "why": "both say most"}]
    assert sum(kind["mutants"] for kind in facts["kinds"].values()) == 8
    text = mutants.markdown(facts)
    assert "6 of 7 mutants killed (85.71 %), of 8 there are; 3 of them by a test" in text
    assert f"- {NAME}:14: `1 -> 2` (constant)" in text
    assert f"| {NAME} | 8 | 7 | 6 | 1 | 1 | 85.71 |" in text


PROGRAM = """
import sys
from pathlib import Path
from tests.trust import campaign
campaign.MORE_CPU = 5.0, 0.5
root = Path(sys.argv[1])
campaign.Campaign(out=root.parent / "out", root=root, workers=0).run()
"""


def test_what_was_tried_is_kept_when_the_campaign_is_killed(tiny: Path) -> None:
    """And the program that runs tests ends with it."""
    out = tiny.parent / "out" / "results"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tiny)], cwd=ROOT, stderr=subprocess.DEVNULL
    ) as running:
        while len([*out.glob("*/*.json")]) < 4:
            assert running.poll() is None
            time.sleep(0.05)
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        running.send_signal(signal.SIGKILL)
    before = {p: p.stat().st_mtime_ns for p in out.glob("*/*.json")}
    assert 4 <= len(before) <= len(EXPECTED)
    orphans = [*Path(tempfile.gettempdir()).glob(f"{campaign.COPIES}{running.pid}-*")]
    assert orphans
    assert run(tiny)[1] == EXPECTED
    assert not any(orphan.exists() for orphan in orphans)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert len([*out.glob("*/*.json")]) == len(EXPECTED) + 1
    assert children
    assert not any(_alive(int(child)) for child in children)


def _alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_tests_must_pass_before_anything_is_mutated(tiny: Path) -> None:
    test = tiny / "tests/hw/room/test_clamp.py"
    test.write_text(TEST.replace("== 0", "== 1"))
    with pytest.raises(CampaignError, match=r"not fail: tests/hw/room/test_clamp\.py::test_slow"):
        run(tiny)


def test_a_file_without_tests_has_survivors(tiny: Path) -> None:
    (tiny / "hw/room/other.py").write_text("x = 1\n")
    _, outcomes = run(tiny, only=("hw/room/other",))
    assert outcomes == {"1 -> 2": "survived", "1 -> 0": "survived"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--minutes", "0"], "Minutes must be a positive number, not 0.0"),
        (["--count", "0"], "Mutants to try must be a positive number, not 0"),
        (["--only", "hw/nothing"], "No file that is mutated has such a name"),
    ],
)
def test_what_cannot_be_asked_for(
    options: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mutants.main([*options, "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == f"mutants: {sentence}\n"


def test_a_campaign_needs_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="Mutants need a checkout of Sterna's repository"):
        Campaign(out=tmp_path, root=tmp_path)


def test_a_campaign_on_the_command_line(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mutant of one file, from asking to the report."""
    monkeypatch.setattr(mutants, "ROOT", tiny)
    monkeypatch.setattr(Campaign, "root", tiny, raising=False)
    monkeypatch.setattr(
        Campaign.__init__,
        "__kwdefaults__",
        {**(Campaign.__init__.__kwdefaults__ or {}), "root": tiny},
    )
    out = tiny.parent / "report"
    code = mutants.main(["--count", "2", "--workers", "0", "--seed", "3", "--out", str(out)])
    facts = json.loads((out / "report.json").read_text())
    assert facts["all"]["tried"] == 2
    assert code == (0 if facts["all"]["per_cent"] >= 98 else 2)
    assert (out / "report.md").read_text() == mutants.markdown(facts)
    assert "of 2 mutants killed" in capsys.readouterr().out
