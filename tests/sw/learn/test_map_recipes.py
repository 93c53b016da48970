"""Recipes of networks of maps: their shapes follow; a first phase of one time step; the command."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import sterna
from hw.contract.edge import EdgeSpec
from hw.contract.network import Network
from sw.data.published import RECORDINGS, SHAPES
from sw.learn import train as training
from sw.learn.checkpoint import Checkpoint, float_network
from sw.learn.export import export
from sw.learn.fold import fold
from sw.learn.integer import IntegerNetwork
from sw.learn.network import FloatNetwork
from sw.learn.plan import LayerPlan, is_dense_chain, plan_shapes
from sw.learn.quantize import quantize
from sw.learn.recipes import RECIPES, Phase, Recipe, RecipeError, find_recipe
from sw.learn.train import train

MAPS = tuple(name for name, recipe in RECIPES.items() if not is_dense_chain(recipe.layers))

PHASE = Phase(epochs=1, rate=1e-2)
TINY = replace(
    find_recipe("digits-dense"),
    name="tiny",
    steps=3,
    spike_penalty=0.1,
    first_phase=Phase(epochs=2, rate=1e-2),
    float_phase=PHASE,
    integer_phase=PHASE,
    layers=(
        LayerPlan("stem", 4, (EdgeSpec(source="input", kind="conv", kernel=3, padding=1),)),
        LayerPlan(
            "later",
            8,
            (
                EdgeSpec(source="stem", kind="conv", kernel=3, stride=2),
                EdgeSpec(source="later", kind="conv", delay=1),
            ),
        ),
        LayerPlan("readout", 10, (EdgeSpec(source="later"),)),
    ),
)


def quiet(line: str) -> None:
    pass


# What ships


def test_there_are_recipes_of_maps_for_every_kind_of_data() -> None:
    assert {find_recipe(name).dataset for name in MAPS} == {*SHAPES}


@pytest.mark.parametrize("name", MAPS)
def test_a_recipe_makes_a_network_that_can_be_quantised(name: str) -> None:
    recipe = find_recipe(name)
    shapes = plan_shapes(SHAPES[recipe.dataset], recipe.layers)
    classes = len(recipe.encoding.labels) if recipe.encoding else 10
    assert shapes[recipe.layers[-1].name] == (classes, 1, 1)
    network = float_network(recipe)
    spec = quantize(
        fold(network.eval()),
        name=name,
        weight_bits=recipe.weight_bits,
        pixel_bits=recipe.pixel_bits,
        exact_decay=recipe.exact_decay,
    ).spec
    assert spec.input_shape == SHAPES[recipe.dataset]
    assert spec.timed_input == recipe.timed == (recipe.dataset in RECORDINGS)
    assert spec.input_size == recipe.sizes[0]
    assert (spec.steps, spec.classes, spec.input_bits) == (recipe.steps, classes, recipe.pixel_bits)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize("fields", [{"first_phase": PHASE}, {"soft_phase": PHASE}])
def test_recordings_have_no_phase_of_one_step(fields) -> None:
    """In one time step there is one image, not T of them."""
    with pytest.raises(RecipeError) as error:
        replace(find_recipe("nmnist-conv"), **fields)
    assert str(error.value) == (
        "Recipe nmnist-conv must have no phase of one step: nmnist-small holds recordings"
    )


# The first phase


@pytest.fixture
def phases(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Kind of network, its time steps, epochs: of each phase that runs."""
    seen: list[tuple[str, int, int]] = []
    run_phase = training.run_phase

    def spy(network, recipe: Recipe, name: str, *rest, **more):
        steps = network.spec.steps if isinstance(network, IntegerNetwork) else network.steps
        seen.append((type(network).__name__, steps, getattr(recipe, name).epochs))
        figures = run_phase(network, recipe, name, *rest, **more)
        with torch.no_grad():  # what it was trained on, and is left at
            assert len(network(torch.zeros(1, 64)).spikes[0]) == steps
        return figures

    monkeypatch.setattr(training, "run_phase", spy)
    return seen


