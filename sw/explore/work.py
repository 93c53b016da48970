"""What the jobs of an exploration do, each by itself (`sw.spread`)."""

import base64
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gen.board.boards import find_board
from gen.board.build import build_board
from gen.board.planner import plan_board
from gen.explore.points import plan_points
from hw.contract.checks import SternaError
from hw.contract.network import Network
from sim.golden.activity import ActivityMeter
from sim.golden.model import GoldenModel
from sw.data.arrays import Dataset
from sw.data.dataset import load_split
from sw.data.evaluate import accuracy, mean_cycles
from sw.data.split import Split
from sw.explore.data import Carried
from sw.explore.space import Shape
from sw.front.recipes import dense_recipe, tailored
from sw.learn.checkpoint import float_network
from sw.learn.fold import fold
from sw.learn.quantize import quantize
from sw.learn.recipes import Recipe
from sw.learn.train import reproducible, train
from sw.report import energy

__all__ = ["as_bytes", "as_text", "build", "plan_network", "plan_shape", "right_answers", "tune"]

LOOKED_AT = 200
"""Training images by which a network's activity is measured."""


def recipe_of(shape: Shape, data: Dataset) -> Recipe:
    """How a shape is trained."""
    recipe = dense_recipe(
        data, (), name=shape.name, steps=shape.steps, weight_bits=shape.weight_bits
    )
    neuron, phase = replace(recipe.neuron, limit=shape.limit), recipe.float_phase
    if shape.has_maps:  # as those of sw.learn.recipes
        neuron, phase = replace(neuron, window=2.0), replace(phase, rate=5e-3, weight_decay=2e-2)
    layers = shape.plans(data.classes)
    return tailored(replace(recipe, layers=layers, neuron=neuron, float_phase=phase), data)


def as_text(network: Network) -> str:
    """A network's file, as an argument of a job."""
    with tempfile.TemporaryDirectory() as folder:
        path = network.save(Path(folder) / "network.npz")
        return base64.b64encode(path.read_bytes()).decode()


def as_bytes(text: str) -> bytes:
    """The file of `as_text`."""
    return base64.b64decode(text)


def read_network(text: str) -> Network:
    """Inverse of `as_text`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.npz"
        path.write_bytes(as_bytes(text))
        return Network.load(path)


def plan_shape(
    shape: dict[str, Any], board: str, schedules: list[str], data: Dataset
) -> dict[str, Any]:
    """Layouts of a shape that was not trained, with the widths that its integers would have, at
    the activity that the planner assumes."""
    recipe = recipe_of(Shape.from_dict(shape), data)
    with reproducible(1):
        network = float_network(recipe).eval()
        integer = quantize(
            fold(network),
            name=recipe.name,
            weight_bits=recipe.weight_bits,
            pixel_bits=recipe.pixel_bits,
            encoding=recipe.encoding,
        )
    return {"points": plan_points(find_board(board), integer.to_network(), schedules)}


def plan_network(network: str, board: str, schedules: list[str]) -> dict[str, Any]:
    """Layouts of a network, at the activity that it has, and its estimated energy."""
    found = read_network(network)
    points = plan_points(find_board(board), found, schedules)
    return {"points": points, "nanojoules": nanojoules(found)}


def nanojoules(network: Network) -> float | None:
    """Estimated energy of an image, by the network's own synaptic operations; None where the file
    does not have them."""
    sops = network.meta.get("sops")
    if not isinstance(sops, int | float):
        return None
    return round(sum(part.nanojoules for part in energy.parts(network, float(sops))), 2)


def tune(shape: dict[str, Any], epochs: int | None, seed: int, data: Dataset) -> dict[str, Any]:
    """Train a shape: right answers on training images that were held out, the network, and what
    it does for an image. No test image is looked at."""
    recipe = recipe_of(Shape.from_dict(shape), data)
    torch.set_num_threads(1)
    checkpoint = train(
        recipe,
        data,
        seed=seed,
        float_epochs=epochs,
        integer_epochs=epochs,
        progress=lambda line: None,
    )
    network = checkpoint.integer_network().to_network()
    split = load_split(
        recipe.dataset,
        "train",
        recipe.pixel_bits,
        data,
        steps=recipe.steps,
        encoding=recipe.encoding,
    )
    activity = _activity(network, split)
    meta = {"dataset": recipe.dataset, **activity}
    figures = checkpoint.trained["integer"]
    return {
        "hits": figures["validation_hits"],
        "n": figures["validation_n"],
        "network": as_text(replace(network, meta=meta)),
        "activity": activity,
    }


def _activity(network: Network, data: Split) -> dict[str, Any]:
    meter, some = ActivityMeter(network), data.images[:LOOKED_AT]
    meter.add(some, GoldenModel(network).run(some))
    return meter.activity.to_dict()


def right_answers(network: str, data: Carried) -> dict[str, Any]:
    """Right answers on the test images: for the report alone, nothing is chosen by it."""
    found = read_network(network)
    spec = found.spec
    split = data.split("test", spec.input_bits, steps=spec.recorded_steps, encoding=spec.encoding)
    right = accuracy(found, split)
    return {"hits": right.hits, "n": right.n, "data": split.title}


def build(
    network: str, board: str, layout: dict[str, Any], seed: int, data: Carried
) -> dict[str, Any]:
    """Synthesise, place and route a point; what it takes, or why it cannot be. Cycles are by the
    cycle law, of test images."""
    plan = plan_board(find_board(board), read_network(network), **layout)
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = build_board(plan, Path(folder) / "board", seed=seed)
        except SternaError as error:
            return {"refused": str(error)}
    spec = plan.core.network.spec
    split = data.split("test", spec.input_bits, steps=spec.recorded_steps, encoding=spec.encoding)
    images = split.images[: min(stage.law_images for stage in plan.core.stages)]
    cycles = mean_cycles(plan.core, images)
    report["cycles_per_image"] = round(cycles, 1)
    report["images_per_second"] = round(plan.spec.clock_hz / cycles)
    keys = ("used", "planned", "fmax_mhz", "asked_mhz", "seed", "seconds", "bitstream_sha256")
    more = ("cycles_per_image", "images_per_second", "critical_paths")
    return {key: report[key] for key in (*keys, *more) if key in report}
