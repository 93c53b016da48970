"""Data sets: the idx format, where files are found, pixel widths, the digits' fixed split."""

import gzip
import hashlib
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from hw.system.progress import Reports, silent
from sw.data import download
from sw.data.dataset import load_split
from sw.data.idx import read_idx
from sw.data.published import DIGITS
from sw.data.split import DataError
from tests.hw.system.notes import Notes

HEADER = bytes((0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2))
LABELS = "t10k-labels-idx1-ubyte"
IMAGES = "t10k-images-idx3-ubyte"


def sentence(error: pytest.ExceptionInfo[DataError]) -> str:
    return str(error.value)


# Digits


def test_digits_that_ship_are_sklearns() -> None:
    """Values, order and labels: the split by order, and what was trained on it, stays."""
    bunch = load_digits()
    with np.load(DIGITS) as file:
        assert {name: file[name].dtype for name in file} == {"pixels": np.uint8, "labels": np.uint8}
        assert np.array_equal(file["pixels"], bunch.data)  # type: ignore[union-attr]
        assert np.array_equal(file["labels"], bunch.target)  # type: ignore[union-attr]


def test_digits_name_their_authors_and_licence() -> None:
    text = DIGITS.with_name("ATTRIBUTION.txt").read_text()
    assert all(word in text for word in ("Alpaydin", "10.24432/C50P49", "CC BY 4.0", "Changed"))


def test_digits_are_clipped_to_fifteen() -> None:
    bunch = load_digits()
    train, test = load_split("digits", "train", 4), load_split("digits", "test", 4)
    everything = sorted(map(tuple, np.minimum(bunch.data, 15).astype(int).tolist()))  # type: ignore[union-attr]
    ours = np.concatenate([train.images, test.images])
    assert sorted(map(tuple, ours.tolist())) == everything
    assert ours.dtype == np.uint8
    assert train.labels.dtype == np.int64


def test_digits_split_is_the_documented_rule() -> None:
    bunch = load_digits()
    data, target = np.asarray(bunch.data), np.asarray(bunch.target)  # type: ignore[union-attr]
    expected = {tuple(row) for c in range(10) for row in data[target == c][::5].tolist()}
    test = load_split("digits", "test", 5)
    assert len(test) == 364
    assert {tuple(min(p, 15.5) for p in row) for row in expected} == {
        tuple(p / 2 for p in row) for row in test.images.tolist()
    }


def test_digits_split_is_stratified_and_disjoint() -> None:
    train, test = load_split("digits", "train", 8), load_split("digits", "test", 8)
    assert len(train) + len(test) == 1797
    shares = np.bincount(test.labels) / np.bincount(np.concatenate([train.labels, test.labels]))
    assert np.all(np.abs(shares - 0.2) < 0.005)
    assert not {row.tobytes() for row in train.images} & {row.tobytes() for row in test.images}


def test_digits_split_never_moves() -> None:
    test = load_split("digits", "test", 4)
    digest = hashlib.sha256(test.images.tobytes() + test.labels.astype("<i8").tobytes())
    assert digest.hexdigest() == "a3ed05ae44b193299aa151e73986c4c715604edc0e20f27f3ae905715f2a3cd2"


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_digits_of_fewer_bits_drop_low_bits(bits: int) -> None:
    four, fewer = load_split("digits", "test", 4), load_split("digits", "test", bits)
    assert np.array_equal(fewer.images, four.images >> (4 - bits))


# Idx files


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_pixels_lose_low_bits(idx_folder: Path, name: str, bits: int) -> None:
    data = load_split(name, "test", bits, idx_folder)
    raw = np.frombuffer((idx_folder / IMAGES).read_bytes()[16:], dtype=np.uint8)
    assert np.array_equal(data.images, raw.reshape(10, 784) >> (8 - bits))
    assert data.labels.tolist() == list((idx_folder / LABELS).read_bytes()[8:])
    assert (data.name, data.split, data.bits, len(data)) == (name, "test", bits, 10)


def test_gzipped_files_read_the_same(idx_folder: Path) -> None:
    plain = load_split("mnist", "train", 4, idx_folder)
    for path in list(idx_folder.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = load_split("mnist", "train", 4, idx_folder)
    assert np.array_equal(plain.images, packed.images)
    assert np.array_equal(plain.labels, packed.labels)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\0\0\x08", "must hold a header of 16 bytes, not 3"),
        (b"\0\0\x0d\x03" + HEADER[4:] + b"ab", "must start with 00000803, not 00000d03"),
        (b"\0\0\x08\x01" + HEADER[4:] + b"ab", "must start with 00000803, not 00000801"),
        (HEADER + b"abc", "must hold 4 bytes after its header, not 3"),
        (HEADER + b"abcde", "must hold 4 bytes after its header, not more"),
        (HEADER[:4] + b"\x40" + HEADER[5:], "must hold at most 256 MiB, not 2,147,483,652 bytes"),
    ],
)
def test_broken_idx_file(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_idx(path, axes=3)
    assert sentence(error) == f"Idx file {path} {complaint}"


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda file, size=-1: asked.append(size) or read(file, size)
    )
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(HEADER + bytes(1 << 20)))
    with pytest.raises(DataError, match=r"must hold 4 bytes after its header, not more$"):
        read_idx(path, axes=3)
    assert asked == [16, 5]


