"""`sterna learn`: what it leaves behind, how it goes on, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

from hw.contract.network import Network
from hw.learn.masters import Masters, masters_path
from sim.golden.learning import Learner
from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.data.dataset import load_split
from sw.spide.start import PRESETS

ROOT = Path(__file__).parents[3]


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(["learn", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def learned(file: Path) -> Masters:
    return Masters.load(masters_path(file), Network.load(file))


def test_digits_from_noise(capsys, tmp_path):
    file = tmp_path / "net.npz"
    code, out, err = run(
        capsys, "--passes", "1", "--samples", "300", "--every", "100", "--out", str(file)
    )
    assert code == 0
    assert [line.split(",")[1] for line in err.splitlines()] == [
        " 0 samples", " 100 samples", " 200 samples", " 300 samples"
    ]  # fmt: skip
    network, facts = Network.load(file), json.loads(file.with_suffix(".json").read_text())
    assert network.digest == facts["digest"] == learned(file).working().digest
    test = load_split("digits", "test", 4)
    hits = int((GoldenModel(network).classify(test.images) == test.labels).sum())
    assert facts["after"] == {"hits": hits, "n": 364}
    assert hits > facts["before"]["hits"]
    assert f"({hits} of 364)" in out
    assert facts["session"]["learned"] == learned(file).learned > 0
    assert network.meta["dataset"] == "digits"
    assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "net.before.npz", "net.json", "net.masters.npz", "net.npz", "net.png", "net.seen.npz"
    ]  # fmt: skip
    seen, before = np.load(tmp_path / "net.seen.npz"), Network.load(tmp_path / "net.before.npz")
    assert (seen["said_after"] == GoldenModel(network).classify(test.images)).all()
    assert (seen["said_before"] == GoldenModel(before).classify(test.images)).all()
    assert (seen["pixels"] == test.images[:200]).all()
    assert before.digest == PRESETS["digits"].network(1).digest


def test_it_goes_on_from_the_masters_beside_the_network(capsys, tmp_path):
    first, second, fresh = (tmp_path / f"{name}.npz" for name in ("a", "b", "c"))
    run(capsys, "--passes", "1", "--samples", "50", "--out", str(first))
    more = ["--samples", "50", "--seed", "2", "--json"]
    code, out, _ = run(capsys, "--from", str(first), *more, "--out", str(second))
    assert code == 0
    assert json.loads(out)["learned_before"] == learned(first).learned > 0
    assert learned(second).learned > learned(first).learned
    masters_path(first).unlink()
    code, out, _ = run(capsys, str(first), *more, "--out", str(fresh))
    assert code == 0
    assert json.loads(out)["learned_before"] == 0  # without them, from the middle of each cell
    assert learned(fresh).digest != learned(second).digest


def test_the_preset_is_the_default(capsys, tmp_path, monkeypatch):
    """Passes, rate drops and held-out images."""
    from sw.cli import learn

    seen = []

    def note(learner, train, held_out, schedule, progress):
        seen.append((schedule.passes, schedule.drops, len(train), len(held_out), learner.rates))
        raise KeyboardInterrupt

    monkeypatch.setattr(learn, "run_session", note)
    for more in ([], ["--rate-drop", "2,3", "--slower", "2", "--held-out", "0"]):
        assert run(capsys, "--out", str(tmp_path / "n.npz"), *more)[0] == 130
    assert seen == [(30, (16, 23), 1290, 143, [4, 0]), (30, (2, 3), 1433, 0, [6, 2])]


def test_a_readout_behind_a_shipped_network_and_a_drift(capsys, tmp_path):
    file, given = tmp_path / "net.npz", Network.load(ROOT / "sw/data/models" / "digits-dense.npz")
    code, out, _ = run(
        capsys, "digits-dense", "--readout-only", "--drift", "dead", "--samples", "200",
        "--held-out", "0", "--json", "--out", str(file),
    )  # fmt: skip
    assert code == 0
    made, facts = Network.load(file), json.loads(out)
    assert (made.weights[0] == given.weights[0]).all()
    assert (made.weights[1] != given.weights[1]).any()
    assert facts["dataset"] == "digits (dead)"
    plain = load_split("digits", "test", 4)
    hits = int((GoldenModel(made).classify(plain.images) == plain.labels).sum())
    assert facts["undrifted"] == {"hits": hits, "n": 364}
    hits = int((GoldenModel(given).classify(plain.images) == plain.labels).sum())
    assert facts["undrifted_before"]["n"] == 364
    assert abs(facts["undrifted_before"]["hits"] - hits) < 20  # its weights are rounded to masters
    assert facts["drift_told"] == "30% of the pixels dead, the others with gains from 0.2 to 1.8"
    assert "plain" in np.load(tmp_path / "net.seen.npz").files
    assert not file.with_suffix(".png").exists()


def test_the_readout_alone_of_a_network_of_noise(capsys, tmp_path):
    file, start = tmp_path / "net.npz", PRESETS["digits"].network(1)
    assert (
        run(capsys, "--readout-only", "--passes", "1", "--samples", "40", "--out", str(file))[0]
        == 0
    )
    made = Network.load(file)
    assert made.spec.learning is not None
    assert made.spec.learning.rates == (0,)
    assert (made.weights[0] == start.weights[0]).all()


def test_what_was_learned_is_kept_when_it_is_interrupted(capsys, tmp_path, monkeypatch):
    from sw.spide import session

    file, looked = tmp_path / "net.npz", session.look

    def look(learner, held_out, number, samples, *seen):
        if samples == 90:
            raise KeyboardInterrupt
        return looked(learner, held_out, number, samples, *seen)

    monkeypatch.setattr(session, "look", look)
    code, out, _ = run(capsys, "--every", "30", "--out", str(file))
    assert code == 130
    assert f"what was learned is kept; go on with --from {file}" in out
    facts = json.loads(file.with_suffix(".json").read_text())
    assert (facts["session"]["samples"], facts["session"]["interrupted"]) == (90, True)
    assert learned(file).learned == facts["session"]["learned"] > 0
    monkeypatch.undo()
    whole = tmp_path / "whole.npz"
    run(capsys, "--passes", "1", "--samples", "90", "--out", str(whole))
    assert learned(whole).digest == learned(file).digest


def test_without_matplotlib_there_is_no_picture_and_no_fault(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    file = tmp_path / "net.npz"
    code, out, _ = run(capsys, "--passes", "1", "--samples", "10", "--out", str(file))
    assert code == 0
    assert "not drawn: that needs the package matplotlib" in out
    assert file.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["digits-dense"], "Network digits-dense has no learning in its specification: give"),
        (["digits-conv", "--readout-only"], "Network digits-conv must have rows of values, not"),
        (["digits-dense", "--from", "noise"], "Preset must be one of digits, digits-lean, "),
        (["cats"], "Model must be one of"),
        (["--from", "none.npz"], "Network file none.npz does not exist"),
        (["--passes", "0"], "Passes must be an integer of at least 1, not 0"),
        (["--samples", "0"], "Samples must be an integer of at least 1, not 0"),
        (["--seed", "-1"], "Seed must be an integer from 0 to 2^32 - 1, not -1"),
        (["--every", "0"], "Samples between looks must be an integer of at least 1, not 0"),
        (["--margin", "-1"], "Margin must be an integer from 0 to 1073741824, not -1"),
        (["--rate-drop", "x"], "Rate drops must be passes joined by commas, not 'x'"),
        (["--rate-drop", "0"], "Pass of a rate drop must be an integer of at least 1, not 0"),
        (["--slower", "-1"], "Halvings must be a number of at least 0, not -1"),
        (["--held-out", "1433"], "Held-out images must be fewer than the 1433 of digits, not 1433"),
        (["--dataset", "cats"], "Data set must be one of"),
        (["--dataset", "nmnist-small"], "Data set nmnist-small holds recordings, from which no"),
        (["mnist", "--dataset", "digits"], "Data set digits must have 784 pixels per image for"),
    ],
)
def test_faults_are_one_sentence(capsys, tmp_path, arguments, sentence):
    code, out, err = run(capsys, *arguments, "--out", str(tmp_path / "net.npz"))
    assert code == 1
    assert out == ""
    assert err.startswith(f"sterna: {sentence}")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_files_that_are_refused(capsys, tmp_path):
    code, _, err = run(capsys, "--out", str(tmp_path / "net.json"))
    assert (code, err.startswith("sterna: File of a network must end in .npz, not ")) == (1, True)
    file = tmp_path / "a.npz"
    PRESETS["digits"].network(1).save(file)
    Masters.of(PRESETS["digits"].network(2)).save(masters_path(file))
    code, _, err = run(capsys, "--from", str(file), "--out", str(tmp_path / "b.npz"))
    assert code == 1
    assert err == f"sterna: File of masters {masters_path(file)} belongs to another network\n"
    assert not (tmp_path / "b.npz").exists()


def test_a_curve_of_ones_own_data(capsys, tmp_path, idx_folder):
    """MNIST's preset on 20 images."""
    file = tmp_path / "net.npz"
    code, out, _ = run(
        capsys, "mnist", "--data", str(idx_folder), "--passes", "1", "--held-out", "5", "--out",
        str(file),
    )  # fmt: skip
    assert code == 0
    assert "15 in " in out
    assert np.asarray(learned(file).arrays[0]).shape == (785, 128)


