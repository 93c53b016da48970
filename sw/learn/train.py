"""Training by recipe: float with batch-norm, fold, quantise, then on the integers themselves.

Everything is drawn from the seed and runs on one thread, because a sum split over more threads is
added in another order: the same seed on the same machine gives the same network. The test
split is never loaded here.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from hw.contract.checks import SternaError
from sw.data.augment import Batches
from sw.data.dataset import Source, load_split
from sw.learn.checkpoint import Checkpoint, float_network
from sw.learn.fold import fold
from sw.learn.graph import Activity
from sw.learn.integer import IntegerNetwork
from sw.learn.network import FloatNetwork, spike_rate, time_mean_loss
from sw.learn.neuron import TernaryLIF, compile_neurons
from sw.learn.quantize import quantize
from sw.learn.recipes import Phase, Recipe

__all__ = [
    "Progress",
    "TrainError",
    "accuracy_of",
    "reproducible",
    "run_phase",
    "train",
    "train_widths",
]

Progress = Callable[[str], None]

EVALUATION_BATCH = 1024

LOG = logging.getLogger(__name__)


class TrainError(SternaError):
    """Training that cannot go on."""


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """One thread and a seeded global generator, both given back afterwards."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def train(
    recipe: Recipe,
    source: Source = None,
    *,
    seed: int = 1,
    float_epochs: int | None = None,
    integer_epochs: int | None = None,
    compiled: bool = False,
    progress: Progress = LOG.info,
) -> Checkpoint:
    """Follow a recipe.

    Parameters
    ----------
    recipe
        What to train.
    source
        The data, or where they lie (`load_split`).
    seed
        0 to 2^32 - 1.
    float_epochs, integer_epochs
        In place of the recipe's; the former of the phases of one step too.
    compiled
        Neurons through torch.compile (`sw.learn.neuron.compiled_law`) and AdamW in one kernel:
        faster, with other last bits, so another network of the same seed.
    progress
        Receives one line per epoch: epoch, loss, validation accuracy, spike rate, seconds.

    Raises
    ------
    DataError
        When the data are not to be had.
    RecipeError
        For a number of epochs that is not positive.
    TrainError
        When there are too few images, or the loss is no longer finite.
    """
    float_phase = _phase(recipe.float_phase, float_epochs)
    integer_phase = _phase(recipe.integer_phase, integer_epochs)
    recipe_run = replace(
        recipe,
        soft_phase=recipe.soft_phase and _phase(recipe.soft_phase, float_epochs),
        first_phase=recipe.first_phase and _phase(recipe.first_phase, float_epochs),
        float_phase=float_phase,
        integer_phase=integer_phase,
    )
    started = time.monotonic()
    (checkpoint,) = train_widths(
        recipe_run, (recipe.weight_bits,), source, seed=seed, compiled=compiled, progress=progress
    )
    progress(f"{recipe.name} trained in {time.monotonic() - started:.1f} s")
    return replace(checkpoint, recipe=recipe)


def train_widths(
    recipe: Recipe,
    weight_bits: Sequence[int],
    source: Source = None,
    *,
    seed: int = 1,
    compiled: bool = False,
    progress: Progress = LOG.info,
) -> Iterator[Checkpoint]:
    """One float phase, and from where it ends an integer phase for each width of the weights.

    Parameters and exceptions are those of `train`. Yields one checkpoint per width; the recipe in
    it has that width.
    """
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise TrainError(f"Seed must be an integer from 0 to 2^32 - 1, not {seed!r}")
    data = load_split(
        recipe.dataset,
        "train",
        recipe.pixel_bits,
        source,
        steps=recipe.steps,
        encoding=recipe.encoding,
    )
    least = recipe.validation + recipe.batch
    if len(data) < least:
        raise TrainError(
            f"Data set {data.name} must hold at least {least} training images for "
            f"{recipe.name}, not {len(data)}"
        )
    with reproducible(seed):
        batches = Batches(
            data,
            batch=recipe.batch,
            validation=recipe.validation,
            max_shift=recipe.max_shift,
            mirror=recipe.mirror,
            seed=seed,
        )
        learned = float_network(recipe)
        if compiled:
            compile_neurons(learned)
        for phase, soft in ((recipe.soft_phase, True), (recipe.first_phase, False)):
            if phase is not None:
                with _one_step(learned, soft):
                    run_phase(learned, recipe, phase, batches, compiled, progress)
        float_figures = run_phase(learned, recipe, recipe.float_phase, batches, compiled, progress)
        order = batches.generator.get_state()
    for bits in weight_bits:
        with reproducible(seed):
            batches.generator.set_state(order)
            integer = quantize(
                fold(learned.eval()),
                name=recipe.name,
                weight_bits=bits,
                pixel_bits=recipe.pixel_bits,
                exact_decay=recipe.exact_decay,
                encoding=recipe.encoding,
            )
            if compiled:
                compile_neurons(integer)
            figures = run_phase(integer, recipe, recipe.integer_phase, batches, compiled, progress)
        yield Checkpoint(
            recipe=replace(recipe, weight_bits=bits),
            seed=seed,
            trained={"float": float_figures, "integer": figures},
            float_state=learned.state_dict(),
            spec=integer.spec,
            integer_state=integer.state_dict(),
            data="" if recipe.encoding is None else data.digest,
        )


