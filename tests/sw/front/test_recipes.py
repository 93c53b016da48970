"""Recipes for a user's own data: made up, tailored, from files; what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hw.contract.checks import SternaError
from hw.contract.edge import EdgeSpec
from sw.data.arrays import Dataset
from sw.data.dataset import Published
from sw.front.recipes import dense_recipe, read_recipe, recipe_for, tailored
from sw.learn.recipes import RECIPES, Phase, Recipe, RecipeError, find_recipe


def data(n: int = 60, *shape: int, classes: int = 3) -> Dataset:
    x = np.random.default_rng(1).random((n, *(shape or (8, 8))))
    return Dataset(x, np.arange(n) % classes, name="mine")


FEATURES = data(60, 5)
RECORDINGS = data(60, 6, 8, 9)


def test_dense_layers_for_data():
    recipe = dense_recipe(data(classes=4), (20, 10))
    assert (recipe.name, recipe.dataset) == ("mine-dense", "mine")
    assert recipe.sizes == (64, 20, 10, 4)
    assert recipe.encoding == data(classes=4).encoding
    assert (recipe.steps, recipe.weight_bits, recipe.pixel_bits) == (4, 4, 4)
    assert recipe.validation + recipe.batch <= 48
    assert dense_recipe(FEATURES, ()).sizes == (5, 3)
    assert dense_recipe(RECORDINGS).steps == 6
    named = dense_recipe(FEATURES, name="own", steps=7, weight_bits=2, pixel_bits=8)
    assert (named.name, named.steps, named.weight_bits, named.pixel_bits) == ("own", 7, 2, 8)


@pytest.mark.parametrize("n", [30, 200, 1500, 20_000])
def test_batches_and_epochs_by_the_number_of_examples(n: int):
    recipe = dense_recipe(data(n, 2), (4,))
    examples = n - recipe.validation - len(data(n, 2).y_test)
    updates = recipe.float_phase.epochs * (examples // recipe.batch)
    assert 500 <= updates <= 4000
    assert examples // recipe.batch >= 2


def test_a_recipe_for_a_published_set_by_name():
    recipe = recipe_for(Published("digits"), hidden=(16,))
    assert (recipe.dataset, recipe.encoding, recipe.sizes) == ("digits", None, (64, 16, 10))
    assert recipe_for(None, recipe="digits-conv") == find_recipe("digits-conv")


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_are_tailored(name: str):
    made = data(60, 6, 28, 28) if RECIPES[name].timed else data(60, 1, 28, 28)
    recipe = recipe_for(made, recipe=name)
    assert recipe.name == f"mine-{name}"
    assert recipe.sizes[0] == 784
    assert recipe.sizes[-1] == 3
    assert recipe.validation <= 4
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_what_does_not_suit():
    for recipe, made, complaint in (
        ("mnist-dense", FEATURES, "must not move, mirror or cut out examples: mine has features"),
        ("mnist-lenet", data(60, 2, 2), "maps of 1x2x2 are too small for layer stem"),
        ("digits-dense", RECORDINGS, "must have 6 time steps, as the recordings of mine have"),
    ):
        with pytest.raises(SternaError, match=complaint):
            tailored(find_recipe(recipe), made)
    with pytest.raises(RecipeError, match="must have 20 training examples, not 16"):
        dense_recipe(data(20, classes=2))
    for hidden in ((0,), (65537,), ("a",)):
        with pytest.raises(RecipeError, match="Hidden neurons must be an integer from 1 to 65536"):
            dense_recipe(FEATURES, hidden)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RecipeError, match="as hidden layers or as a recipe, not as both"):
        recipe_for(FEATURES, hidden=(4,), recipe="digits-dense")
    with pytest.raises(RecipeError, match="Data must be given for hidden layers"):
        recipe_for(None, hidden=(4,))
    with pytest.raises(SternaError, match="Network name must be of ASCII letters"):
        recipe_for(FEATURES, name="a b")
    with pytest.raises(RecipeError, match="Time steps must be an integer from 1 to 1024, not 0"):
        dense_recipe(FEATURES, steps=0)


# Files

WHOLE = """
name = "own-conv"
steps = 3
weight_bits = 5
batch = 16
max_shift = 1
[neuron]
negative = "off"
[[layers]]
name = "stem"
channels = 4
edges = [{source = "input", kind = "conv", kernel = 3, padding = 1}]
[[layers]]
name = "readout"
edges = [{source = "stem", pool = 2}]
[float_phase]
epochs = 2
rate = 5e-3
weight_decay = 1e-2
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine-conv.toml"
    path.write_text(text)
    return path


