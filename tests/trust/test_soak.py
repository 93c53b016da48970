"""Soaks: what is sound passes, what is not is found, kept, and made again by its number."""

import json
import os
import random
import time
import tomllib
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hw.contract.checks import SternaError
from sim.golden.model import GoldenModel
from tests.trust import drawn, files, soak
from tests.trust.frames import block as frames_block
from tests.trust.hostile import EDITS, bent, edited, toml_text
from tests.trust.soak import PARTS_OF, Part, Soak, SoakError, main, replayed, report
from tests.trust.targets import TARGETS, Target, Wrong, judged

# Networks


def test_networks_of_every_kind_are_equal() -> None:
    for kind, count in (("torch", 12), ("rtl", 4)):
        found = drawn.block(kind, 1, 0, count, "")
        assert (found["networks"], found["wrong"]) == (count, [])
        assert found["values"] > 100


def test_networks_are_those_of_their_number() -> None:
    seen = [drawn.one("torch", 1, n)["values"] for n in range(6)]
    assert [drawn.one("torch", 1, n)["values"] for n in range(6)] == seen
    assert [drawn.one("torch", 2, n)["values"] for n in range(6)] != seen


@pytest.mark.parametrize("kind", ["torch", "rtl"])
def test_a_model_that_is_off_by_one_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are compared: each of them says so, by its number."""
    honest = GoldenModel._steps

    def bent_steps(self: GoldenModel, pixels: Any) -> Any:
        for spikes, potentials, drive in honest(self, pixels):
            yield spikes, potentials, drive + 1

    monkeypatch.setattr(GoldenModel, "_steps", bent_steps)
    count = {"torch": 3, "rtl": 1}[kind]
    found = drawn.block(kind, 1, 0, count, "")
    assert [wrong["number"] for wrong in found["wrong"]] == [*range(count)]
    assert all(wrong["what"] for wrong in found["wrong"])


# Files


@pytest.mark.parametrize("kind", TARGETS)
def test_sound_files_are_accepted(kind: str, tmp_path: Path) -> None:
    for package in {"nir": ("nir", "h5py"), "onnx": ("onnx",)}.get(kind, ()):
        pytest.importorskip(package)
    for name, data in TARGETS[kind].seeds().items():
        folder = tmp_path / name
        folder.mkdir()
        path = TARGETS[kind].put(folder, data)
        assert judged(TARGETS[kind], path) == "accepted"


def test_a_file_is_that_of_its_number() -> None:
    assert files.hostile_file("network", 1, 3) == files.hostile_file("network", 1, 3)
    made = {files.hostile_file("table", 1, n) for n in range(20)}
    assert len(made) > 15
    assert not made & set(TARGETS["table"].seeds().values())


@pytest.mark.parametrize("form", sorted({t.form for t in TARGETS.values()} - {""}))
def test_edits_keep_the_form(form: str) -> None:
    """Of an archive, a table, a graph: the file is still one, and is another. (Of some the edit
    falls back on bytes: most of them are.)"""
    for package in {"hdf5": ("h5py",), "onnx": ("onnx",)}.get(form, ()):
        pytest.importorskip(package)
    target = next(t for t in TARGETS.values() if t.form == form)
    (data, *_) = target.seeds().values()
    whole, changed = 0, 0
    for n in range(12):
        try:
            made = EDITS[form](data, random.Random(n), [])
        except Exception:
            continue
        changed += made != data
        whole += _is_whole(form, made)
    assert changed > 8
    assert whole > 8


def _is_whole(form: str, data: bytes) -> bool:
    if form in ("zip", "torch", "sealed"):
        return zipfile.ZipFile(BytesIO(data)).testzip() is None
    if form == "toml":
        return bool(tomllib.loads(data.decode()) is not None)
    if form == "onnx":
        import onnx

        return bool(onnx.load_model_from_string(data).ListFields())
    if form == "hdf5":
        import h5py

        with h5py.File(BytesIO(data)) as file:
            return len(file) > 0
    return len(data.decode().splitlines()) > 1


def test_trees_are_edited_and_written() -> None:
    tree = {"a": 1, "b": [1, 2, {"c": "x"}], "d": {"e": True, "f": 0.5}}
    made = [edited(tree, random.Random(n)) for n in range(200)]
    assert tree == {"a": 1, "b": [1, 2, {"c": "x"}], "d": {"e": True, "f": 0.5}}
    assert sum(json.dumps(m) != json.dumps(tree) for m in made) > 190
    texts = [toml_text(m) for m in made if isinstance(m, dict)]
    assert [tomllib.loads(text) for text in texts]
    assert tomllib.loads(toml_text(tree)) == tree
    data = bytes(range(256))
    assert len({bent(data, random.Random(n)) for n in range(100)}) > 95


def planted(ask: Any) -> Target:
    """A kind of file with one sound one."""
    return Target(seeds=lambda: {"one": b"sound" * 20}, form="", suffix=".txt", ask=ask)


def refuse(path: Path) -> bool:
    raise SternaError("File must be sound")


def chatter(path: Path) -> bool:
    raise SternaError("")


def stumble(path: Path) -> bool:
    return 1 // 0 > 0


def spin(path: Path) -> bool:
    while True:
        pass


def die(path: Path) -> bool:
    os.abort()


def swell(path: Path) -> bool:
    return len(bytearray(8 << 30)) > 0


def overflow(path: Path) -> bool:
    return bool(np.float32(1e30) * np.float32(1e30) > 0)


@pytest.mark.parametrize(
    ("ask", "outcome"),
    [
        (lambda path: True, "accepted"),
        (refuse, "refused"),
        (lambda path: path.open("x") is None, "refused"),  # an OSError
        (chatter, "wrong"),
        (overflow, "wrong"),
        (stumble, "traceback"),
        (swell, "traceback"),
        (spin, "hang"),
        (die, "crash"),
    ],
)
def test_every_fault_is_told_from_the_others(
    ask: Any, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that hangs or dies takes no other file along."""
    monkeypatch.setitem(TARGETS, "planted", planted(ask))
    monkeypatch.setattr(files, "CPU", 0.2)
    found = files.block("planted", 1, 10, 2, "")
    assert found["counts"] == {outcome: 2}
    bad = outcome in files.FAULTS
    assert [fault["number"] for fault in found["faults"]] == ([10, 11] if bad else [])
    if outcome == "traceback":
        assert all("Error" in fault["why"] for fault in found["faults"])


