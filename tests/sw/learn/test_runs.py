"""Runs: broken off anywhere they go on to the same network; no other run is gone on with. And what
a recipe of counted spikes trains is, rounded, what its golden model computes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sterna
from hw.contract.edge import EdgeSpec
from hw.system.progress import Progress
from sw.data.dataset import load_split
from sw.learn import train as training
from sw.learn.checkpoint import Checkpoint, CheckpointError
from sw.learn.export import export
from sw.learn.fold import fold
from sw.learn.neuron import LIFParameters
from sw.learn.plan import LayerPlan
from sw.learn.quantize import quantize
from sw.learn.recipes import PHASES, Phase, Recipe, find_recipe
from sw.learn.train import train

SGD = Phase(epochs=2, rate=0.1, weight_decay=5e-4, optimizer="sgd", schedule="constant", warm_up=1)
ROUNDED = replace(SGD, schedule="linear", warm_up=0, rounded=True)
CONV = {"kind": "conv", "kernel": 3, "padding": 1}
COUNTS = replace(
    find_recipe("digits-dense"),
    name="counts",
    layers=(
        LayerPlan("stem", 4, (EdgeSpec(source="input", **CONV),)),
        LayerPlan("top", 8, (EdgeSpec(source="stem", stride=2, **CONV),)),
        LayerPlan("readout", 10, (EdgeSpec(source="top", pool=2),)),
    ),
    steps=1,
    neuron=LIFParameters(
        theta=2 / 3, negative="off", limit=3, decay="none", decay_shift=0, u0=1 / 3
    ),
    by_channel=True,
    train_amplitude=False,
    soft_phase=SGD,
    float_phase=ROUNDED,
    integer_phase=Phase(epochs=2, rate=3e-3),
    batch=64,
    validation=1200,
    max_shift=1,
    mirror=True,
    cutout=2,
    dropout=0.1,
)


class Broken(Exception):
    pass


def breaking(after: int) -> Progress:
    """Progress that breaks off when an epoch has run, but is not kept yet."""
    seen: list[str] = []

    def progress(line: str) -> None:
        if " epoch " in line and "goes on" not in line:
            seen.append(line)
            if len(seen) == after:
                raise Broken

    return progress


def broken_off(path: Path, recipe: Recipe = COUNTS, *, after: int = 3, **more: Any) -> None:
    with pytest.raises(Broken):
        train(recipe, run=path, progress=breaking(after), **more)


def quiet(line: str) -> None:
    pass


def same(a: Any, b: Any) -> bool:
    """Of checkpoints: every tensor and figure."""
    states = [(x.float_state, x.integer_state) for x in (a, b)]
    equal = all(
        p.keys() == q.keys() and all(torch.equal(p[key], q[key]) for key in p)
        for p, q in zip(*states, strict=True)
    )
    return equal and a.trained == b.trained and a.spec == b.spec


@pytest.fixture(scope="module")
def whole() -> Checkpoint:
    """Trained without a break, and without a file."""
    return train(COUNTS, progress=quiet)


# Going on


def test_a_run_broken_off_in_every_epoch_gives_the_same_network(
    whole: Checkpoint, tmp_path: Path
) -> None:
    path, lines = tmp_path / "counts.run", []
    broken_off(path, after=1)
    assert not path.exists()
    for _ in range(5):
        broken_off(path, after=2)  # one epoch further each time
    checkpoint = train(COUNTS, run=path, progress=lines.append)
    assert lines[0] == f"counts goes on after epoch 1 of its integer phase ({path})"
    assert lines[1].startswith("counts integer epoch 2/2")
    assert same(checkpoint, whole)
    assert [p.name for p in tmp_path.iterdir()] == ["counts.run"]
    again = train(COUNTS, run=path, progress=lines.append)  # kept until what came of it is saved
    assert len(lines) == 3 + 2
    assert same(again, whole)


def test_of_one_phase_too_and_with_the_other_optimizer(tmp_path: Path) -> None:
    recipe = replace(
        COUNTS, soft_phase=None, float_phase=Phase(epochs=3, rate=1e-2), by_channel=False
    )
    broken_off(tmp_path / "run", recipe)
    resumed = train(recipe, run=tmp_path / "run", progress=quiet)
    assert same(resumed, train(recipe, progress=quiet))


def test_a_constant_rate_may_be_left_earlier(tmp_path: Path, whole: Checkpoint) -> None:
    """And what comes after it be changed: nothing of that has been followed yet."""
    long = replace(COUNTS, soft_phase=replace(SGD, epochs=9), float_phase=replace(SGD, epochs=5))
    broken_off(tmp_path / "run", long)
    assert same(train(COUNTS, run=tmp_path / "run", progress=quiet), whole)


def kept(path: Path) -> tuple[str, int, float, dict[str, Any]]:
    content = torch.load(path, weights_only=True)
    group = content["states"]["optimizer"]["param_groups"][0]
    return content["phase"], content["epoch"], group["lr"], group


def test_rates_rise_stay_and_fall(tmp_path: Path) -> None:
    path, found = tmp_path / "run", []
    recipe = replace(
        COUNTS,
        soft_phase=replace(SGD, epochs=4, warm_up=2),
        float_phase=replace(ROUNDED, epochs=4, warm_up=1),
    )

    def progress(line: str) -> None:  # before each epoch is kept: what the last one left
        if path.exists():
            found.append(kept(path)[:3])

    train(recipe, run=path, progress=progress)
    batches = (1433 - COUNTS.validation) // COUNTS.batch
    rates = [rate for _, _, rate in found]  # of the next update
    first, second = rates[:4], rates[4:8]
    assert first == pytest.approx([0.1 * (batches + 1) / (2 * batches), 0.1, 0.1, 0.1])
    assert second == pytest.approx([0.1, 0.2 / 3, 0.1 / 3, 0])
    phases = [phase for phase, *_ in found]
    assert phases == ["soft_phase"] * 4 + ["float_phase"] * 4 + ["integer_phase"] * 2
    assert kept(path)[3]["weight_decay"] == 0


def test_the_optimizer_is_the_recipes(tmp_path: Path) -> None:
    broken_off(tmp_path / "run", after=2)
    group = kept(tmp_path / "run")[3]
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, True, 5e-4)
    others = torch.load(tmp_path / "run")["states"]["optimizer"]["param_groups"][1]
    assert others["weight_decay"] == 0


# Refusals


@pytest.mark.parametrize(
    ("changes", "more", "what"),
    [
        ({}, {"seed": 2}, "seed"),
        ({}, {"threads": 2}, "threads"),
        ({}, {"compiled": True}, "compiled"),
        ({"batch": 32}, {}, "recipe"),
        ({"soft_phase": replace(SGD, rate=0.2)}, {}, "recipe"),
        ({"soft_phase": replace(SGD, epochs=1)}, {}, "recipe"),  # two are done
        ({"soft_phase": None}, {}, "recipe"),
    ],
)
def test_another_run_is_not_gone_on_with(tmp_path: Path, changes, more, what: str) -> None:
    path = tmp_path / "run"
    broken_off(path)
    before = path.read_bytes()
    with pytest.raises(CheckpointError) as error:
        train(replace(COUNTS, **changes), run=path, progress=quiet, **more)
    assert str(error.value) == (
        f"Run {path} must be one of the same recipe, seed and circumstances to go on, but "
        f"differs in its {what}: delete it to begin anew"
    )
    assert path.read_bytes() == before


def test_other_data_are_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_off(tmp_path / "run")
    data = load_split("digits", "train", 4)
    pixels = data.images.copy()
    pixels[0, 0] ^= 1
    monkeypatch.setattr(training, "load_split", lambda *_, **__: replace(data, images=pixels))
    with pytest.raises(CheckpointError, match="to go on, but differs in its data"):
        train(COUNTS, run=tmp_path / "run", progress=quiet)


def test_a_linear_phase_cannot_become_longer(tmp_path: Path) -> None:
    broken_off(tmp_path / "run", after=4)
    longer = replace(COUNTS, float_phase=replace(ROUNDED, epochs=3))
    with pytest.raises(CheckpointError, match="differs in its recipe"):
        train(longer, run=tmp_path / "run", progress=quiet)


def damaged(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


def test_what_is_no_run_is_one_sentence(tmp_path: Path, digits_checkpoint: Checkpoint) -> None:
    path = tmp_path / "run"

    def complaint() -> str:
        with pytest.raises(CheckpointError) as error:
            train(COUNTS, run=path, progress=quiet)
        return str(error.value)

    broken_off(path)
    good = path.read_bytes()
    path.write_bytes(good[:1000])
    assert complaint() == f"Run {path} is truncated or not a run"
    digits_checkpoint.save(path)
    assert complaint() == f"Run {path} is not a Sterna run"
    changes: list[Callable[[dict[str, Any]], object]] = [
        lambda c: c.pop("recipe"),
        lambda c: c.pop("circumstances"),
        lambda c: c.update(phase="first"),
        lambda c: c.update(epoch="2"),
        lambda c: c.pop("states"),
        lambda c: c["states"].pop("optimizer"),
        lambda c: c["states"]["network"].popitem(),
        lambda c: c["states"]["draws"].update(batches=torch.zeros(3)),
    ]
    for change in changes:
        path.write_bytes(good)
        damaged(path, change)
        assert complaint() == f"Run {path} is inconsistent: delete it to begin anew"


def test_the_command_goes_on_and_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The same command again; `--threads` is of the run."""
    command = ["train", "digits-binary", "--epochs", "2", "--out", str(tmp_path / "d.pt")]
    epoch, calls = training._epoch, []

    def breaks(*given):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return epoch(*given)

    monkeypatch.setattr(training, "_epoch", breaks)
    assert sterna.main(command) != 0
    assert [p.name for p in tmp_path.iterdir()] == ["d.run"]
    capsys.readouterr()
    assert sterna.main([*command, "--threads", "2"]) != 0
    assert "differs in its threads: delete it to begin anew" in capsys.readouterr().err
    assert sterna.main(command) == 0
    assert "digits-binary goes on after epoch 1 of its float phase" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["d.pt"]
    unbroken = train(find_recipe("digits-binary"), float_epochs=2, integer_epochs=2, progress=quiet)
    assert same(Checkpoint.load(tmp_path / "d.pt"), unbroken)