@pytest.mark.parametrize("damage", [lambda z: z[:-9], lambda z: b"no gzip" + z, lambda z: z[:12]])
def test_broken_gzip(tmp_path: Path, damage) -> None:
    path = tmp_path / "broken.gz"
    path.write_bytes(damage(gzip.compress(HEADER + bytes(np.random.default_rng(0).bytes(4)))))
    with pytest.raises(DataError) as error:
        read_idx(path, axes=3)
    assert sentence(error) == f"Idx file {path} is truncated or not a gzip file"


def test_images_without_their_labels(idx_folder: Path) -> None:
    labels = (idx_folder / LABELS).read_bytes()
    (idx_folder / LABELS).write_bytes(labels[:4] + bytes((0, 0, 0, 9)) + labels[8:-1])
    with pytest.raises(DataError) as error:
        load_split("mnist", "test", 4, idx_folder)
    assert sentence(error) == (
        f"Data set mnist must have one label per image, not 10 images in {idx_folder / IMAGES} "
        f"and 9 labels in {idx_folder / LABELS}"
    )


def test_label_out_of_range(idx_folder: Path) -> None:
    labels = (idx_folder / LABELS).read_bytes()
    (idx_folder / LABELS).write_bytes(labels[:-1] + b"\x0a")
    with pytest.raises(DataError) as error:
        load_split("mnist", "test", 4, idx_folder)
    assert sentence(error) == f"Labels in {idx_folder / LABELS} must lie in 0..9, not reach 10"


def test_images_of_another_size(idx_folder: Path) -> None:
    (idx_folder / IMAGES).write_bytes(HEADER + b"abcd")
    with pytest.raises(DataError) as error:
        load_split("mnist", "test", 4, idx_folder)
    assert sentence(error) == f"Images in {idx_folder / IMAGES} must be 28x28, not (1, 2)"


# Where files are found