def test_sides_that_differ(tmp_path: Path):
    """Rows and columns, as TOML and a checkpoint's plain data have them."""
    text = WHOLE.replace("kernel = 3, padding = 1", "kernel = [1, 5], padding = [0, 2]")
    recipe = recipe_for(data(), recipe=written(tmp_path, text.replace("pool = 2", "pool = [2, 1]")))
    edges = [layer.edges for layer in recipe.layers]
    assert edges == [
        (EdgeSpec(source="input", kind="conv", kernel=(1, 5), padding=(0, 2)),),
        (EdgeSpec(source="stem", pool=(2, 1)),),
    ]
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_a_whole_recipe(tmp_path: Path):
    recipe = recipe_for(data(), recipe=written(tmp_path, WHOLE))
    assert (recipe.name, recipe.steps, recipe.weight_bits, recipe.batch) == ("own-conv", 3, 5, 16)
    assert recipe.neuron.negative == "off"
    edges = [layer.edges for layer in recipe.layers]
    assert edges[0] == (EdgeSpec(source="input", kind="conv", kernel=3, padding=1),)
    assert recipe.sizes == (64, 256, 3)
    assert recipe.float_phase.rate == 5e-3
    assert recipe.integer_phase == dense_recipe(data(), ()).integer_phase
    assert recipe_for(data(), recipe=written(tmp_path, WHOLE), name="x", steps=2).steps == 2


COUNTED = """
hidden = [9]
steps = 1
by_channel = true
cutout = 3
[neuron]
theta = 0.6667
u0 = 0.3333
negative = "off"
limit = 3
decay = "none"
decay_shift = 0
[soft_phase]
epochs = 4
rate = 0.1
optimizer = "sgd"
schedule = "constant"
warm_up = 1
[float_phase]
epochs = 2
rate = 0.1
optimizer = "sgd"
schedule = "linear"
rounded = true
bfloat16 = true
"""


def test_a_recipe_of_counted_spikes(tmp_path: Path):
    recipe = read_recipe(written(tmp_path, COUNTED), data())
    assert (recipe.steps, recipe.by_channel, recipe.cutout) == (1, True, 3)
    assert (recipe.neuron.limit, recipe.neuron.u0) == (3, 0.3333)
    soft = Phase(epochs=4, rate=0.1, optimizer="sgd", schedule="constant", warm_up=1)
    assert recipe.soft_phase == soft
    rounded = replace(soft, epochs=2, schedule="linear", warm_up=0, rounded=True, bfloat16=True)
    assert recipe.float_phase == rounded
    assert recipe.integer_phase == dense_recipe(data(), ()).integer_phase
    with pytest.raises(RecipeError, match="must not move, mirror or cut out examples"):
        read_recipe(written(tmp_path, COUNTED), FEATURES)


def test_a_recipe_like_another(tmp_path: Path):
    path = written(tmp_path, 'like = "digits-conv"\nsteps = 2\n')
    own, plain = read_recipe(path, data()), read_recipe(path)
    expected = replace(find_recipe("digits-conv"), name="mine-conv", steps=2)
    assert plain == expected
    assert own == tailored(expected, data())
    hidden = read_recipe(written(tmp_path, 'dataset = "digits"\nhidden = [9, 8]'))
    assert (hidden.name, hidden.sizes) == ("mine-conv", (64, 9, 8, 10))
    assert read_recipe(written(tmp_path, "hidden = []"), FEATURES).sizes == (5, 3)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("hidden = [", "must be TOML: "),
        ("hiden = [9]", "Field must be one of .*, not 'hiden': did you mean 'hidden'"),
        ("hidden = 9", "hidden must be a list, not 9"),
        ("hidden = [9]\nsteps = '3'", "Time steps must be an integer from 1 to 1024, not '3'"),
        ("hidden = [9]\nname = 'a b'", "Network name must be of ASCII letters"),
        ("steps = 3", "it has no layers: give hidden or layers, or like"),
        ("like = 'digits'", "Recipe must be one of .* not 'digits'"),
        ("hidden = [9]\nneuron = 3", "neuron must be a table, not 3"),
        ("hidden = [9]\n[neuron]\ndecai = 1", "Field of neuron must be .*did you mean 'decay'"),
        ("hidden = [9]\n[neuron]\ndecay = 'x'", "Decay must|decay must"),
        ("hidden = [9]\n[float_phase]\nrate = 1", "epochs"),
        ("hidden = [9]\n[float_phase]\nrate = 1\nepochs = 1.5", "Epochs must be a positive"),
        ("hidden = [9]\nspike_penalty = -1", "Penalty of spikes must be a number of at least 0"),
        ("layers = [3]", "a layer must be a table, not 3"),
        ("layers = [{name = 'a', channels = 3, edges = 4}]", "edges must be a list, not 4"),
        ("layers = [{name = 'a', edges = [{source = 'b'}]}]", "must receive from an earlier layer"),
        ("layers = []", "must have at least one layer"),
        ("hidden = [9]\nbatch = 1", "Batch must be an integer of at least 2"),
    ],
)
def test_recipes_that_are_none(tmp_path: Path, text: str, complaint: str):
    path = written(tmp_path, text)
    with pytest.raises(RecipeError, match=complaint) as error:
        read_recipe(path, data())
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_none(tmp_path: Path):
    with pytest.raises(RecipeError, match="does not exist"):
        read_recipe(tmp_path / "none.toml", data())
    with pytest.raises(RecipeError, match="is not a readable file"):
        read_recipe(tmp_path, data())
    with pytest.raises(RecipeError, match="it names no data set, and none was given"):
        read_recipe(written(tmp_path, "hidden = [3]"))
    with pytest.raises(RecipeError, match=r"Data set must be one of .* not 'mnits': did you mean"):
        read_recipe(written(tmp_path, "hidden = [3]\ndataset = 'mnits'"))
