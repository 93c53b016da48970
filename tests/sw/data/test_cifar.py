"""CIFAR-10: the published archive and a re-coding as JPEG files, told apart wherever they go."""

import hashlib
import io
import pickle
import random
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hw.contract.edge import EdgeSpec
from hw.contract.network import Network
from hw.contract.spec import LayerSpec, NetworkSpec
from hw.system.progress import silent
from sw.data import cifar, download
from sw.data.dataset import load_split
from sw.data.shipped import load_test_images
from sw.data.split import DataError
from sw.learn.export import export, report_table
from sw.learn.plan import LayerPlan
from sw.learn.recipes import Phase, find_recipe
from sw.learn.train import train

ORIGINAL, RECODED = "cifar-10-python.tar.gz", "cifar10_jpg.tar.xz"
COUNTS = {"train": 20, "test": 10}


@pytest.fixture(autouse=True)
def small(no_network: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty training and ten test images make a whole set; an empty cache (returned)."""
    monkeypatch.setattr(cifar, "COUNTS", COUNTS)
    return no_network / "cifar10"


def picture(split: str, label: int, number: int) -> np.ndarray:
    """(32, 32, 3): the left half is red by class, the right half green by number; no blue."""
    pixels = np.zeros((32, 32, 3), dtype=np.uint8)
    pixels[:, :16, 0] = 20 + 20 * label
    pixels[:, 16:, 1] = 100 + 100 * number + 30 * (split == "test")
    return pixels


def jpeg(pixels: np.ndarray) -> bytes:
    """Nearly without loss: the halves meet where blocks of 8x8 do."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=100, subsampling=0)
    return buffer.getvalue()


def entries() -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files."""
    for split, count in COUNTS.items():
        for n in range(count):
            name = f"{split}/{cifar.CLASSES[n % 10]}/{n // 10 + 1:04d}.jpg"
            yield name, jpeg(picture(split, n % 10, n // 10))


def pack(folder: Path, files: list[tuple[str, bytes]]) -> Path:
    """An archive of files, which come in no order."""
    random.Random(1).shuffle(files)
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / RECODED, "w:xz", preset=0) as archive:
        directory = tarfile.TarInfo("train")
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
        for name, content in [("README.md", b"not an image"), *files]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return folder


@pytest.fixture
def recoded(tmp_path: Path) -> Path:
    return pack(tmp_path / "recoded", list(entries()))


def batch(split: str, numbers: range) -> bytes:
    """As published: a row per image, channel by channel; labels in a list."""
    rows = [picture(split, n % 10, n // 10).transpose(2, 0, 1).reshape(-1) for n in numbers]
    return pickle.dumps({b"data": np.stack(rows), b"labels": [n % 10 for n in numbers]})


def original(folder: Path, monkeypatch: pytest.MonkeyPatch, first: bytes | None = None) -> Path:
    """A made-up archive of pickles, four training images in each of five; its checksum is
    published."""
    folder.mkdir(exist_ok=True)
    batches = {f"data_batch_{n + 1}": batch("train", range(4 * n, 4 * n + 4)) for n in range(5)}
    batches |= {"test_batch": batch("test", range(10))}
    if first is not None:
        batches["data_batch_1"] = first
    with tarfile.open(folder / ORIGINAL, "w:gz") as archive:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    digest = hashlib.sha256((folder / ORIGINAL).read_bytes()).hexdigest()
    monkeypatch.setitem(download.SHA256, "cifar10", (digest,))
    return folder


# What is read


def test_a_recoding_is_read_in_order_channel_by_channel(recoded: Path) -> None:
    data = load_split("cifar10", "train", 8, recoded)
    assert (data.images.shape, data.images.dtype) == ((20, 3072), np.uint8)
    assert (data.labels.tolist(), data.labels.dtype) == ([*range(10), *range(10)], np.int64)
    for n, maps in enumerate(data.images.reshape(20, 3, 32, 32).astype(int)):
        exact = picture("train", n % 10, n // 10).transpose(2, 0, 1).astype(int)
        assert np.abs(maps - exact).max() <= 3  # what JPEG loses
    test = load_split("cifar10", "test", 8, recoded)
    assert (len(test), test.labels.tolist()) == (10, list(range(10)))
    assert abs(int(test.images.reshape(10, 3, 32, 32)[0, 1, 31, 31]) - 130) <= 3


@pytest.mark.parametrize(("split", "count"), [("train", 20), ("test", 10)])
def test_the_published_archive_is_read_exactly(
    split: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_split("cifar10", split, 8, original(tmp_path / "cifar10", monkeypatch))
    expected = [picture(split, n % 10, n // 10).transpose(2, 0, 1) for n in range(count)]
    assert np.array_equal(data.images, np.stack(expected).reshape(count, -1))
    assert data.labels.tolist() == [n % 10 for n in range(count)]
    assert data.labels.dtype == np.int64


def test_fewer_bits_drop_low_bits(recoded: Path) -> None:
    eight, five = (load_split("cifar10", "test", bits, recoded) for bits in (8, 5))
    assert np.array_equal(five.images, eight.images >> 3)
    assert five.bits == 5


def test_which_archive_it_was_is_noted(
    recoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published one is taken first, even from a place that is looked in later."""
    (tmp_path / "data").mkdir()
    recoded.rename(tmp_path / "data" / "cifar10")
    data = load_split("cifar10", "test", 8, tmp_path / "data")
    assert (data.note, data.title) == ("JPEG re-coding", "cifar10 (JPEG re-coding)")
    original(tmp_path / "data", monkeypatch)
    data = load_split("cifar10", "test", 8, tmp_path / "data")
    assert (data.note, data.title) == ("original", "cifar10 (original)")


# The note goes with every figure


def test_the_first_images_keep_the_note(recoded: Path) -> None:
    layer = LayerSpec(name="readout", inputs=3072, neurons=10, weight_bits=2)
    spec = NetworkSpec(name="n", input_size=3072, input_bits=5, steps=3, layers=(layer,))
    weights, biases = (np.ones((10, 3072), int),), (np.zeros(10, int),)
    network = Network(spec, weights, biases, {"dataset": "cifar10"})
    data = load_test_images(network, "3", folder=str(recoded))
    assert (len(data), data.note) == (3, "JPEG re-coding")


def test_export_says_which_archive(recoded: Path, tmp_path: Path) -> None:
    phase = Phase(epochs=1, rate=1e-3)
    layers = (
        LayerPlan("stem", 4, (EdgeSpec(source="input", kind="conv", kernel=3, stride=2),)),
        LayerPlan("readout", 10, (EdgeSpec(source="stem", pool=5),)),
    )
    recipe = replace(
        find_recipe("cifar10-resnet"),
        name="tiny",
        layers=layers,
        soft_phase=None,
        first_phase=None,
        float_phase=phase,
        integer_phase=phase,
        batch=6,
        validation=2,
        steps=2,
    )
    network, report = export(train(recipe, recoded, progress=silent), recoded)
    assert report.integer_accuracy.n == 10
    assert "10 of cifar10 (JPEG re-coding)" in report_table(report)
    meta = Network.load(network.save(tmp_path / "tiny.npz")).meta
    assert (meta["dataset"], meta["note"]) == ("cifar10", "JPEG re-coding")


# What is refused


def refusal(folder: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as error:
        load_split("cifar10", split, 8, folder)
    return str(error.value)


def test_nowhere_to_be_had(tmp_path: Path, small: Path) -> None:
    wanted = f"Data set cifar10 is not to be had: put {ORIGINAL} or {RECODED} into"
    assert refusal(tmp_path) == f"{wanted} folder {tmp_path}"
    with pytest.raises(DataError) as error:
        load_split("cifar10", "test", 8)
    assert str(error.value) == f"{wanted} {small}"


def test_another_archive_of_that_name_is_not_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    folder = original(tmp_path / "cifar10", monkeypatch, pickle.dumps(Trap()))
    monkeypatch.setitem(download.SHA256, "cifar10", ("0" * 64,))
    path = folder / ORIGINAL
    assert refusal(folder) == (f"Archive {path} is not the published CIFAR-10: its SHA-256 differs")
    assert not (tmp_path / "sprung").exists()


def without_one() -> list[tuple[str, bytes]]:
    return [e for e in entries() if e[0] != "train/frog/0002.jpg"]


def one_larger() -> list[tuple[str, bytes]]:
    return [*without_one(), ("train/frog/0002.jpg", jpeg(np.zeros((32, 40, 3), np.uint8)))]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (without_one, "Archive {} must hold 20 train images, not 19"),
        (one_larger, "Images in archive {} must be of 32x32 pixels, not 32x40"),
    ],
)
def test_an_archive_that_is_not_whole(files, told: str, tmp_path: Path) -> None:
    folder = pack(tmp_path / "cifar10", files())
    assert refusal(folder) == told.format(folder / RECODED)
    assert len(load_split("cifar10", "test", 8, folder)) == 10