@pytest.mark.parametrize("place", ["folder", "parent", "environment", "cache"])
def test_places(
    place: str, idx_folder: Path, no_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder: Path | None = None
    if place == "folder":
        folder = idx_folder
    elif place == "cache":
        no_network.mkdir(parents=True)
        idx_folder.rename(no_network / "mnist")
    else:
        parent = idx_folder.parent / "parent"
        parent.mkdir()
        idx_folder.rename(parent / "mnist")
        folder = parent if place == "parent" else None
        if place == "environment":
            monkeypatch.setenv("STERNA_DATA", str(parent))
    assert len(load_split("mnist", "test", 4, folder)) == 10


def test_a_named_folder_is_the_only_one_looked_in(
    idx_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STERNA_DATA", str(idx_folder))
    with pytest.raises(DataError) as error:
        load_split("mnist", "test", 4, tmp_path / "elsewhere")
    assert sentence(error) == (
        f"Folder {tmp_path / 'elsewhere'} must hold {IMAGES}.gz or {IMAGES}, itself or in a "
        "folder mnist"
    )


def test_one_data_set_is_never_read_as_another(idx_folder: Path) -> None:
    mnist = idx_folder.rename(idx_folder.with_name("mnist"))
    assert len(load_split("mnist", "test", 4, mnist)) == 10
    with pytest.raises(DataError):
        load_split("fashion-mnist", "test", 4, mnist)


def test_one_published_data_set_is_not_read_as_another(
    idx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have the same file names; torchvision puts them into X/FashionMNIST/raw."""
    raw = idx_folder.rename(idx_folder.with_name("raw"))
    foreign = load_split("mnist", "test", 4, raw)
    assert foreign.title == "files like mnist (not the published ones)"
    contents = [hashlib.sha256((raw / file).read_bytes()).hexdigest() for file in (IMAGES, LABELS)]
    known = {"fashion-mnist": ("", "", *contents)}
    monkeypatch.setattr("sw.data.download.UNPACKED", known)
    assert load_split("fashion-mnist", "test", 4, raw).title == "fashion-mnist"
    for gz in (False, True):
        image = raw / f"{IMAGES}{'.gz' * gz}"
        image.write_bytes(gzip.compress((raw / IMAGES).read_bytes()) if gz else image.read_bytes())
        with pytest.raises(DataError) as error:
            load_split("mnist", "test", 4, raw)
        assert sentence(error) == (
            f"Idx file {image} must be {IMAGES} of mnist, not {IMAGES} of fashion-mnist"
        )
        # Nor one split as the other.
        (raw / f"{IMAGES.replace('t10k', 'train')}").write_bytes((raw / IMAGES).read_bytes())
        with pytest.raises(DataError, match=f"must be train-images.* not {IMAGES} of fashion-mni"):
            load_split("fashion-mnist", "train", 4, raw)
    image.unlink()
    labels = bytearray((raw / LABELS).read_bytes())
    labels[-1] ^= 1
    (raw / LABELS).write_bytes(labels)
    assert not load_split("fashion-mnist", "test", 4, raw).known


def test_the_published_contents_are_known() -> None:
    for name, contents in download.UNPACKED.items():
        assert len(contents) == len(set(contents)) == len(download.FILES[name])
        for content in contents:
            assert download.published(content)[0] == name  # type: ignore[index]
    assert download.published("") is None


def test_nowhere_to_be_had(no_network: Path) -> None:
    with pytest.raises(DataError) as error:
        load_split("fashion-mnist", "test", 4)
    assert sentence(error) == (
        "Data set fashion-mnist is not on this machine and could not be fetched: put "
        f"{IMAGES}.gz into {no_network / 'fashion-mnist'}, or name the folder that holds it"
    )


def test_fetch_takes_the_second_mirror_and_checks(
    tmp_path: Path, no_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mirrors are folders here: urllib reads file:// as well."""
    file, content, lines = f"{LABELS}.gz", b"the published bytes", []
    mirrors = [tmp_path / name for name in ("gone", "changed", "good")]
    for mirror, data in zip(mirrors[1:], (b"other bytes", content), strict=True):
        mirror.mkdir()
        (mirror / file).write_bytes(data)
    addresses = tuple(mirror.as_uri() + "/" for mirror in mirrors)
    monkeypatch.setattr("sw.data.download.MIRRORS", {"mnist": addresses})
    sums = ("", "", "", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr("sw.data.download.SHA256", {"mnist": sums})
    assert download.fetch("mnist", file, no_network / "mnist", lines.append)
    assert [p.name for p in (no_network / "mnist").iterdir()] == [file]
    assert (no_network / "mnist" / file).read_bytes() == content
    assert [line.startswith("Fetching file://") for line in lines] == [1, 0, 1, 0, 1]
    assert lines[3] == "  not the published file: its SHA-256 differs"


def test_fetch_shows_who_listens_to_the_log_how_much_has_come(
    tmp_path: Path, no_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, content = f"{LABELS}.gz", bytes(150_000)
    (tmp_path / file).write_bytes(content)
    sums = ("", "", "", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr("sw.data.download.MIRRORS", {"mnist": (tmp_path.as_uri() + "/",)})
    monkeypatch.setattr("sw.data.download.SHA256", {"mnist": sums})
    notes, log = Notes(), logging.getLogger("sw.data")
    handler = Reports(notes)
    log.addHandler(handler)
    try:
        assert download.fetch("mnist", file, no_network)
    finally:
        log.removeHandler(handler)
    line, step, *done, end = notes.told
    assert str(line).startswith("Fetching file://")
    assert step == (f"fetching {file}, kB", 150, 0, 0)
    assert done == [65.536, 131.072, 150]
    assert end == "end"


def test_fetch_reports_failure(
    tmp_path: Path, no_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sw.data.download.MIRRORS", {"mnist": (tmp_path.as_uri() + "/",)})
    assert not download.fetch("mnist", f"{LABELS}.gz", no_network, silent)
    assert not no_network.exists()


# Arguments


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ("cifar", "test", 4),
            "Data set must be one of digits, mnist, fashion-mnist, cifar10, nmnist-small, "
            "japanese-vowels, watch-exercises, "
            "not 'cifar': did you mean 'cifar10'?",
        ),
        (("digits", "dev", 4), "Split must be one of train, test, not 'dev'"),
        (("digits", "test", 0), "Pixel width must be an integer from 1 to 8, not 0"),
        (("digits", "test", 9), "Pixel width must be an integer from 1 to 8, not 9"),
        (("digits", "test", True), "Pixel width must be an integer from 1 to 8, not True"),
    ],
)
def test_wrong_arguments(arguments, complaint: str) -> None:
    with pytest.raises(DataError) as error:
        load_split(*arguments)
    assert sentence(error) == complaint


def test_data_and_evaluation_import_no_torch_and_no_sklearn() -> None:
    """`make sim` has neither."""
    code = (
        "import sys, sw.data.dataset, sw.data.evaluate; "
        "sw.data.dataset.load_split('digits', 'test', 4); "
        "print({'torch', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# The published data, where present


@pytest.mark.parametrize(("name", "mean"), [("mnist", 33.79), ("fashion-mnist", 73.15)])
def test_published_test_split(name: str, mean: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sw.data.download.MIRRORS", {"mnist": (), "fashion-mnist": ()})
    try:
        data = load_split(name, "test", 8)
    except DataError as error:
        pytest.skip(str(error))
    assert data.images.shape == (10000, 784)
    assert data.title == name
    assert abs(data.images.mean() - mean) < 0.01
    assert len(np.bincount(data.labels)) == 10