def test_what_is_accepted_must_be_sound(tmp_path: Path) -> None:
    """A network that computes beyond its bounds is no refusal, and no acceptance."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "tests.trust.targets.GoldenModel.run",
            lambda self, pixels: type("T", (), {"logits": np.array([[10**9]])})(),
        )
        (data, *_) = TARGETS["network"].seeds().values()
        with pytest.raises(Wrong, match="logits beyond their bound"):
            judged(TARGETS["network"], TARGETS["network"].put(tmp_path, data))


# Soaks


def count_to(kind: str, seed: int, first: int, count: int, tested_by: str) -> dict[str, Any]:
    """Some of these cases are wrong."""
    time.sleep(0.01)
    wrong = [{"number": n, "what": "seven"} for n in range(first, first + count) if n % 7 == 6]
    return {"networks": count, "values": 10 * count, "wrong": wrong, "seconds": 0.5}


COUNTING = {"torch": Part(block=count_to, kinds=("torch",), size=4, most=10, share=1.0)}


def test_a_soak_counts_keeps_and_goes_on(tmp_path: Path) -> None:
    settings = {"out": tmp_path, "workers": 0, "parts": COUNTING}
    done = Soak(**settings, minutes=1).run()
    facts = report(done, {})
    assert facts["torch"] == {"networks": 10, "values": 100, "seconds": 1.5}
    assert facts["wrong"] == 1
    (case,) = facts["cases"]
    assert case["again"] == ".venv/bin/python -m tests.trust.soak --replay torch:1:6"
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.glob("results/*/*.json")}
    assert len(kept) == 3
    again = Soak(**settings, minutes=1).run()
    assert report(again, {}) == facts
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("results/*/*.json")} == kept
    more = report(Soak(**settings, minutes=1, count=20).run(), {})
    assert (more["torch"]["networks"], more["wrong"]) == (20, 2)


def test_a_soak_ends_in_time(tmp_path: Path) -> None:
    """What was begun is kept; the rest is not done."""
    done = Soak(out=tmp_path, workers=0, parts=COUNTING, minutes=1e-6).run()
    assert sum(result["networks"] for _, result in done["torch"]) <= 4


def test_a_soak_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hostile file that is not refused as it must be lies in a folder, with the way to it."""
    monkeypatch.setitem(TARGETS, "table", planted(stumble))
    options = ["--workers", "0", "--count", "2", "--out", str(tmp_path), "--only"]
    assert main([*options, "files:table", "--seed", "5"]) == 2
    out = capsys.readouterr().out
    assert "hostile files: 2 (2 traceback)" in out
    assert "table: .venv/bin/python -m tests.trust.soak --replay table:5:0" in out
    kept = (tmp_path / "cases/table-table-5-0.txt").read_bytes()
    assert kept == files.hostile_file("table", 5, 0)
    assert "ZeroDivisionError" in (tmp_path / "cases/table-table-5-0.json").read_text()
    assert main(["--replay", "table:5:0"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"traceback": 1}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--minutes", "nan"], "Minutes must be a positive number, not nan"),
        (["--seed", "-1"], "Seed must be a number from 0 to 2^31 - 1, not -1"),
        (["--count", "0"], "Cases must be a positive number, not 0"),
        (
            ["--only", "silicon"],
            "Parts must be of torch, frames, rtl, files, files:KIND, not 'silicon'",
        ),
        (
            ["--replay", "torch:1"],
            "Case must be KIND:SEED:NUMBER, or frames:SEED:FIRST:COUNT, not 'torch:1'",
        ),
    ],
)
def test_what_cannot_be_asked_for(
    options: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == f"soak: {sentence}\n"


def test_cases_again() -> None:
    assert replayed("torch:1:4") == drawn.one("torch", 1, 4)
    with pytest.raises(SoakError, match="Kind of a case must be one of torch, rtl, frames, netw"):
        replayed("silicon:1:4")
    assert {kind for part in PARTS_OF.values() for kind in part.kinds} == {
        *drawn.KINDS,
        "frames",
        *TARGETS,
    }
    assert soak.lines_of({"wrong": 0, "cases": []}) == ["wrong: 0"]


@pytest.mark.long
def test_damaged_frames() -> None:
    found = frames_block("frames", 1, 0, 43, "")
    assert (found["frames"], found["wrong"], found["details"]) == (43, {}, [])
    assert sum(found["outcomes"].values()) == sum(found["recovered"]) == 43
