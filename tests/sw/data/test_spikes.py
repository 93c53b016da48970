"""Spike trains of a user's own: arrays and tables, counted by time steps; what is lost is said."""

import csv
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hw.contract.network import Network
from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.data.arrays import Spikes
from sw.data.dataset import load_dataset, load_split
from sw.data.events import SpikeTrains
from sw.data.shipped import load_test_images
from sw.data.split import DataError
from sw.frameworks.importing import import_foreign

# t, x, y, p, two recordings
EVENTS = np.array(
    [
        (0, 0, 0, 0),
        (9_999, 3, 1, 1),
        (10_000, 3, 1, 1),
        (10_001, 3, 1, 1),
        (29_999, 2, 1, 0),
        (30_000, 2, 1, 0),
        (0, 1, 0, 1),
        (20_000, 1, 0, 1),
    ]
)
OFFSET = np.array([0, 6, 8])


def told(counts: np.ndarray, shape: tuple[int, ...]) -> dict[tuple[int, ...], int]:
    """Counts that are not 0, by (recording, step, channel, row, column)."""
    maps = counts.reshape(shape)
    return {tuple(map(int, place)): int(maps[tuple(place)]) for place in np.argwhere(maps)}


def test_spikes_are_counted_by_recording_step_and_place() -> None:
    trains = SpikeTrains.of(EVENTS, OFFSET)
    assert (len(trains), trains.sensor, trains.axes) == (2, (2, 2, 4), "chw")
    frames, late, lost = trains.frames(3, 0.01, 15, trains.sensor)
    assert (frames.shape, frames.dtype) == ((2, 3 * 16), np.uint8)
    expected = {
        (0, 0, 0, 0, 0): 1,
        (0, 0, 1, 1, 3): 1,
        (0, 1, 1, 1, 3): 2,
        (0, 2, 0, 1, 2): 1,
        (1, 0, 1, 0, 1): 1,
        (1, 2, 1, 0, 1): 1,
    }
    assert told(frames, (2, 3, 2, 2, 4)) == expected
    assert (late, lost) == (pytest.approx(1 / 8), 0)
    frames, late, lost = trains.frames(4, 0.01, 1, (2, 3, 5))
    assert (late, lost) == (0, 1 / 8)
    assert int(frames.max()) == 1


def test_reals_are_seconds_and_order_does_not_matter() -> None:
    seconds = EVENTS.astype(float) * [1e-6, 1, 1, 1]
    wanted = SpikeTrains.of(EVENTS, OFFSET).frames(4, 0.01, 3, (2, 2, 4))
    for events in (seconds, np.concatenate([seconds[:6][::-1], seconds[6:]])):
        found = SpikeTrains.of(events, OFFSET).frames(4, 0.01, 3, (2, 2, 4))
        assert np.array_equal(found[0], wanted[0])
        assert found[1:] == wanted[1:]
    signed = EVENTS.copy()
    signed[:, 3] = 2 * signed[:, 3] - 1  # polarities of -1 and 1
    found = SpikeTrains.of(signed, OFFSET).frames(4, 0.01, 3, (2, 2, 4))
    assert np.array_equal(found[0], wanted[0])


