"""Recordings of an event camera: events into counts, the file, which of them are held out."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sw.data.dataset import load_split
from sw.data.events import EVENT, bin_events, read_nmnist
from sw.data.published import SHAPES
from sw.data.split import DataError

FILE = "nmnist_small.npz"
SIZE = 2 * 34 * 34

EVENTS = np.array(
    [
        (0, 0, 0, 0),  # t, x, y, p
        (99_999, 33, 33, 1),
        (100_000, 2, 1, 0),
        (100_001, 2, 1, 0),
        (299_999, 5, 0, 1),
        (336_000, 5, 0, 1),
        (4_294_967_295, 5, 0, 1),
    ],
    dtype=EVENT,
)


def told(counts: np.ndarray) -> dict[tuple[int, ...], int]:
    """Counts that are not 0, by (step, polarity, row, column)."""
    maps = counts.reshape(len(counts), 2, 34, 34)
    return {tuple(map(int, place)): int(maps[tuple(place)]) for place in np.argwhere(maps)}


# Events into counts


def test_events_are_counted_by_step_polarity_row_and_column() -> None:
    counts = bin_events(EVENTS, 3, 4)
    assert (counts.shape, counts.dtype) == ((3, SIZE), np.uint8)
    assert told(counts) == {(0, 0, 0, 0): 1, (0, 1, 33, 33): 1, (1, 0, 1, 2): 2, (2, 1, 0, 5): 3}
    assert counts[1, 1 * 34 + 2] == 2  # row by row
    assert counts[2, 34 * 34 + 5] == 3  # channel by channel


def test_a_step_begins_with_its_first_microsecond() -> None:
    events = np.zeros(4, dtype=EVENT)
    events["t"] = [49_999, 50_000, 149_999, 150_000]
    assert bin_events(events, 6, 4)[:, 0].tolist() == [1, 1, 1, 1, 0, 0]
    assert bin_events(events, 2, 4)[:, 0].tolist() == [3, 1]
    assert bin_events(events, 1, 4)[:, 0].tolist() == [4]


def test_late_events_belong_to_the_last_step() -> None:
    assert bin_events(EVENTS[-3:], 3, 4).sum(axis=1).tolist() == [0, 0, 3]


@pytest.mark.parametrize(("bits", "most"), [(1, 1), (2, 3), (3, 5), (8, 5)])
def test_counts_are_clipped_to_their_width(bits: int, most: int) -> None:
    """Five events at one place, one at another."""
    events = EVENTS[[2, 2, 2, 2, 2, 4]]
    assert told(bin_events(events, 3, bits)) == {(1, 0, 1, 2): most, (2, 1, 0, 5): 1}


def test_three_hundred_events_do_not_wrap() -> None:
    assert bin_events(EVENTS[:1].repeat(300), 1, 8)[0, 0] == 255


def test_the_order_of_events_does_not_matter() -> None:
    shuffled = EVENTS[np.random.default_rng(1).permutation(len(EVENTS))]
    assert np.array_equal(bin_events(shuffled, 3, 4), bin_events(EVENTS, 3, 4))


def test_a_recording_of_nothing() -> None:
    counts = bin_events(EVENTS[:0], 3, 4)
    assert counts.shape == (3, SIZE)
    assert not counts.any()


@pytest.mark.parametrize("wrong", [(0, 34, 0, 0), (0, 0, 34, 0), (0, 0, 0, 2)])
def test_events_that_no_sensor_sent(wrong: tuple[int, ...]) -> None:
    events = np.concatenate([EVENTS, np.array([wrong], dtype=EVENT)])
    with pytest.raises(DataError) as error:
        bin_events(events, 3, 4)
    assert str(error.value) == "Events must lie within 34x34 pixels and have polarity 0 or 1"


# The file

Arrays = dict[str, np.ndarray]


def made_up(train: int = 203, test: int = 3) -> Arrays:
    """Recording n has n % 3 + 1 events at column n % 34; row 1 in training, row 2 in testing."""
    arrays: Arrays = {}
    for split, count, row in (("train", train, 1), ("test", test, 2)):
        events = np.arange(count) % 3 + 1
        columns = (np.arange(count) % 34).repeat(events)
        arrays |= {
            f"{split}_x": columns.astype(np.uint8),
            f"{split}_y": np.full(len(columns), row, dtype=np.uint8),
            f"{split}_p": np.ones(len(columns), dtype=np.uint8),
            f"{split}_t_us": np.full(len(columns), 200_000, dtype=np.uint32),
            f"{split}_offset": np.concatenate([[0], np.cumsum(events)]),
            f"{split}_label": (np.arange(count) * 7 % 10).astype(np.uint8),
        }
    return arrays


def write(folder: Path, arrays: Arrays) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / FILE, **arrays)  # type: ignore[arg-type]
    return folder / FILE


def test_the_last_two_hundred_of_training_are_held_out_too(tmp_path: Path) -> None:
    write(tmp_path, made_up())
    train = load_split("nmnist-small", "train", 2, tmp_path, steps=2)
    test = load_split("nmnist-small", "test", 2, tmp_path, steps=2)
    assert (len(train), len(test)) == (3, 3 + 200)
    for data in (train, test):
        assert (data.images.dtype, data.images.shape[1]) == (np.uint8, 2 * SIZE)
        assert data.labels.dtype == np.int64
    # The place of each recording's events says which one it is.
    columns = test.images.reshape(-1, 2, 2, 34, 34).argmax(axis=4)
    assert not test.images[:, :SIZE].any()  # 200 ms is in the second step
    assert columns[:3, 1, 1, 2].tolist() == [0, 1, 2]
    assert columns[3:, 1, 1, 1].tolist() == [n % 34 for n in range(3, 203)]
    assert test.labels.tolist() == [0, 7, 4] + [n * 7 % 10 for n in range(3, 203)]
    assert train.labels.tolist() == [0, 7, 4]
    assert train.images.sum(axis=1).tolist() == [1, 2, 3]
    assert train.images[2].reshape(2, 2, 34, 34)[1, 1, 1, 2] == 3
    assert (train.title, SHAPES[train.name]) == ("nmnist-small", (2, 34, 34))


def test_found_in_the_environments_folder_and_in_the_cache(
    tmp_path: Path, no_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError) as error:
        load_split("nmnist-small", "train", 2)
    assert str(error.value) == (
        f"Data set nmnist-small is not on this machine: put {FILE} into "
        f"{no_network / 'nmnist-small'}"
    )
    with pytest.raises(DataError) as error:
        load_split("nmnist-small", "train", 2, tmp_path)
    assert str(error.value) == (
        f"Data set nmnist-small is not on this machine: put {FILE} into folder {tmp_path}"
    )
    write(no_network / "nmnist-small", made_up())
    assert len(load_split("nmnist-small", "train", 2)) == 3
    write(tmp_path / "data" / "nmnist-small", made_up(train=205))
    monkeypatch.setenv("STERNA_DATA", str(tmp_path / "data"))
    assert len(load_split("nmnist-small", "train", 2)) == 5


def cut(arrays: Arrays, folder: Path) -> None:
    path = write(folder, arrays)
    path.write_bytes(path.read_bytes()[:-100])


def an_array(arrays: Arrays, folder: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, arrays["train_x"])
    (folder / FILE).write_bytes(buffer.getvalue())


def changed(**fields: object) -> Callable[[Arrays, Path], None]:
    def damage(arrays: Arrays, folder: Path) -> None:
        merged = {k: v for k, v in (arrays | fields).items() if v is not None}
        write(folder, merged)  # type: ignore[arg-type]

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        an_array,
        lambda arrays, folder: (folder / FILE).write_bytes(b"no archive"),
        lambda arrays, folder: (folder / FILE).write_bytes(b""),
        changed(train_x=np.zeros(7, np.uint8)),
        changed(train_offset=made_up()["train_offset"][:-1]),
        changed(train_offset=made_up()["train_offset"] + 1),
        changed(train_offset=np.zeros(0, np.int64)),
        changed(train_label=np.array(3)),
        changed(train_t_us=np.full(6, -1)),
        changed(train_x=np.full(20706, 256)),  # as a byte it would be 0
        lambda arrays, folder: write(folder, made_up(train=200)),  # all of them held out
    ],
)
def test_a_file_that_is_no_set_of_recordings(damage, tmp_path: Path) -> None:
    damage(made_up(), tmp_path)
    with pytest.raises(DataError) as error:
        load_split("nmnist-small", "test", 2, tmp_path)
    assert str(error.value) == f"File {tmp_path / FILE} is truncated or not a set of recordings"


def test_damaged_bytes_are_a_sentence_or_do_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path, made_up())
    whole, refused = path.read_bytes(), 0
    expected = read_nmnist("test", 2, 2, [tmp_path], "")
    for place in range(0, len(whole), 23):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            found = read_nmnist("test", 2, 2, [tmp_path], "")
        except DataError:
            refused += 1
        else:
            assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert refused > 50


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (changed(test_p=None), "lacks the array 'test_p'"),
        (
            changed(train_label=np.array(["one"] * 203)),
            "must have integers as 'train_label', not <U3 of shape (203,)",
        ),
        (changed(notes=np.zeros(9)), "must not hold 'notes', which it has no use for"),
    ],
)
def test_arrays_that_are_no_recordings(damage, complaint: str, tmp_path: Path) -> None:
    damage(made_up(), tmp_path)
    with pytest.raises(DataError) as error:
        load_split("nmnist-small", "test", 2, tmp_path)
    assert str(error.value) == f"File {tmp_path / FILE} {complaint}"


# The published recordings, where present


def test_eight_hundred_for_training_and_three_hundred_held_out() -> None:
    try:
        train, test = (load_split("nmnist-small", split, 8, steps=6) for split in ("train", "test"))
    except DataError as error:
        pytest.skip(str(error))
    assert train.images.shape == (800, 6 * SIZE)
    assert test.images.shape == (300, 6 * SIZE)
    assert np.bincount(test.labels[:100]).tolist() == [8, 14, 8, 11, 14, 7, 10, 15, 2, 11]
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]  # MNIST's first
    events = sum(int(data.images.sum(dtype=np.int64)) for data in (train, test))
    assert events == 4_133_231 + 385_596  # each in one step, none clipped