BOARD = "golden:digits?lanes=8&samples=40"


def test_a_board_by_its_address_learns_the_same(capsys, tmp_path):
    """Through the host library as at home; it goes on from what it has, or from a file."""
    few = ["--passes", "1", "--samples", "30", "--held-out", "4", "--test-images", "5"]
    home, board, more, loaded = (tmp_path / f"{name}.npz" for name in "abcd")
    assert run(capsys, "digits", *few, "--out", str(home))[0] == 0
    assert run(capsys, "digits", *few, "--on", BOARD, "--out", str(board))[0] == 0
    assert learned(board).digest == learned(home).digest
    facts = json.loads(board.with_suffix(".json").read_text())
    assert facts["after"]["n"] == 5
    again = ["--seed", "1", *few]
    assert run(capsys, "--from", str(home), *again, "--out", str(more))[0] == 0
    code, _, _ = run(
        capsys, "digits", "--from", str(home), "--on", BOARD, *again, "--out", str(loaded)
    )
    assert code == 0
    assert learned(loaded).digest == learned(more).digest
    assert learned(loaded).learned > learned(home).learned


def test_a_board_learns_from_its_own_images(capsys, tmp_path):
    file = tmp_path / "n.npz"
    options = ["--stored", "--passes", "2", "--rate-drop", "2", "--held-out", "0"]
    code, out, err = run(
        capsys, "digits", "--on", BOARD, *options, "--test-images", "3", "--out", str(file)
    )
    assert code == 0, err
    assert "80 in" in out
    train = load_split("digits", "train", 4)
    learner = Learner(Masters.of(PRESETS["digits"].network(1)))
    for _ in range(2):
        for image, label in zip(train.images[:40], train.labels[:40].tolist(), strict=True):
            learner.learn(image, label)
        learner.rates = [k + 1 for k in learner.rates]
    assert learned(file).digest == learner.masters.digest


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--stored"], "Images on a chip are a board's: give --on with its address"),
        (["--on", "elsewhere"], "Learner must be golden, sim or a board's address"),
        (["--on", "golden:digits?lanes=8", "--stored"], "has no images on its chip"),
        (["--on", "golden:digits-lean?lanes=8"], "The board was built of the network "),
        (["--on", "golden:digits-dense"], "The board's core does not learn"),
        (["--test-images", "0"], "Test images must be at least 1, not 0"),
        (["--on", "golden:digits?samples=0"], "Samples must be a positive number or 'all'"),
        (["--on", "golden:digits?samples=9999"], "Samples must be at most the 1433 of digits"),
    ],
)
def test_boards_that_cannot_learn_this(capsys, tmp_path, arguments, sentence):
    code, out, err = run(capsys, "digits", *arguments, "--out", str(tmp_path / "n.npz"))
    assert code == 2 or code == 1
    assert (out, err.count("\n")) == ("", 1)
    assert sentence in err
    assert not [*tmp_path.iterdir()]