@pytest.mark.parametrize("dt", [1e-6, 3e-6, 1e-3, 0.007, 0.1, 1 / 3])
def test_a_step_begins_with_its_first_microsecond(dt: float) -> None:
    """As whole numbers of microseconds say it, whatever reals come to."""
    ticks = np.unique(np.random.default_rng(1).integers(0, 10**6, 300))
    for steps in (1, 7, 900):
        edges = np.array([-(-round(k * dt * 3e6) // 3) for k in range(steps)])
        times = np.concatenate([ticks, edges, np.maximum(edges - 1, 0)])
        events = np.stack([times, np.zeros_like(times)], axis=1)
        frames, _, _ = SpikeTrains.of(events, [0, len(events)]).frames(steps, dt, 255, (1, 1, 1))
        wanted = np.zeros(steps, dtype=int)
        for t in times.tolist():
            step = (3 * t) // round(dt * 3e6)
            if step < steps:
                wanted[step] += 1
        assert frames[0].tolist() == np.minimum(wanted, 255).tolist()


def test_spikes_of_numbered_inputs() -> None:
    trains = SpikeTrains.of([[0, 2], [5, 0], [5, 0]], [0, 1, 3])
    assert (trains.sensor, trains.axes) == ((3, 1, 1), "f")
    frames, _, _ = trains.frames(2, 4e-6, 15, trains.sensor)
    assert told(frames, (2, 2, 3)) == {(0, 0, 2): 1, (1, 1, 0): 2}


@pytest.mark.parametrize(
    ("events", "offset", "sentence"),
    [
        (
            np.zeros((3, 3)),
            [0, 3],
            "must be numbers (m, 4), columns t, x, y, p, or (m, 2), columns",
        ),
        ([["a", "b"]], [0, 1], "must be numbers (m, 4)"),
        ([[np.nan, 1]], [0, 1], "must be finite numbers"),
        ([[-1, 1]], [0, 1], "must have no negative times and places"),
        ([[1, -1]], [0, 1], "must have no negative times and places"),
        ([[1.0, 1.5]], [0, 1], "must have whole numbers behind the times"),
        ([[1, 70_000]], [0, 1], "must have places below 65536"),
        ([[1, 5000, 1, 1]], [0, 1], "must have places below 4096"),
        ([[1, 1, 1, 2]], [0, 1], "must have polarities of 0 and 1, or of -1 and 1"),
        ([[1, 1, 1, 0], [1, 1, 1, -1]], [0, 2], "must have polarities of 0 and 1, or of -1 and 1"),
        ([[1, 1]], [0], "must have an offset of each recording and of the end (n + 1,)"),
        ([[1, 1]], [0.0, 1.0], "must have an offset of each recording"),
        ([[1, 1]], [0, 2], "Offsets of events must rise from 0 to 1, where the last recording"),
        ([[1, 1], [1, 1]], [0, 2, 1, 2], "Offsets of events must rise"),
    ],
)
def test_what_are_no_spikes(events: Any, offset: Any, sentence: str) -> None:
    with pytest.raises(DataError) as refused:
        SpikeTrains.of(events, np.asarray(offset))
    assert sentence in str(refused.value)


def digits(part: str, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spikes (t, i) of digits, a row of pixels every 10 ms, its pixels' value as many spikes."""
    data = load_split("digits", part, 2)
    events, offset = [], [0]
    for picture in data.images[:n].reshape(-1, 8, 8):
        for row, column in np.argwhere(picture):
            times = 10_000 * row + 100 * np.arange(int(picture[row, column]))
            events += [(int(t), int(column)) for t in times]
        offset.append(len(events))
    return np.array(events), np.array(offset), data.labels[:n]


def whole() -> dict[str, Any]:
    events, offset, y = digits("train", 60)
    others = dict(zip(("events_test", "offset_test", "y_test"), digits("test", 30), strict=True))
    return {"events": events, "offset": offset, "y": y, **others}


def test_a_file_and_a_table_are_the_same(tmp_path: Path) -> None:
    arrays = whole()
    np.savez(tmp_path / "own.npz", **arrays)
    with (tmp_path / "own.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["recording", "t", "i", "label", "split"])
        for part, end in (("train", ""), ("test", "_test")):
            offset = arrays[f"offset{end}"]
            for n, label in enumerate(arrays[f"y{end}"]):
                for t, i in arrays[f"events{end}"][offset[n] : offset[n + 1]]:
                    table.writerow([f"{part}{n}", t, i, label, part])
    found = [load_dataset(tmp_path / name) for name in ("own.npz", "own.csv")]
    plain = load_split("digits", "test", 2)
    for data in found:
        assert isinstance(data, Spikes)
        assert (data.sensor, data.classes) == ((8, 1, 1), 10)
        assert data.at(0.01).steps == 8
        assert repr(data) == "Spikes('own': 60 + 30 recordings of (8, 1, 1) inputs, 10 classes)"
        test = data.split("test", 2, steps=8)
        # Counted, the rows of the digits are there again.
        assert np.array_equal(test.images, plain.images[:30])
        assert np.array_equal(test.labels, plain.labels[:30])
        assert (test.timed, test.shape, test.time_step) == (True, (8, 1, 1), 0.01)
        assert test.counted == (
            "spikes in 8 steps of 0.01 s, at most 3 of an input in a step (0 % are more), 0 % come "
            "later"
        )


def test_spikes_so_late_that_no_integer_has_their_step() -> None:
    events = np.array([(0.0, 1), (1e30, 1), (1e300, 0), (0.5, 0)])
    frames, late, lost = SpikeTrains.of(events, [0, 2, 4]).frames(4, 0.25, 15, (2, 1, 1))
    assert told(frames, (2, 4, 2)) == {(0, 0, 1): 1, (1, 2, 0): 1}
    assert (late, lost) == (0.5, 0)
    frames, late, _ = SpikeTrains.of(events, [0, 2, 4]).frames(4, 1e-300, 15, (2, 1, 1))
    assert late == pytest.approx(3 / 4)
    arrays: Any = {"offset": np.arange(5), "y": np.arange(4) % 2, "time_step": 1e-300}
    data = Spikes(events, **arrays)
    with pytest.raises(DataError, match="counted in 1 to 1024 time steps, not 1000000002"):
        data.split("test", 4, steps=data.steps or 0)
    silent = Spikes(events[:0], **arrays | {"offset": np.zeros(5, int)}).split("test", 4, steps=2)
    assert silent.counted.endswith("0 % come later")


def test_frames_need_little_beside_themselves() -> None:
    """64 recordings of 2^19 counts: 32 MiB of bytes, not of integers of eight."""
    trains = SpikeTrains.of(np.array([(0, 1), (1, 2)]), [0, 1, *[2] * 63])
    tracemalloc.start()
    frames, _, _ = trains.frames(8, 1e-6, 15, (1 << 16, 1, 1))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert int(frames.sum()) == 2
    assert most < 2 * frames.nbytes


def test_parts_by_rule_and_a_given_sensor() -> None:
    arrays = {name: whole()[name] for name in ("events", "offset", "y")}
    data = Spikes(**arrays, sensor=12, time_step=0.02)
    train, test = (data.split(part, 4, steps=3) for part in ("train", "test"))
    assert len(train) + len(test) == 60
    assert train.images.shape[1] == 3 * 12
    assert test.rule == "of each class the first and every fifth after it"
    with pytest.raises(DataError, match=r"Sensor of data set data must hold all spikes, not \[4\]"):
        Spikes(**arrays, sensor=4)
    with pytest.raises(DataError, match="must be a number of inputs, not"):
        Spikes(**arrays, sensor=(4, 4))
    for sensor in (float("nan"), "wide"):
        with pytest.raises(DataError, match="must be a number of inputs, not"):
            Spikes(**arrays, sensor=sensor)


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda data: data.split("test", 4, steps=3), "give the seconds of a time step (--dt)"),
        (lambda data: data.at(0.0), "Time step must be a positive number of seconds, not 0.0"),
        (lambda data: data.at(0.01).split("test", 4, steps=0), "in 1 to 1024 time steps, not 0"),
        (lambda data: data.x, "has spike trains, on which networks are imported"),
        (lambda data: data.encoding, "has spike trains, on which networks are imported"),
        (lambda data: data.pixels("test", 4, 8), "Network must be one for spike trains"),
    ],
)
def test_what_spike_trains_are_not(ask: Any, sentence: str) -> None:
    with pytest.raises(DataError) as refused:
        ask(Spikes(**whole()))
    assert sentence in str(refused.value)


def test_times_that_are_of_another_unit() -> None:
    """Milliseconds that are taken for seconds: not one spike is left, which is refused."""
    arrays = whole()
    late = {**arrays, "events": arrays["events"] + [80_000, 0]}
    with pytest.raises(DataError, match=r"all come after 8 time steps of 0\.01 s: times are s"):
        Spikes(**late, time_step=0.01).split("train", 4, steps=8)


def test_imported_from_end_to_end(tmp_path: Path, capsys: Any) -> None:
    """By the command line; the network file knows the time step, and takes the spikes again."""
    pytest.importorskip("spikingjelly", reason="the package spikingjelly is not installed")
    from spikingjelly.activation_based import layer, neuron

    np.savez(tmp_path / "own.npz", **whole())
    torch.manual_seed(1)
    network = nn.Sequential(
        layer.Linear(8, 20, step_mode="m"),
        neuron.LIFNode(v_reset=None, step_mode="m"),
        layer.Linear(20, 10, step_mode="m"),
    )
    torch.save(network, tmp_path / "net.pt")
    ask = ["import", str(tmp_path / "net.pt"), "--data", str(tmp_path / "own.npz")]
    ask += ["--out", str(tmp_path / "out.npz"), "--pixel-bits", "2", "--weight-bits", "12"]
    assert main(ask) == 1
    assert "give the seconds of a time step (--dt)" in capsys.readouterr().err
    for option in ("--dt", "--frame"):
        assert main([*ask, option, "0.01"]) == 0
        out = capsys.readouterr().out
        assert "spikes in 8 steps of 0.01 s, at most 3 of an input in a step (0 % are more)" in out
        assert re.search(r"before rounding, hidden1 +0 of 4,800", out)
    assert main([*ask, "--dt", "0.01", "--reset", "zero"]) == 1
    assert "are for files that do not say them" in capsys.readouterr().err
    made = Network.load(tmp_path / "out.npz")
    assert made.meta["time_step"] == 0.01
    assert (made.spec.steps, made.spec.timed_input, made.spec.input_bits) == (8, True, 2)
    images = load_test_images(made, "5", folder=str(tmp_path / "own.npz"))
    assert np.array_equal(images.images, load_split("digits", "test", 2).images[:5])
    assert GoldenModel(made).classify(images.images).shape == (5,)
    assert main(["golden", str(tmp_path / "out.npz"), "--data", str(tmp_path / "own.npz")]) == 0
    plain = ["import", str(tmp_path / "net.pt"), "--dataset", "digits", "--frame", "0.1"]
    assert main(plain) == 1
    assert "Frames (--frame) are of spike trains, and digits has none" in capsys.readouterr().err
    assert main(["train", "--data", str(tmp_path / "own.npz"), "--hidden", "4"]) == 1
    assert "has spike trains, on which networks are imported" in capsys.readouterr().err


def test_counts_are_what_a_module_is_given() -> None:
    """Not shares of the largest: a spike is 1."""
    pytest.importorskip("spikingjelly", reason="the package spikingjelly is not installed")
    from spikingjelly.activation_based import neuron

    from sw.frameworks.spikingjelly import JellyNetwork

    data = Spikes(**whole(), time_step=0.01).split("test", 4, steps=8)
    seen: list[torch.Tensor] = []
    network = nn.Sequential(nn.Linear(8, 20), neuron.IFNode(), nn.Linear(20, 10))
    foreign = JellyNetwork(network)
    foreign.module[0].register_forward_pre_hook(  # type: ignore[index]
        lambda _, given: seen.append(given[0].detach().clone())
    )
    import_foreign(foreign, data, name="x", steps=8)
    counts = torch.from_numpy(load_split("digits", "test", 2).images[:30]).reshape(30, 8, 8)
    whole_run = torch.stack([x for x in seen if len(x) == 30][:8])
    assert torch.equal(whole_run, counts.double().transpose(0, 1))


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["a,1,2,x,train", "a,1,2,y,train"], "must have one label, and has 'y' (line 3)"),
        (["a,b,2,x,train"], "Column t of"),
        (["a,1,2,x"], "must have 5 cells, not 4"),
        (["a,1,2,x,maybe"], "must say train or test (line 2)"),
        (["a,1,2,x,train", "b,1,2,y,train"], "for train and test where it says split"),
        ([], "must have spikes"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, lines: list[str], sentence: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["recording,t,i,label,split", *lines]))
    with pytest.raises(DataError) as refused:
        load_dataset(path)
    assert sentence in str(refused.value)