def test_a_first_phase_has_one_step_and_leaves_the_steps_as_they_were(
    phases: Sequence[tuple[str, int, int]], tmp_path: Path
) -> None:
    lines: list[str] = []
    checkpoint = train(TINY, seed=1, progress=lines.append)
    assert phases == [("FloatNetwork", 1, 2), ("FloatNetwork", 3, 1), ("IntegerNetwork", 3, 1)]
    starts = ["one-step epoch 1/2", "one-step epoch 2/2", "float epoch 1/1", "integer epoch 1/1"]
    assert all(line.startswith(f"tiny {s}") for line, s in zip(lines, starts, strict=False))
    assert len(lines) == 5
    assert checkpoint.spec.steps == 3
    network = checkpoint.float_network()
    assert isinstance(network, FloatNetwork)
    assert network.steps == 3
    loaded = Checkpoint.load(checkpoint.save(tmp_path / "tiny.pt"))
    assert loaded.recipe == TINY
    image, report = export(loaded)
    assert image.spec.steps == 3
    assert report.integer_accuracy.share > 0.5


def test_a_soft_phase_comes_before_all_others(phases: Sequence[tuple[str, int, int]]) -> None:
    """Afterwards neurons send spikes again, and time has all its steps."""
    lines: list[str] = []
    recipe = replace(TINY, soft_phase=Phase(epochs=3, rate=1e-2))
    checkpoint = train(recipe, seed=1, progress=lines.append)
    assert [(steps, epochs) for _, steps, epochs in phases] == [(1, 3), (1, 2), (3, 1), (3, 1)]
    assert [line.split()[1] for line in lines[:4]] == ["soft", "soft", "soft", "one-step"]
    network = checkpoint.float_network()
    with torch.no_grad():
        spikes = network(torch.full((5, 64), 9.0)).spikes
    assert all(set(c.unique().tolist()) <= {-1, 0, 1} for c in spikes)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_a_dense_network_may_have_one_too(phases: Sequence[tuple[str, int, int]]) -> None:
    recipe = replace(
        find_recipe("digits-dense"), first_phase=PHASE, float_phase=PHASE, integer_phase=PHASE
    )
    train(recipe, seed=1, progress=quiet)
    assert [steps for _, steps, _ in phases] == [1, 4, 4]


def test_without_one_there_are_two_phases(phases: Sequence[tuple[str, int, int]]) -> None:
    digest = train(TINY, seed=1, progress=quiet).integer_network().to_network().digest
    del phases[:]  # type: ignore[attr-defined]
    without = train(replace(TINY, first_phase=None), seed=1, progress=quiet)
    assert [name for name, _, _ in phases] == ["FloatNetwork", "IntegerNetwork"]
    assert without.integer_network().to_network().digest != digest  # it was of some use


def test_epochs_in_place_of_the_recipes(phases: Sequence[tuple[str, int, int]]) -> None:
    """`sterna train --epochs 1` is short, whatever the recipe has."""
    recipe = replace(TINY, first_phase=Phase(epochs=40, rate=1e-2), integer_phase=PHASE)
    checkpoint = train(recipe, seed=1, float_epochs=1, progress=quiet)
    assert [epochs for _, _, epochs in phases] == [1, 1, 1]
    assert checkpoint.recipe == recipe


# The command


def test_export_writes_image_and_rom_images(tmp_path: Path, capsys) -> None:
    checkpoint = train(replace(TINY, first_phase=None), seed=1, progress=quiet)
    saved, image = checkpoint.save(tmp_path / "tiny.pt"), tmp_path / "tiny.npz"
    command = ["export", "tiny", "--checkpoint", str(saved), "--out", str(image), "--json"]
    assert sterna.main([*command, "--roms", str(tmp_path / "roms")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["digest"] == Network.load(image).digest
    files = list((tmp_path / "roms" / "rom").iterdir())
    assert files
    assert all(file.stat().st_size for file in files)
