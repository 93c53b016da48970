"""Training of a converted network on its integers, which regains what rounding has cost."""

from dataclasses import replace

import torch

from hw.contract.network import Network
from hw.system.progress import Progress, silent
from sw.data.augment import Batches
from sw.data.split import Split
from sw.importers.layers import AffineLayer, activations
from sw.learn.integer import IntegerNetwork
from sw.learn.neuron import compile_neurons
from sw.learn.plan import LayerPlan
from sw.learn.recipes import Phase, Recipe
from sw.learn.train import reproducible, run_phase

__all__ = ["finetune"]

BATCH, RATE, DROPOUT = 256, 5e-3, 0.2
SAMPLE = 2000
"""Images from which the worth of a unit of the integer logits is found."""
VALUES = 1 << 26
"""Most spikes and potentials that are held for it."""


def finetune(
    network: Network,
    layers: list[AffineLayer],
    data: Split,
    *,
    epochs: int,
    seed: int = 1,
    compiled: bool = False,
    progress: Progress = silent,
) -> Network:
    """Quantisation-aware training of a converted network: neurons, thresholds and widths stay.

    Parameters
    ----------
    network, layers
        What was converted, and the ReLU network it came from (`sw.importers.modules.read_relu`).
    data
        Training images; a tenth of them is set aside for the accuracy that is shown.
    epochs, seed
        Passes over the others; of everything random.
    compiled
        Neurons through torch.compile.

    Raises
    ------
    RecipeError
        For a number of epochs that is not positive.
    TrainError
        When the loss is no longer finite.
    """
    spec = network.spec
    phase = Phase(epochs=epochs, rate=RATE)
    batch = min(BATCH, max(2, len(data) // 20))
    recipe = Recipe(
        name=spec.name,
        dataset=data.name,
        encoding=data.encoding,
        layers=tuple(
            LayerPlan(layer.name, layer.map_shape[0], spec.edges(n))
            for n, layer in enumerate(spec.layers)
        ),
        steps=spec.steps,
        float_phase=phase,
        integer_phase=phase,
        batch=batch,
        validation=max(1, len(data) // 10),
        dropout=DROPOUT,
    )
    integer = IntegerNetwork(spec)
    integer.load_network(network)
    integer.integer_layers[-1].scale.fill_(_logit_scale(integer, layers, data))
    with reproducible(seed):
        batches = Batches(data, batch=batch, validation=recipe.validation, max_shift=0, seed=seed)
        if compiled:
            compile_neurons(integer)
        run_phase(integer, recipe, "integer_phase", batches, compiled=compiled, progress=progress)
    return replace(integer.to_network(), meta=network.meta)


@torch.no_grad()
def _logit_scale(integer: IntegerNetwork, layers: list[AffineLayer], data: Split) -> float:
    """What one unit of an integer logit is worth in the ReLU network, all steps together."""
    spec, ours, theirs = integer.spec, [], []
    values = spec.steps * sum(layer.neurons for layer in spec.layers)
    pixels = torch.from_numpy(data.images[:SAMPLE])
    for part in pixels.split(max(1, VALUES // values)):
        ours.append(integer(part).logits.double() / spec.steps)
        theirs.append(activations(layers, part, spec.pixel_max)[-1])
    a, b = torch.cat(ours), torch.cat(theirs)
    return float((a * b).sum() / a.square().sum())
