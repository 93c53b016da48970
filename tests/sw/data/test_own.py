"""A user's own files: each form read to the values that were written, and one sentence for what is
none of them."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hw.contract.checks import SternaError
from sw.data.own import read_own
from sw.data.split import DataError
from tests.sw.data.own_files import idx

X = np.random.default_rng(1).integers(0, 256, (20, 4, 5)).astype(np.uint8)
Y = np.arange(20) % 2


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as error:
        read_own(path)
    text = str(error.value)
    assert "\n" not in text
    assert str(path) in text or path.name in text
    return text


# Arrays


def test_arrays_in_one_piece_and_in_two(tmp_path: Path):
    np.savez(tmp_path / "mine.npz", x=X, y=Y)
    made = read_own(tmp_path / "mine.npz")
    assert made.name == "mine"
    assert np.array_equal(np.sort(np.concatenate([made.x, made.x_test]), 0), np.sort(X, 0))
    np.savez_compressed(tmp_path / "mine.npz", x=X, y=Y, x_test=X[:3], y_test=Y[:3])
    made = read_own(tmp_path / "mine.npz")
    assert np.array_equal(made.x, X)
    assert np.array_equal(made.x_test, X[:3])
    np.savez(tmp_path / "steps.npz", x=X, y=np.array(["a", "b"])[Y], axes="tf")
    made = read_own(tmp_path / "steps.npz")
    assert (made.axes, made.labels) == ("tf", ("a", "b"))


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({"x": X}, "lacks the array 'y'"),
        ({"x": X, "y": Y, "z": Y}, "must not hold 'z', which it has no use for"),
        ({"x": X, "y": Y, "header.json": Y}, "must not hold 'header.json'"),
        ({"x": X, "y": np.array([None] * 20)}, "must not have Python objects as 'y'"),
        ({"x": X.astype(complex), "y": Y}, "must have numbers or text as 'x', not complex128"),
        ({"x": X, "y": Y[:5]}, r"Labels y must have shape \(20,\), not \(5,\)"),
        ({"x": X, "y": Y, "axes": "zz"}, "Axes must be one of"),
        ({"x": X, "y": Y, "axes": ["hw", "f"]}, "must have one text as 'axes'"),
        ({"x": X, "y": Y, "x_test": X}, "must be given together"),
    ],
)
def test_arrays_that_are_no_data(tmp_path: Path, members: dict[str, Any], complaint: str):
    path = tmp_path / "mine.npz"
    np.savez(path, **members)
    with pytest.raises(DataError, match=complaint):
        read_own(path)
    assert refusal(path)


def test_damaged_archives(tmp_path: Path):
    path = tmp_path / "mine.npz"
    np.savez(path, x=X, y=Y)
    whole = path.read_bytes()
    for cut in range(4, len(whole), 97):
        path.write_bytes(whole[:cut])
        assert "truncated, or not a .npz file" in refusal(path)
    rng = np.random.default_rng(1)
    for _ in range(60):
        broken = bytearray(whole)
        broken[int(rng.integers(4, len(whole)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(broken))
        try:
            read_own(path)
        except SternaError:  # one sentence, or no harm
            continue
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "Dear Sir")
    assert "lacks the array 'x'" in refusal(path)


def test_arrays_that_python_2_might_have_written(tmp_path: Path):
    """NumPy reads them, and wonders; nobody is told (found by `make soak`)."""
    rng = np.random.default_rng(1)
    path = tmp_path / "old.npz"
    np.savez(path, x=rng.random((12, 4, 4)), y=np.arange(12) % 3)
    path.write_bytes(
        repacked(path, lambda data: data.replace(b"(12, 4, 4), } ", b"(12L, 4, 4), }"))
    )
    assert len(read_own(path).split("train", 4).images) == 9


def repacked(path: Path, change: Callable[[bytes], bytes]) -> bytes:
    """An archive whose members are others, with the checksums of those."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)))
    return out.getvalue()


def test_one_array_and_no_file(tmp_path: Path):
    np.save(tmp_path / "x.npy", X)
    assert "save both with numpy.savez" in refusal(tmp_path / "x.npy")
    assert "do not exist" in refusal(tmp_path / "none.npz")


# Tables


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "flowers.csv"
    path.write_text(text, encoding="utf-8")
    return path


ROWS = [f"{n / 2},{-n},{'ab'[n % 2]}" for n in range(10)]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(ROWS),
        "\n".join(["long,wide,kind", *ROWS]),
        "\ufeff" + "\r\n".join(["long,wide,kind", *ROWS]) + "\r\n\r\n",
        "\n".join(row.replace(",", ";") for row in ROWS),
        "\n".join(row.replace(",", "\t") for row in ROWS),
        "\n".join(['"long","wide, indeed","kind"', *(row.replace(",", " , ") for row in ROWS)]),
        "\n".join(
            ["species,long,wide", *(f"{c},{a},{b}" for a, b, c in (r.split(",") for r in ROWS))]
        ),
    ],
)
def test_tables(tmp_path: Path, text: str):
    made = read_own(table(tmp_path, text))
    both = np.concatenate([made.x, made.x_test])
    assert sorted(map(tuple, both)) == [(n / 2, float(-n)) for n in range(10)]
    assert made.labels == ("a", "b")
    assert all("ab"[int(a * 2) % 2] == c for (a, _), c in zip(made.x, made.y, strict=True))
    assert made.told.startswith("labels from column ")


