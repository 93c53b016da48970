"""The study of conversions: its numbers are those of single runs, its files are there."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from hw.contract.checks import SternaError
from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.cli.study import choices, numbers
from sw.data.dataset import load_split
from sw.importers.conversion import Conversion, convert
from sw.importers.convert_report import convert_and_compare, load_network
from sw.importers.modules import read_relu
from sw.importers.relu import train_relu
from sw.spread.runner import running
from sw.study.conversion import STEPS, agreement_table, steps_up_to, study, study_table, within


def test_the_study_of_digits(tmp_path) -> None:
    train, test = (load_split("digits", split, 4) for split in ("train", "test"))
    facts = study(train, test, (48, 32), tmp_path, seed=2, epochs=20)
    assert json.loads((tmp_path / "study.json").read_text()) == facts
    for name in ("accuracy.png", "events.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert facts["relu"] > 94
    # A run of T steps by itself gives what the long run gave after T steps.
    network = train_relu(train, (48, 32), seed=2, epochs=20)
    conversion = Conversion(limit=15, divisor=8, steps=4)
    image = convert(read_relu(network, (64,)), train.images[:2000], 4, conversion)
    trace = GoldenModel(image).run(test.images)
    found, n = facts["variants"]["AugMapping, D = 8"], STEPS.index(4)
    assert found["accuracy"][n] == round(100 * float((trace.classes == test.labels).mean()), 2)
    events = sum(int(np.bitwise_count(spikes).sum()) for spikes in trace.spikes)
    assert found["events"][n] == round(events / len(test), 1)
    _, report = convert_and_compare(network, train, test, conversion, name="single")
    assert found["agreement"][n] == round(100 * report.agreement.share, 2)
    assert found["rate_errors"][n] == pytest.approx(report.rate_errors, abs=1e-5)
    row = f"| {found['agreement'][n]:.2f} ({', '.join(f'{e:.3f}' for e in report.rate_errors)}) |"
    assert row in agreement_table(facts).splitlines()[-1]
    saved = read_relu(load_network(tmp_path / "relu.pt"), (64,))
    assert all(
        torch.equal(a.weight, b.weight)
        for a, b in zip(saved, read_relu(network, (64,)), strict=True)
    )
    first = within(facts, "AugMapping, D = 8")
    assert first is not None
    assert first <= 8
    assert f"from T = {first} |" in study_table(facts)


def test_hidden_layers_may_be_equal() -> None:
    """Choices of a grid are each made once; layers of a network are a list."""
    assert numbers("16,16,8", "x") == (16, 16, 8)
    assert choices("16,16,8", "x") == (16, 8)


def test_within_is_of_points_not_of_bits() -> None:
    """89.9 - 89.6 is more than 0.3 in floating point."""
    facts = {"relu": 89.90, "variants": {"x": {"accuracy": [80.0] + [89.60] * 6}}}
    assert within(facts, "x") == 2


def test_logits_over_time_end_where_a_run_ends() -> None:
    test = load_split("digits", "test", 4)
    train = load_split("digits", "train", 4)
    network = train_relu(train, (20,), seed=1, epochs=1)
    image = convert(read_relu(network, (64,)), train.images, 4, Conversion(steps=5, limit=3))
    golden = GoldenModel(image)
    logits, _ = golden.over_time(test.images, batch=100)
    assert np.array_equal(logits[:, -1], golden.run(test.images).logits)


def test_a_convolutional_network_and_a_study_that_goes_on(tmp_path) -> None:
    train, test = (load_split("digits", split, 4) for split in ("train", "test"))
    options: dict[str, Any] = {"seed": 1, "epochs": 4, "steps": steps_up_to(2)}
    facts = study(train, test, None, tmp_path, **options)
    assert facts["sizes"] == ["1x8x8", "16x4x4", "32x2x2", "32x2x2", 10]
    assert facts["relu"] > 80
    assert "| 1x8x8-16x4x4-32x2x2-32x2x2-10 |" in agreement_table(facts).splitlines()[0]
    network = load_network(tmp_path / "relu.pt")
    conversion = Conversion(limit=15, divisor=4, steps=2)
    _, report = convert_and_compare(network, train, test, conversion, name="single")
    found = facts["variants"]["AugMapping, D = 4"]
    assert found["agreement"][1] == round(100 * report.agreement.share, 2)
    assert found["rate_errors"][1] == pytest.approx(report.rate_errors, abs=1e-5)
    assert report.agreement.share > 0.9
    # What is there is kept; a variant that is not is made again, the same.
    path = tmp_path / "study.json"
    kept = json.loads(path.read_text())
    kept["variants"] = {"IF": kept["variants"]["IF"] | {"accuracy": [1.0, 2.0]}}
    path.write_text(json.dumps(kept))
    lines: list[str] = []
    again = study(train, test, None, tmp_path, **options, progress=lines.append)
    assert lines[0] == "1 of 5 variants are done"
    assert len(lines) == 5
    assert again["variants"].pop("IF")["accuracy"] == [1.0, 2.0]
    del facts["variants"]["IF"]
    assert again["variants"] == facts["variants"]
    # Other steps: the same network, other runs. Another seed: another network.
    options["steps"] = (1,)
    assert set(study(train, test, None, tmp_path, **options)["variants"]) > {"IF"}
    assert json.loads(path.read_text())["seconds"]["training"] == facts["seconds"]["training"]
    lines.clear()
    options["seed"] = 2
    study(train, test, None, tmp_path, **options, progress=lines.append)
    assert lines[0].startswith("epoch 1 of 4: loss ")


def test_variants_as_jobs(tmp_path) -> None:
    """What is found is found one after the other, too, in order; a job that was done is not done
    again."""
    train, test = (load_split("digits", split, 4) for split in ("train", "test"))
    options: dict[str, Any] = {"seed": 3, "epochs": 2, "steps": steps_up_to(2)}
    plain = study(train, test, (16,), tmp_path / "plain", **options)
    out, lines = tmp_path / "spread", []
    with running(0, kept=tmp_path / "kept", progress=lines.append) as run:
        found = study(train, test, (16,), out, run=run, **options)
        assert list(found["variants"].items()) == list(plain["variants"].items())
        assert json.loads((out / "study.json").read_text()) == found
        (out / "study.json").unlink()  # as where the command was killed before it was written
        again = study(train, test, (16,), out, run=run, **options)
    assert again["variants"] == plain["variants"]
    assert lines[-2:] == ["variants: 5 of 5, AugMapping, D = 8", "5 of 5 variants were done before"]


def test_most_steps_are_a_power_of_two() -> None:
    with pytest.raises(SternaError, match=r"^Most time steps must be one of .*, not 3$"):
        steps_up_to(3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--maps", "--hidden", "9"], "A network must have --maps or --hidden, not both"),
        (["--steps", "5"], "Most time steps must be one of (1, 2, 4, 8, 16, 32, 64), not 5"),
        (["--images", "0"], "Images must be a number from 1 to 364, not 0"),
    ],
)
def test_options_that_cannot_be(options, sentence, tmp_path, capsys) -> None:
    arguments = ["study", "conversion", "--dataset", "digits", "--out", str(tmp_path)]
    assert main([*arguments, *options]) == 1
    assert capsys.readouterr().err == f"sterna: {sentence}\n"
    assert list(tmp_path.iterdir()) == []