@pytest.mark.parametrize("threads", [0, 1.5])
def test_threads_out_of_range(threads) -> None:
    with pytest.raises(training.TrainError) as error:
        train(COUNTS, threads=threads)
    assert str(error.value) == f"Threads must be a positive integer, not {threads}"


# bfloat16


def test_bfloat16_where_the_processor_has_it(
    whole: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures tell; elsewhere the network is what it is without."""
    asked = replace(COUNTS, soft_phase=replace(SGD, bfloat16=True))
    for there in (False, True):
        monkeypatch.setattr(training, "has_bfloat16", lambda there=there: there)
        made, path = train(asked, progress=quiet), "bfloat16"
        assert path not in made.trained["float"]  # whose phase did not ask
        assert torch.isfinite(made.float_state["layers.0.edges.0.weights.weight"]).all()
        equal = all(torch.equal(v, whole.float_state[k]) for k, v in made.float_state.items())
        assert equal == (not there)
        last = replace(asked, float_phase=replace(ROUNDED, bfloat16=True))
        assert train(last, progress=quiet).trained["float"]["bfloat16"] == there


# Counted spikes


@pytest.fixture(scope="module")
def learned() -> Checkpoint:
    """The same, of more pictures."""
    recipe = replace(COUNTS, batch=32, validation=143, mirror=False, cutout=0, dropout=0)
    return train(recipe, float_epochs=3, integer_epochs=1, progress=quiet)


def test_rounded_weights_stay_what_they_were(learned: Checkpoint) -> None:
    """On the grid of each channel, which quantisation finds again; then only biases and thresholds
    are rounded, and most spikes are the same."""
    network = learned.float_network()
    folded = fold(network)
    integer = quantize(folded, name="counts", weight_bits=4, pixel_bits=4, by_channel=True)
    for layer, exact in zip(integer.integer_layers, folded.layers, strict=True):
        (kernel,), _ = layer.integers()
        assert float(kernel.detach().abs().max()) == 7
        scale = layer.scale.expand(len(kernel))[:, None]
        ours = kernel.detach().double().flatten(1) * scale
        assert torch.allclose(ours, exact.weight.flatten(1).detach(), rtol=1e-5, atol=1e-9)
    pixels = torch.from_numpy(load_split("digits", "train", 4).images[:100])
    with torch.no_grad():
        pairs = list(zip(network(pixels).spikes, integer(pixels).spikes, strict=True))
    for ours, theirs in pairs:
        assert float((ours == theirs).double().mean()) > 0.9  # one processor trains another
        assert set(theirs.unique().tolist()) == {0, 1, 2, 3}


def test_counts_in_torch_are_those_of_the_golden_model(learned: Checkpoint, tmp_path: Path) -> None:
    """Exported: every spike and logit compared; a neuron starts from 0 and has a threshold of its
    channel."""
    network, report = export(Checkpoint.load(learned.save(tmp_path / "counts.pt")))
    assert report.integer_accuracy.n == 364
    assert report.integer_accuracy.share > 0.7
    for layer in network.layers[:-1]:
        assert layer.thetas is not None
        assert layer.spec.neuron is not None
        assert (layer.spec.neuron.limit, layer.spec.neuron.u0) == (3, 0)
    assert network.spec.steps == 1
    assert network.meta["trained"]["integer"]["epochs"] == 1


def test_phases_are_those_of_a_recipe() -> None:
    assert [name for name in COUNTS.to_dict() if name.endswith("_phase")] == list(PHASES)