@pytest.mark.parametrize(
    "stray",
    [
        ("train/frog/0002.jpg", b"no JPEG file"),
        ("train/frog/0002.jpg", jpeg(picture("train", 6, 1))[:-200]),
        ("train/frog/second.jpg", jpeg(picture("train", 6, 1))),
        ("train/unicorn/0002.jpg", jpeg(picture("train", 6, 1))),
        ("train/0002.jpg", jpeg(picture("train", 6, 1))),
    ],
    ids=["text", "cut", "no number", "no class", "no folder"],
)
def test_a_file_that_does_not_belong(stray: tuple[str, bytes], tmp_path: Path) -> None:
    folder = pack(tmp_path / "cifar10", [*without_one(), stray])
    assert refusal(folder) == (
        f"Archive {folder / RECODED} is truncated or not CIFAR-10 as JPEG files"
    )


def test_a_damaged_archive(recoded: Path) -> None:
    path = recoded / RECODED
    whole = path.read_bytes()
    damages = [b"", b"no archive", whole[: len(whole) // 2]]
    for place in range(3, len(whole) * 3 // 4, len(whole) // 9):  # xz checks its blocks
        damages.append(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
    for damaged in damages:
        path.write_bytes(damaged)
        assert refusal(recoded) == f"Archive {path} is truncated or not CIFAR-10 as JPEG files"


# What was decoded is kept


def test_it_is_decoded_once(recoded: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_split("cifar10", "test", 8, recoded)
    assert [path.suffix for path in small.iterdir()] == [".npz"]
    decoded, decode = [], cifar._decode

    def spy(path: Path, data: bytes, split: str) -> cifar.Arrays:
        decoded.append(split)
        return decode(path, data, split)

    monkeypatch.setattr(cifar, "_decode", spy)
    second = load_split("cifar10", "test", 8, recoded)
    assert decoded == []
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.labels, second.labels)
    assert second.note == "JPEG re-coding"
    assert len(load_split("cifar10", "train", 8, recoded)) == 20
    assert decoded == ["train"]


def test_another_archive_is_not_taken_from_the_cache(recoded: Path, tmp_path: Path) -> None:
    assert load_split("cifar10", "test", 8, recoded).images[0, 0] > 0
    black = [(n, jpeg(np.zeros((32, 32, 3), np.uint8))) for n, _ in entries()]
    other = load_split("cifar10", "test", 8, pack(tmp_path / "other", black))
    assert not other.images.any()


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:-99], lambda b: b"no archive"])
def test_a_damaged_cache_is_made_again(damage, recoded: Path, small: Path) -> None:
    first = load_split("cifar10", "test", 8, recoded)
    (kept,) = small.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    assert np.array_equal(load_split("cifar10", "test", 8, recoded).images, first.images)
    assert len(kept.read_bytes()) == len(whole)


def test_a_cache_that_cannot_be_written_is_done_without(
    recoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(load_split("cifar10", "test", 8, recoded)) == 10


def test_the_published_archive_is_fetched_unless_a_folder_is_named(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mirror is a folder here: urllib reads file:// as well."""
    mirror = original(tmp_path / "mirror", monkeypatch)
    monkeypatch.setattr(download, "MIRRORS", {"cifar10": (mirror.as_uri() + "/",)})
    assert "is not to be had" in refusal(tmp_path / "elsewhere")
    with pytest.raises(DataError):
        load_split("cifar10", "test", 8, download=False)
    data = load_split("cifar10", "test", 8)
    assert (len(data), data.note) == (10, "original")
    assert (small / ORIGINAL).read_bytes() == (mirror / ORIGINAL).read_bytes()