def test_tables_in_two_parts_and_labels_that_are_numbers(tmp_path: Path):
    rows = [f"{n},{'test' if n > 7 else 'Train'},{10 + n % 2}" for n in range(10)]
    made = read_own(table(tmp_path, "\n".join(["long,split,kind", *rows])))
    assert made.x[:, 0].tolist() == list(range(8))
    assert made.x_test[:, 0].tolist() == [8, 9]
    assert made.labels == (10, 11)
    assert made.told == "labels from column kind"
    made = read_own(table(tmp_path, "\n".join(["0,1", *(f"{n},{n % 2}.0" for n in range(10))])))
    assert (len(made), made.labels) == (10, (0, 1))  # columns as pandas calls them
    made = read_own(table(tmp_path, "\n".join(f"{n},0{n % 2}" for n in range(10))))
    assert made.labels == ("00", "01")  # text that looks like numbers stays what it is


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must be a .npz file with x and y"),
        ("hello", "must be a .npz file with x and y"),
        ("a\0b,c\n", "must be a .npz file with x and y"),
        ("long,kind\n", "has names of columns only"),
        ("1,2,a\n3,b\n", "Line 2 of .* must have 3 cells, not 2"),
        ("1,2,a\n3,x,b\n", r"Column number 2 of .* must have finite numbers, not 'x' \(line 2\)"),
        ("l,w,k\n1,,a\n", r"Column w of .* must have finite numbers, not '' \(line 2\)"),
        ("1,nan,a\n", "must have finite numbers, not 'nan'"),
        ("1,2,\n", "Line 1 of .* must have a label"),
        ("l,split,k\n1,train,a\n2,half,b\n", r"must say train or test, not 'half' \(line 3\)"),
        ("l,split,k\n1,train,a\n2,train,b\n", "Column split of .* must also say test"),
        ("label,split\na,train\nb,test\n", "must have a column of numbers beside the labels"),
        ("1,2,a\n" * 4, "must have at least two classes"),
        ('1,2,"a\n' + "x" * 140_000, "must be one of a table"),
        ("class,l,label\na,1,b\n", "may be in column class or in column label: leave one out"),
        ("1,2,a\n3,4,nan\n", "Line 2 of .* must have a label, not 'nan'"),
        ("1_0,2,a\n3,4,b\n" * 4, "must have finite numbers, not '1_0'"),
        ('"1,5";2;a\n"2,5";3;b\n', "not '1,5' .*: write decimals with a point"),
        (",l,k\n0,1,a\n1,2,b\n", "must all have names, and number 1 has none"),
        ("x,y,z,kind\n1,2,3,a\n", "may be in column y or in column kind: call the one"),
    ],
)
def test_tables_that_are_no_data(tmp_path: Path, text: str, complaint: str):
    path = table(tmp_path, text)
    with pytest.raises(DataError, match=complaint):
        read_own(path)
    assert refusal(path)


def test_a_table_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = table(tmp_path, "1,2,a\n3,4,b\n" * 4)
    monkeypatch.setattr("sw.data.own.MAX_BYTES", path.stat().st_size)
    assert len(read_own(path)) == 8
    monkeypatch.setattr("sw.data.own.MAX_BYTES", path.stat().st_size - 1)
    assert "must be smaller than 1 GiB" in refusal(path)


def test_bytes_that_are_no_text(tmp_path: Path):
    path = tmp_path / "strange"
    path.write_bytes(b"\x80\x04\x95 pickled")
    assert "must be text in UTF-8, or a .npz file with x and y" in refusal(path)


# Idx files


def test_idx_files_of_any_size(tmp_path: Path):
    folder = tmp_path / "signs"
    folder.mkdir()
    idx(folder / "train-images-idx3-ubyte", X)
    idx(folder / "train-labels-idx1-ubyte.gz", Y + 40)
    (folder / "README").write_text("signs, by hand")
    made = read_own(folder)
    assert (made.name, made.labels) == ("signs", (40, 41))
    assert made.rule.startswith("of each class")
    idx(folder / "t10k-images-idx3-ubyte", X[:4])
    idx(folder / "t10k-labels-idx1-ubyte", Y[:4] + 40)
    made = read_own(folder)
    assert np.array_equal(made.x, X)
    assert np.array_equal(made.x_test, X[:4])
    assert made.y_test.tolist() == [40, 41, 40, 41]


