"""Recipes for a user's own data: made up for it, read from a file, or another set's, tailored."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from hw.contract.checks import SternaError, require_name
from hw.contract.edge import EdgeSpec, sides_text
from hw.contract.text import none_of
from sw.data.arrays import Dataset
from sw.data.dataset import Published
from sw.learn.neuron import LIFParameters, ReadoutParameters
from sw.learn.plan import LayerPlan, dense_chain, plan_shapes
from sw.learn.recipes import PHASES, Phase, Recipe, RecipeError, find_recipe

__all__ = ["dense_recipe", "read_recipe", "recipe_for", "tailored"]

UPDATES = 3000
"""Of the weights, in each phase."""
EPOCHS = (5, 200)
BATCHES = ((1000, 32), (10_000, 64), (1 << 62, 256))
"""(Examples, fewer of which are trained on in batches of so many)."""
LEAST = 20
"""Training examples; fewer can neither be trained on nor judged."""


def recipe_for(
    data: Dataset | None,
    *,
    hidden: int | Sequence[int] | None = None,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    name: str | None = None,
    steps: int | None = None,
    weight_bits: int | None = None,
    pixel_bits: int | None = None,
) -> Recipe:
    """What to follow: hidden layers (128 neurons, unless there is a recipe), or a recipe, the name
    of a shipped one or a TOML file.

    Parameters
    ----------
    data
        What it is for; None: the data set that the recipe names.
    name
        Of the network.
    steps, weight_bits, pixel_bits
        In place of the recipe's.

    Raises
    ------
    RecipeError
        When there is no such recipe, or it does not suit the data.
    """
    given = {"steps": steps, "weight_bits": weight_bits, "pixel_bits": pixel_bits}
    widths: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if hidden is not None and recipe is not None:
        raise RecipeError("Network must be given as hidden layers or as a recipe, not as both")
    if recipe is None:
        if data is None:
            raise RecipeError("Data must be given for hidden layers without a recipe")
        return dense_recipe(data, 128 if hidden is None else hidden, name=name, **widths)
    if isinstance(recipe, Recipe):
        made = recipe
    elif str(recipe).endswith(".toml"):
        made = read_recipe(Path(recipe), data)
    else:
        made = find_recipe(str(recipe))
        if data is not None and name is None:
            name = f"{data.name}-{made.name}"
    made = replace(made, **widths)
    if name is not None:
        require_name("Network name", name, "-")
        made = replace(made, name=name)
    return made if data is None else tailored(made, data)


def dense_recipe(
    data: Dataset,
    hidden: int | Sequence[int] = 128,
    *,
    name: str | None = None,
    steps: int | None = None,
    weight_bits: int = 4,
    pixel_bits: int = 4,
) -> Recipe:
    """A recipe for fully connected layers: batches and epochs by the number of examples.

    Parameters
    ----------
    data
        What will be trained on.
    hidden
        Neurons of each hidden layer.
    name
        Of the network; otherwise the data set's, and `-dense`.
    steps
        T; by default 4, or as many as a recording has images.
    weight_bits, pixel_bits
        Widths.

    Raises
    ------
    RecipeError
        For what no network can have, and for too few examples.
    """
    sizes = _sizes(hidden)
    n = _count(data)
    if n < LEAST:
        raise RecipeError(f"Data set {data.name} must have {LEAST} training examples, not {n}")
    batch = next(size for least, size in BATCHES if n < least)
    validation = min(5000, n // 10)
    batch = min(batch, max(2, (n - validation) // 4))
    epochs = max(EPOCHS[0], min(EPOCHS[1], UPDATES * batch // n))
    recorded = data.encoding.steps if data.encoding and data.encoding.timed else 4
    plain = Recipe(
        name="dense",
        dataset="digits",
        layers=dense_chain(sizes, data.classes),
        steps=recorded if steps is None else steps,
        weight_bits=weight_bits,
        pixel_bits=pixel_bits,
        float_phase=Phase(epochs=epochs, rate=1e-2, weight_decay=1e-2),
        integer_phase=Phase(epochs=epochs, rate=1e-2),
        batch=batch,
        validation=validation,
        spike_penalty=0.1,
        smoothing=0.05,
    )
    named = name or f"{data.name}-dense"
    require_name("Network name", named, "-")
    return tailored(replace(plain, name=named), data)


def _sizes(hidden: Any) -> tuple[int, ...]:
    """Neurons of each layer."""
    sizes = []
    given = hidden if isinstance(hidden, (list, tuple)) else [hidden]
    for neurons in given:
        whole = isinstance(neurons, (int, np.integer)) and not isinstance(neurons, bool)
        if not whole or not 1 <= neurons <= 65536:
            raise RecipeError(f"Hidden neurons must be an integer from 1 to 65536, not {neurons!r}")
        sizes.append(int(neurons))
    return tuple(sizes)


def tailored(recipe: Recipe, data: Dataset) -> Recipe:
    """A recipe for other data: its readout has a neuron for each class, no more than a tenth of
    the examples are set aside, and no batch is larger than what is left.

    Raises
    ------
    RecipeError
        When the data do not suit it.
    """
    *hidden, readout = recipe.layers
    encoding, n = data.encoding, _count(data)
    validation = max(1, min(recipe.validation, n // 10))
    changed = replace(
        recipe,
        dataset=data.name,
        encoding=encoding,
        layers=(*hidden, replace(readout, channels=data.classes)),
        validation=validation,
        batch=min(recipe.batch, max(2, n - validation)),
    )
    if encoding is not None and encoding.timed and recipe.steps != encoding.steps:
        raise RecipeError(
            f"Recipe {changed.name} must have {encoding.steps} time steps, as the recordings of "
            f"{data.name} have, not {recipe.steps}"
        )
    moved = recipe.max_shift or recipe.mirror or recipe.cutout
    if encoding is not None and encoding.is_flat and moved:
        raise RecipeError(
            f"Recipe {changed.name} must not move, mirror or cut out examples: {data.name} has "
            "features, not pictures"
        )
    shapes = plan_shapes(changed.input_shape, changed.layers)
    for layer, shape in shapes.items():
        if min(shape) < 1:
            raise RecipeError(
                f"Recipe {changed.name} does not fit {data.name}: maps of "
                f"{sides_text(changed.input_shape)} are too small for layer {layer}"
            )
    return changed


def _count(data: Dataset) -> int:
    """Training examples."""
    if isinstance(data, Published):
        return len(data.split("train", 1))
    return len(data.y)


# Files


def read_recipe(path: Path, data: Dataset | None = None) -> Recipe:
    """A recipe from a TOML file; docs/training.md has its form and an example.

    The fields are `Recipe`'s. `like` names a shipped recipe whose fields are taken where there are
    no others; `hidden` stands for `layers` that are fully connected. The network is called after
    the file unless there is a `name`.

    Parameters
    ----------
    data
        What it is for; None: the `dataset` that the file names.

    Raises
    ------
    RecipeError
        One sentence, for what is no such file or no recipe.
    """
    try:
        found = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise RecipeError(f"Recipe {path} does not exist") from None
    except OSError:
        raise RecipeError(f"Recipe {path} is not a readable file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"Recipe {path} must be TOML: {error}") from None
    try:
        return _recipe(found, path.stem, data)
    except (SternaError, TypeError) as error:
        raise RecipeError(f"Recipe {path} cannot be followed: {error}") from None


def _recipe(found: dict[str, Any], name: str, data: Dataset | None) -> Recipe:
    known = {f.name for f in fields(Recipe)} - {"encoding"} | {"like", "hidden"}
    for field in found:
        if field not in known:
            raise RecipeError(none_of("Field", field, sorted(known)))
    like, hidden, dataset = (found.pop(key, None) for key in ("like", "hidden", "dataset"))
    begun = None if like is None else find_recipe(str(like))
    if data is None:
        dataset = dataset or (begun and begun.dataset)
        if dataset is None:
            raise RecipeError("it names no data set, and none was given")
        data = Published(str(dataset))
    changes: dict[str, Any] = {"name": name, **found}
    require_name("Network name", changes["name"], "-")
    for phase in PHASES:
        if phase in found:
            changes[phase] = _built(Phase, phase, found[phase])
    if "neuron" in found:
        changes["neuron"] = _built(LIFParameters, "neuron", found["neuron"])
    if "readout" in found:
        changes["readout"] = _built(ReadoutParameters, "readout", found["readout"])
    if "layers" in found:
        changes["layers"] = _layers(found["layers"], data.classes)
    if hidden is not None:
        changes["layers"] = dense_chain(_sizes(_list(hidden, "hidden")), data.classes)
    if begun is None and "layers" not in changes:
        raise RecipeError("it has no layers: give hidden or layers, or like and a shipped recipe")
    return tailored(replace(begun or dense_recipe(data, ()), **changes), data)


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise RecipeError(f"{what} must be a list, not {value!r}")
    return value


def _built(kind: type, what: str, value: Any) -> Any:
    """A dataclass of a table."""
    known = {f.name for f in fields(kind)}
    if not isinstance(value, Mapping):
        raise RecipeError(f"{what} must be a table, not {value!r}")
    for field in value:
        if field not in known:
            raise RecipeError(none_of(f"Field of {what}", field, sorted(known)))
    return kind(**value)


def _layers(value: Any, classes: int) -> tuple[LayerPlan, ...]:
    """The readout need not say how many classes there are."""
    plans = []
    for entry in _list(value, "layers"):
        if not isinstance(entry, Mapping):
            raise RecipeError(f"a layer must be a table, not {entry!r}")
        edges = tuple(
            _built(EdgeSpec, "an edge", edge) for edge in _list(entry.get("edges", []), "edges")
        )
        last = {"channels": classes} if entry is value[-1] else {}
        plans.append(_built(LayerPlan, "a layer", {**last, **entry, "edges": edges}))
    return tuple(plans)