@contextmanager
def _one_step(network: FloatNetwork, soft: bool) -> Iterator[None]:
    """The network in one time step, its neurons soft or not (`LIFParameters`)."""
    neurons = [module for module in network.modules() if isinstance(module, TernaryLIF)]
    steps, constants = network.steps, [neuron.constants for neuron in neurons]
    network.steps = 1
    for neuron in neurons:
        neuron.constants = replace(neuron.constants, soft=soft)
    try:
        yield
    finally:
        network.steps = steps
        for neuron, before in zip(neurons, constants, strict=True):
            neuron.constants = before


def _phase(phase: Phase, epochs: int | None) -> Phase:
    return phase if epochs is None else replace(phase, epochs=epochs)


def run_phase(
    network: FloatNetwork | IntegerNetwork,
    recipe: Recipe,
    phase: Phase,
    batches: Batches,
    compiled: bool,
    progress: Progress,
) -> dict[str, float | int]:
    """Train for one phase; returns the figures of its last epoch."""
    kind = "integer" if isinstance(network, IntegerNetwork) else "float"
    if not isinstance(network, IntegerNetwork) and network.steps < recipe.steps:
        soft = any(isinstance(m, TernaryLIF) and m.constants.soft for m in network.modules())
        kind = "soft" if soft else "one-step"
    network.dropout = recipe.dropout
    # Convolutions are faster so. (torch does not declare that a module's `to` takes this.)
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = _optimizer(network, phase, compiled)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, phase.epochs * len(batches))
    figures: dict[str, float | int] = {}
    for epoch in range(1, phase.epochs + 1):
        started = time.monotonic()
        loss, rate = _epoch(network, recipe, batches, optimizer, schedule)
        hits, n = accuracy_of(network, *batches.validation)
        seconds = time.monotonic() - started
        progress(
            f"{recipe.name} {kind} epoch {epoch}/{phase.epochs}: loss {loss:.4f}, "
            f"validation {hits}/{n} ({100 * hits / n:.2f} %), spike rate {rate:.3f}, "
            f"{seconds:.1f} s"
        )
        figures = {
            "epochs": epoch,
            "loss": round(loss, 4),
            "validation_hits": hits,
            "validation_n": n,
            "spike_rate": round(rate, 4),
        }
    return figures


def _optimizer(network: nn.Module, phase: Phase, fused: bool) -> torch.optim.Optimizer:
    matrices = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": phase.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=phase.rate,
        fused=fused,
    )


def _epoch(
    network: FloatNetwork | IntegerNetwork,
    recipe: Recipe,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> tuple[float, float]:
    """One pass over the training images; mean loss and mean spike rate."""
    network.train()
    losses, rates = torch.zeros(()), torch.zeros(())
    for pixels, labels in batches:
        activity = network(pixels)
        logits = activity.logits * network.logit_scale
        steps = len(activity.spike_maps[0]) if activity.spike_maps else recipe.steps
        loss = time_mean_loss(logits, labels, steps, recipe.smoothing)
        total = loss
        if recipe.spike_penalty:
            total = loss + recipe.spike_penalty * activity.excitation
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
        losses += loss.detach()
        rates += spike_rate(activity.spike_maps).detach()
    if not bool(torch.isfinite(losses)):
        raise TrainError(f"Training of {recipe.name} diverged: its loss is no longer finite")
    return float(losses) / len(batches), float(rates) / len(batches)


@torch.no_grad()
def accuracy_of(
    network: Callable[[Tensor], Activity], pixels: Tensor, labels: Tensor
) -> tuple[int, int]:
    """Correct answers of a torch network on pixels (n, size), and n; first maximum wins."""
    if isinstance(network, nn.Module):
        network.eval()
    hits = 0
    for start in range(0, len(labels), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        hits += int((network(pixels[part]).logits.argmax(dim=1) == labels[part]).sum())
    return hits, len(labels)