def test_idx_files_that_do_not_go_together(tmp_path: Path):
    folder = tmp_path / "signs"
    folder.mkdir()
    idx(folder / "images", X)
    assert "lacks labels for training" in refusal(folder)
    idx(folder / "labels", Y)
    assert read_own(folder).labels == (0, 1)
    idx(folder / "more", Y)
    assert "and more is a second one" in refusal(folder)
    (folder / "more").unlink()
    (folder / "labels").rename(folder / "test-labels")
    assert "must have idx files train-..." in refusal(folder)
    (folder / "test-labels").rename(folder / "labels")
    (folder / "labels").write_bytes((folder / "labels").read_bytes()[:-1])
    with pytest.raises(DataError, match="labels must hold 20 bytes after its header"):
        read_own(folder)


# Pictures


def pictures(folder: Path, mode: str = "L", names: tuple[str, str] = ("cat", "dog")) -> Path:
    for n, (pixels, label) in enumerate(zip(X, Y, strict=True)):
        where = folder / names[label]
        where.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).convert(mode).save(where / f"{n:02}.png")
    return folder


def test_a_folder_for_each_class(tmp_path: Path):
    made = read_own(pictures(tmp_path / "pets"))
    order = [*range(0, 20, 2), *range(1, 20, 2)]  # by class, then by name
    both = {p.tobytes() for p in np.concatenate([made.x, made.x_test])}
    assert both == {p.tobytes() for p in X}
    assert (made.name, made.axes, made.labels) == ("pets", "hw", ("cat", "dog"))
    assert np.array_equal(made.x_test[0], X[order[0]])
    assert np.array_equal(made.x[0], X[order[1]])


def test_parts_colours_and_numbers(tmp_path: Path):
    pictures(tmp_path / "pets" / "train", names=("0", "1"))
    pictures(tmp_path / "pets" / "test", "RGB", names=("0", "1"))
    made = read_own(tmp_path / "pets")
    assert (made.axes, made.labels) == ("hwc", (0, 1))
    assert np.array_equal(made.x, np.repeat(X[np.argsort(Y, kind="stable")][..., None], 3, -1))
    assert np.array_equal(made.x, made.x_test)
    assert made.rule == "as given"


def test_folders_beside_train_and_test(tmp_path: Path):
    pictures(tmp_path / "pets" / "train")
    for more in ("", "val"):
        if more:
            pictures(tmp_path / "pets" / more)
        assert "must have the folders train and test and no others" in refusal(tmp_path / "pets")


def test_kinds_of_pictures(tmp_path: Path):
    folder = pictures(tmp_path / "pets")
    grey = Image.fromarray(X[0])
    for mode, name in (("L", "a.bmp"), ("L", "b.gif"), ("P", "c.png"), ("LA", "d.png")):
        grey.convert(mode).save(folder / "cat" / name)
    grey.convert("RGBA").save(folder / "dog" / "e.png")
    made = read_own(folder)
    assert made.axes == "hwc"
    assert len(made) == 25


def test_folders_that_are_no_data(tmp_path: Path):
    folder = tmp_path / "pets"
    folder.mkdir()
    assert "must be a .npz file with x and y" in refusal(folder)
    (folder / "cat").mkdir()
    assert "must be a .npz file with x and y" in refusal(folder)
    pictures(folder)
    Image.fromarray(X[0]).save(folder / "loose.png")
    assert "and loose.png is another" in refusal(folder)
    (folder / "loose.png").unlink()
    idx(folder / "images", X)
    assert "must have idx files or folders of pictures, not both" in refusal(folder)
    (folder / "images").unlink()
    np.savez(folder / "mine.npz", x=X, y=Y)
    assert "and mine.npz is another" in refusal(folder)
    only = tmp_path / "only"
    only.mkdir()
    (folder / "mine.npz").rename(only / "mine.npz")
    assert "holds mine.npz: name that file" in refusal(only)


def test_pictures_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = pictures(tmp_path / "pets")
    wrong = folder / "cat" / "zz.png"

    def told(complaint: str) -> None:
        with pytest.raises(DataError, match=complaint):
            read_own(folder)
        wrong.unlink()

    wrong.write_text("no picture")
    told("zz.png must be a picture, whole and readable")
    wrong.write_bytes((folder / "cat" / "00.png").read_bytes()[:60])
    told("zz.png must be a picture, whole and readable")
    Image.new("L", (9, 9)).save(wrong)
    told("must all have one size: 00.png has 5x4 pixels, and .*zz.png has 9x9")
    Image.new("RGBA", (5, 4), (1, 2, 3, 128)).save(wrong)
    told("zz.png must not be transparent")
    Image.fromarray(np.zeros((4, 5), np.uint16)).save(wrong)
    told("zz.png must be a single one with 8 bits a channel")
    frames = [Image.fromarray(p) for p in X[:3]]
    frames[0].save(wrong, format="GIF", save_all=True, append_images=frames[1:])
    told("zz.png must be a single one with 8 bits a channel")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (15, 10)).save(wrong)
    told("zz.png is too large")
