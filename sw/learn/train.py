"""Training by recipe: float with batch-norm, fold, quantise, then on the integers themselves.

Everything is drawn from the seed and runs on one thread unless more are asked for, because a sum
split over more threads is added in another order: the same seed and number of threads on the same
machine give the same network. The test split is never loaded here.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hw.contract.checks import SternaError
from hw.system.progress import Progress, under_way
from sw.data.augment import Batches
from sw.data.dataset import Source, load_split
from sw.data.split import Split
from sw.learn.checkpoint import Checkpoint, Run, float_network
from sw.learn.fold import fold
from sw.learn.graph import Activity
from sw.learn.integer import IntegerNetwork
from sw.learn.network import FloatNetwork, spike_rate, time_mean_loss
from sw.learn.neuron import TernaryLIF, compile_neurons
from sw.learn.quantize import quantize
from sw.learn.recipes import PHASES, Phase, Recipe

__all__ = [
    "TrainError",
    "accuracy_of",
    "has_bfloat16",
    "reproducible",
    "run_phase",
    "train",
    "train_widths",
]

EVALUATION_BATCH = 1024
MOMENTUM = 0.9
KINDS: dict[str, str] = dict(zip(PHASES, ("soft", "one-step", "float", "integer"), strict=True))
"""Of phases, as progress has them."""

LOG = logging.getLogger(__name__)


class TrainError(SternaError):
    """Training that cannot go on."""


def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16 itself: oneDNN, which computes the sums, says
    so. Elsewhere it would imitate it, ten times as slowly."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@contextmanager
def reproducible(seed: int, threads: int = 1) -> Iterator[None]:
    """So many threads and a seeded global generator, both given back afterwards."""
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def train(
    recipe: Recipe,
    source: Source = None,
    *,
    seed: int = 1,
    float_epochs: int | None = None,
    integer_epochs: int | None = None,
    compiled: bool = False,
    threads: int = 1,
    run: Path | None = None,
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
    threads
        To compute with; with another number it is another network.
    run
        A file to keep the training under way in, from which it goes on where it was broken off
        (`sw.learn.checkpoint.Run`); of no more use once what this returns is saved.
    progress
        Receives one line per epoch: epoch, loss, validation accuracy, spike rate, seconds.

    Raises
    ------
    CheckpointError
        When the file of a run is not of this one.
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
        recipe_run,
        (recipe.weight_bits,),
        source,
        seed=seed,
        compiled=compiled,
        threads=threads,
        run=run,
        progress=progress,
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
    threads: int = 1,
    run: Path | None = None,
    progress: Progress = LOG.info,
) -> Iterator[Checkpoint]:
    """One float phase, and from where it ends an integer phase for each width of the weights.

    Parameters and exceptions are those of `train`; a `run` is of one width. Yields one checkpoint
    per width; the recipe in it has that width.
    """
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise TrainError(f"Seed must be an integer from 0 to 2^32 - 1, not {seed!r}")
    assert run is None or len(weight_bits) == 1
    if type(threads) is not int or threads < 1:
        raise TrainError(f"Threads must be a positive integer, not {threads!r}")
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
    kept = _run(recipe, data, run, seed, compiled, threads)
    if kept.told:
        progress(f"{recipe.name} {kept.told}")
    with reproducible(seed, threads):
        batches = Batches(
            data,
            batch=recipe.batch,
            validation=recipe.validation,
            max_shift=recipe.max_shift,
            mirror=recipe.mirror,
            cutout=recipe.cutout,
            seed=seed,
        )
        learned = float_network(recipe)
        if compiled:
            compile_neurons(learned)
        float_figures: dict[str, Any] = {}
        for name in PHASES[:-1]:
            if getattr(recipe, name) is None or kept.is_past(name):
                continue
            with _steps(learned, name):
                float_figures = run_phase(
                    learned, recipe, name, batches, compiled=compiled, progress=progress, run=kept
                )
        float_figures = kept.enter_integers(learned, float_figures)
        learned.round_weights(recipe.weight_bits if recipe.float_phase.rounded else None)
        order = batches.generator.get_state()
    for bits in weight_bits:
        with reproducible(seed, threads):
            batches.generator.set_state(order)
            integer = quantize(
                fold(learned.eval()),
                name=recipe.name,
                weight_bits=bits,
                pixel_bits=recipe.pixel_bits,
                exact_decay=recipe.exact_decay,
                by_channel=recipe.by_channel,
                encoding=recipe.encoding,
            )
            if compiled:
                compile_neurons(integer)
            figures = run_phase(
                integer,
                recipe,
                "integer_phase",
                batches,
                compiled=compiled,
                progress=progress,
                run=kept,
            )
        yield Checkpoint(
            recipe=replace(recipe, weight_bits=bits),
            seed=seed,
            trained={"float": float_figures, "integer": figures},
            float_state=learned.state_dict(),
            spec=integer.spec,
            integer_state=integer.state_dict(),
            data="" if recipe.encoding is None else data.digest,
        )


def _run(
    recipe: Recipe, data: Split, path: Path | None, seed: int, compiled: bool, threads: int
) -> Run:
    if path is None:
        return Run(None, recipe, {})
    digest = data.digest  # of some hundred million pixels: half a second
    return Run(
        path, recipe, {"seed": seed, "compiled": compiled, "threads": threads, "data": digest}
    )


@contextmanager
def _steps(network: FloatNetwork, phase: str) -> Iterator[None]:
    """The network in the time steps of a phase: in one, its neurons soft or not (`LIFParameters`),
    before its `float_phase`."""
    neurons = [module for module in network.modules() if isinstance(module, TernaryLIF)]
    steps, constants = network.steps, [neuron.constants for neuron in neurons]
    if phase != "float_phase":
        network.steps = 1
        for neuron in neurons:
            neuron.constants = replace(neuron.constants, soft=phase == "soft_phase")
    try:
        yield
    finally:
        network.steps = steps
        for neuron, before in zip(neurons, constants, strict=True):
            neuron.constants = before


def _phase(phase: Phase, epochs: int | None) -> Phase:
    if epochs is None:
        return phase
    return replace(phase, epochs=epochs, warm_up=min(phase.warm_up, max(epochs, 0)))


class _Draws:
    """What is drawn: the order and augmentation of batches, and all else; as `Run.keep` takes
    it."""

    def __init__(self, batches: Batches) -> None:
        self.generator = batches.generator

    def state_dict(self) -> dict[str, Tensor]:
        return {"batches": self.generator.get_state(), "others": torch.get_rng_state()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.generator.set_state(state["batches"])
        torch.set_rng_state(state["others"])


def run_phase(
    network: FloatNetwork | IntegerNetwork,
    recipe: Recipe,
    name: str,
    batches: Batches,
    *,
    compiled: bool,
    progress: Progress,
    run: Run | None = None,
) -> dict[str, Any]:
    """Train for one phase of a recipe, one of `PHASES`; returns the figures of its last epoch."""
    phase: Phase = getattr(recipe, name)
    if isinstance(network, FloatNetwork):
        network.round_weights(recipe.weight_bits if phase.rounded else None)
    network.dropout = recipe.dropout
    # Convolutions are faster so. (torch does not declare that a module's `to` takes this.)
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = _optimizer(network, phase, compiled)
    schedule = _schedule(optimizer, phase, len(batches))
    parts = {
        "network": network,
        "optimizer": optimizer,
        "schedule": schedule,
        "draws": _Draws(batches),
    }
    done, figures = (0, {}) if run is None else run.resume(name, parts)
    in_bfloat16 = phase.bfloat16 and has_bfloat16()
    what = f"{recipe.name}, {KINDS[name]} epochs"
    with under_way(progress, what, total=phase.epochs, done=done) as at:
        for epoch in range(done + 1, phase.epochs + 1):
            started = time.monotonic()

            def share(of_epoch: float, before: int = epoch - 1) -> None:
                at(before + of_epoch)

            loss, rate = _epoch(network, recipe, batches, optimizer, schedule, in_bfloat16, share)
            hits, n = accuracy_of(network, *batches.validation)
            seconds = time.monotonic() - started
            progress(
                f"{recipe.name} {KINDS[name]} epoch {epoch}/{phase.epochs}: loss {loss:.4f}, "
                f"validation {hits}/{n} ({100 * hits / n:.2f} %), spike rate {rate:.3f}, "
                f"{seconds:.1f} s"
            )
            figures = {
                "epochs": epoch,
                "loss": round(loss, 4),
                "validation_hits": hits,
                "validation_n": n,
                "spike_rate": round(rate, 4),
                **({"bfloat16": in_bfloat16} if phase.bfloat16 else {}),
            }
            if run is not None:
                run.keep(name, epoch, figures, parts)
    return figures


def _optimizer(network: nn.Module, phase: Phase, fused: bool) -> torch.optim.Optimizer:
    matrices = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": phase.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if phase.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=phase.rate, momentum=MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups, lr=phase.rate, fused=fused)


def _schedule(
    optimizer: torch.optim.Optimizer, phase: Phase, batches: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The rate of each update, of which there are `batches` an epoch."""
    steps, rise = phase.epochs * batches, phase.warm_up * batches
    if phase.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def share(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 1.0 if phase.schedule == "constant" else (steps - step) / (steps - rise)

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def _epoch(
    network: FloatNetwork | IntegerNetwork,
    recipe: Recipe,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    in_bfloat16: bool,
    at: Callable[[float], None],
) -> tuple[float, float]:
    """One pass over the training images, `at` being told which share of them is done; mean loss and
    mean spike rate."""
    network.train()
    losses, rates = torch.zeros(()), torch.zeros(())
    for n, (pixels, labels) in enumerate(batches):
        at(n / len(batches))
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
            activity = network(pixels)
        logits = activity.logits * network.logit_scale
        if in_bfloat16:
            logits = logits.float()
        steps = len(activity.spike_maps[0]) if activity.spike_maps else recipe.steps
        over = steps if network.reads_mean else 1
        loss = time_mean_loss(logits, labels, over, recipe.smoothing)
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
