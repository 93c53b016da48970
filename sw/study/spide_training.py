"""Training and measuring SPIDE as its paper has it (`sw.study.spide_reference`).

SGD with momentum over both stages, checkpoints after each epoch, agreement of the backward stage
with the exact solution, and the study of docs/learning-reference.md.
"""

import hashlib
import io
import json
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from hw.contract.files import write_atomically, write_json
from hw.contract.text import markdown, none_of
from hw.system.jobs import InTurn, Jobs, RunJobs
from hw.system.process import fills_folder
from hw.system.progress import Progress, silent, under_way
from sw.data.dataset import load_split
from sw.data.published import SHAPES
from sw.data.split import Split
from sw.learn.train import reproducible
from sw.study.spide_reference import (
    CLASSES,
    PIXELS,
    FeedbackNetwork,
    Forward,
    ReferenceConfiguration,
    SpideError,
    Wiring,
    as_maps,
    backward_stage,
    exact_beta,
    forward_stage,
    gradients,
)

__all__ = [
    "CONFIGURATIONS",
    "Figures",
    "accuracy_table",
    "agreement",
    "agreement_table",
    "reference_job",
    "run_reference",
    "study",
    "train_batch",
]

Data = tuple[Split, Split]
"""Training and test images, of eight bits a pixel."""

Run = dict[str, Any]

Sent = tuple[ReferenceConfiguration, bytes]
"""What is run, and its checkpoint, if it was broken off."""

MARKS = (25, 50, 100, 250)
"""T_B at which beta is compared with its exact solution."""


class Judged(NamedTuple):
    """Readout of a chunk: summed loss, correct answers, injected g, gradients of the readout."""

    loss: float
    hits: int
    injected: Tensor
    gradient: list[Tensor]


@torch.no_grad()
def _judge(network: FeedbackNetwork, rates: Tensor, labels: Tensor, factor: float) -> Judged:
    """Softmax cross-entropy of the real readout W_c a + b_c.

    `factor` is S / B: the loss is S times the mean over the batch of B images.
    """
    logits = network.readout.drive(rates).flatten(1)
    error = factor * (logits.softmax(dim=1) - functional.one_hot(labels, CLASSES))
    maps = error.view(len(error), CLASSES, 1, 1)
    return Judged(
        float(functional.cross_entropy(logits, labels, reduction="sum")),
        int((logits.argmax(dim=1) == labels).sum()),
        network.readout.send_back(maps),
        network.readout.gradient(maps, rates),
    )


class Figures:
    """Sums over the images of an epoch."""

    def __init__(self, groups: int) -> None:
        self.images, self.hits, self.loss = 0, 0, 0.0
        self.forward, self.backward = [0.0] * groups, [0.0] * groups

    def add(self, judged: Judged, forward: Forward, activity: Sequence[float]) -> None:
        """Take in a chunk."""
        n = len(forward.rates[0])
        self.images += n
        self.hits += judged.hits
        self.loss += judged.loss
        for i, (rate, share) in enumerate(zip(forward.rates, activity, strict=True)):
            self.forward[i] += n * float(rate.mean())
            self.backward[i] += n * share

    def to_dict(self) -> dict[str, Any]:
        """Means."""
        return {
            "loss": round(self.loss / self.images, 4),
            "train_accuracy": round(100 * self.hits / self.images, 2),
            "forward_rates": [round(rate / self.images, 4) for rate in self.forward],
            "backward_rates": [round(rate / self.images, 4) for rate in self.backward],
        }


@torch.no_grad()
def train_batch(
    network: FeedbackNetwork,
    momenta: Sequence[Sequence[Tensor]],
    images: Tensor,
    labels: Tensor,
    rate: float,
    figures: Figures,
) -> None:
    """Both stages and one step of SGD: v = momentum v + dW + decay W, W -= rate / S v."""
    configuration = network.configuration
    factor = configuration.loss_scale / len(labels)
    total = [[torch.zeros_like(p) for p in edge] for edge in network.state()]
    parts = zip(images.split(configuration.chunk), labels.split(configuration.chunk), strict=True)
    for x, y in parts:
        forward = forward_stage(network, x)
        judged = _judge(network, forward.rates[-1], y, factor)
        marks = (configuration.steps_back,)
        (backward,) = backward_stage(network, forward.masks, judged.injected, marks)
        found = [*gradients(network, x, forward, backward.beta), judged.gradient]
        for edge, more in zip(total, found, strict=True):
            for gradient, part in zip(edge, more, strict=True):
                gradient += part
        figures.add(judged, forward, backward.activity)
    _step(network, momenta, total, rate)


def _step(
    network: FeedbackNetwork,
    momenta: Sequence[Sequence[Tensor]],
    total: Sequence[Sequence[Tensor]],
    rate: float,
) -> None:
    configuration = network.configuration
    for edge, speeds, found in zip(network.edges.values(), momenta, total, strict=True):
        for parameter, speed, gradient in zip(edge.parameters, speeds, found, strict=True):
            speed *= configuration.momentum
            speed += gradient
            speed.add_(parameter, alpha=configuration.weight_decay)
            parameter.sub_(speed, alpha=rate / configuration.loss_scale)
        edge.restrict()


def agreement(
    network: FeedbackNetwork, images: Tensor, labels: Tensor, marks: Sequence[int] = MARKS
) -> list[Run]:
    """beta of the backward stage against the exact solution, from the same rates and masks.

    For each of `marks` (T_B) and each group: cosine, and |beta - exact| / |exact|, over all neurons
    of the batch, where the mask is 1 (`beta` elsewhere changes no weight); share of neurons that
    spike. For each T_B also the cosine of every edge's gradient with the one of the exact solution.
    """
    forward = forward_stage(network, images)
    factor = network.configuration.loss_scale / network.configuration.batch
    injected = _judge(network, forward.rates[-1], labels, factor).injected
    exact = exact_beta(network, forward.masks, injected)
    true = gradients(network, images, forward, exact)
    rows = []
    for backward in backward_stage(network, forward.masks, injected, marks):
        found = gradients(network, images, forward, backward.beta)
        pairs = zip(network.edges, found, true, strict=False)
        groups = []
        for mask, beta, solved in zip(forward.masks, backward.beta, exact, strict=True):
            groups.append(_compare(mask * beta, mask * solved))
        rows.append(
            {
                "steps_back": backward.steps,
                "groups": groups,
                "activity": [round(share, 5) for share in backward.activity],
                "gradients": {name: _compare(f[0], t[0]) for name, f, t in pairs},
            }
        )
    return rows


def _compare(found: Tensor, exact: Tensor) -> dict[str, float]:
    norms = float(found.norm()) * float(exact.norm())
    return {
        "cosine": round(float((found * exact).sum()) / norms, 4) if norms else 0.0,
        "error": round(float((found - exact).norm()) / max(float(exact.norm()), 1e-30), 4),
    }


def _pixels(data: Split, chosen: Tensor | slice) -> tuple[Tensor, Tensor]:
    """Normalised images and labels."""
    mean, deviation = PIXELS[data.name]
    assert len(data.shape) == 3
    images = torch.from_numpy(data.images)[chosen].float().div_(2**data.bits - 1)
    return (
        as_maps(images.sub_(mean).div_(deviation), data.shape),
        torch.from_numpy(data.labels)[chosen],
    )


def _batches(
    configuration: ReferenceConfiguration, data: Split, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Full batches of an epoch, in an order that follows from seed and epoch alone."""
    generator = torch.Generator().manual_seed(1000 * configuration.seed + epoch)
    images = min(configuration.epoch_images or len(data), len(data))
    order = torch.randperm(len(data), generator=generator)[:images]
    for start in range(0, images - configuration.batch + 1, configuration.batch):
        yield _pixels(data, order[start : start + configuration.batch])


@torch.no_grad()
def _test(network: FeedbackNetwork, data: Split) -> dict[str, Any]:
    """Correct answers on the test images, and rates of the forward stage."""
    figures, chunk = Figures(len(network.shapes)), network.configuration.chunk
    for start in range(0, len(data), chunk):
        images, labels = _pixels(data, slice(start, start + chunk))
        forward = forward_stage(network, images)
        judged = _judge(network, forward.rates[-1], labels, 1.0)
        figures.add(judged, forward, [0.0] * len(network.shapes))
    means = figures.to_dict()
    return {"test": [figures.hits, figures.images], "test_rates": means["forward_rates"]}


def run_reference(
    configuration: ReferenceConfiguration,
    data: Data,
    progress: Progress = silent,
    *,
    checkpoint: Path | None = None,
    marks: Sequence[int] = MARKS,
) -> Run:
    """Train, test, and compare beta before and after.

    Parameters
    ----------
    configuration, data
        What and on what; pixels are normalised here.
    progress
        Receives a line per epoch.
    checkpoint
        File written after every epoch: a run that was interrupted goes on from there.
    marks
        T_B at which beta is compared, on the first batch of the first epoch.

    Raises
    ------
    SpideError
        For a checkpoint of another configuration, or a loss that is no longer finite.
    """
    train, test = data
    with reproducible(configuration.seed):
        network = FeedbackNetwork(configuration, SHAPES[configuration.dataset])
        momenta = [[torch.zeros_like(p) for p in edge] for edge in network.state()]
        images, labels = next(_batches(configuration, train, 1))
        before = agreement(network, images, labels, marks)
        history = _restore(network, momenta, checkpoint)
        epochs, done = configuration.epochs, len(history)
        what = f"{configuration.name}, epochs"
        with under_way(progress, what, total=epochs, done=done) as at:
            for epoch in range(done + 1, epochs + 1):
                started, figures = time.monotonic(), Figures(len(network.shapes))
                for images_of, labels_of in _batches(configuration, train, epoch):
                    rate = configuration.rate_of(epoch)
                    train_batch(network, momenta, images_of, labels_of, rate, figures)
                facts = figures.to_dict() | {"seconds": round(time.monotonic() - started, 1)}
                if not math.isfinite(facts["loss"]):
                    raise SpideError(f"Training of {configuration.name} diverged")
                history.append(facts)
                _save(network, momenta, history, checkpoint)
                progress(_line(configuration, epoch, facts))
                at(epoch)
        return {
            "name": configuration.name,
            "configuration": _plain(configuration),
            "images": configuration.epochs * _images_of(configuration, len(train)),
            "history": history,
            **_test(network, test),
            "agreement_before": before,
            "agreement": agreement(network, images, labels, marks),
            "seconds": round(sum(epoch["seconds"] for epoch in history), 1),
            "machine": platform.machine(),
        }


def _images_of(configuration: ReferenceConfiguration, images: int) -> int:
    """Images that an epoch trains on: full batches."""
    chosen = min(configuration.epoch_images or images, images)
    return chosen // configuration.batch * configuration.batch


def _line(configuration: ReferenceConfiguration, epoch: int, facts: dict[str, Any]) -> str:
    return (
        f"{configuration.name} epoch {epoch}/{configuration.epochs}: loss {facts['loss']:.4f}, "
        f"training {facts['train_accuracy']:.2f} %, rates {facts['forward_rates']} forward, "
        f"{facts['backward_rates']} backward, {facts['seconds']:.1f} s"
    )


def _save(
    network: FeedbackNetwork,
    momenta: list[list[Tensor]],
    history: list[dict[str, Any]],
    path: Path | None,
) -> None:
    if path is None:
        return
    buffer = io.BytesIO()
    content = {
        "configuration": _fixed(network.configuration),
        "state": network.state(),
        "momenta": momenta,
        "history": history,
    }
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def _fixed(configuration: ReferenceConfiguration) -> str:
    """All that a run that goes on must share with its beginning: not the number of epochs."""
    return repr(replace(configuration, epochs=1))


def _restore(
    network: FeedbackNetwork, momenta: list[list[Tensor]], path: Path | None
) -> list[dict[str, Any]]:
    """Weights and momenta of a checkpoint, in place; its history."""
    if path is None or not path.is_file():
        return []
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content["configuration"] != _fixed(network.configuration):
        raise SpideError(f"Checkpoint {path} is of another configuration: remove it")
    for mine, its in ((network.state(), content["state"]), (momenta, content["momenta"])):
        for edge, stored in zip(mine, its, strict=True):
            for tensor, value in zip(edge, stored, strict=True):
                tensor.copy_(value)
    for edge in network.edges.values():
        edge.restrict()
    return content["history"][: network.configuration.epochs]


def _dense(size: int) -> Wiring:
    return Wiring(kind="dense", size=size)


def _conv(stride: int) -> Wiring:
    return Wiring(kind="conv", size=64, kernel=5, stride=stride)


CONFIGURATIONS = {
    c.name: c
    for c in (
        ReferenceConfiguration(
            name="mnist-f128",
            dataset="mnist",
            groups=(_dense(128),),
            feedback=_dense(128),
            epochs=8,
            drops=(5, 7),
        ),
        ReferenceConfiguration(
            name="fashion-mnist-f400",
            dataset="fashion-mnist",
            groups=(_dense(400),),
            feedback=_dense(400),
            epochs=6,
            drops=(4, 6),
        ),
        ReferenceConfiguration(
            name="mnist-f64c3u",
            dataset="mnist",
            groups=(_conv(2), _conv(2), _conv(1)),
            feedback=Wiring(kind="transposed", size=64, kernel=3, stride=2),
            chunk=32,
            epochs=10,
            epoch_images=1920,
        ),
    )
}
"""The paper's MNIST network 64C5s-64C5s-64C5 (F64C3u), IDE's F400, and one of the size learned in
integers. Dropout is left out: these runs are short."""


@fills_folder
def study(
    folder: Path,
    data_folder: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
    names: Sequence[str] = tuple(CONFIGURATIONS),
    run: RunJobs | None = None,
) -> list[Run]:
    """Run configurations by name; `runs.json` after each, a checkpoint after each epoch.

    What `runs.json` has already is not run again.

    Parameters
    ----------
    run
        Who runs them, each a job; None: one after the other. What is done elsewhere begins with the
        checkpoint that is here, if there is one, and its own comes back with the result.

    Raises
    ------
    SpideError
        For a name that is not in `CONFIGURATIONS`.
    DataError
        When the data are not to be had.
    """
    for name in names:
        if name not in CONFIGURATIONS:
            raise SpideError(none_of("Reference", name, CONFIGURATIONS))
    run = run or InTurn(progress)
    runs = _finished(folder / "runs.json")

    def keep(name: str, result: Run) -> None:
        nonlocal runs
        runs = [*(other for other in runs if other["name"] != name), result]
        write_json(folder / "runs.json", runs)
        hits, n = result["test"]
        progress(f"{name}: test {hits}/{n} ({100 * hits / n:.2f} %)")

    done = [other["configuration"] for other in runs]
    place = None if data_folder is None else str(data_folder)
    wanted = {
        name: CONFIGURATIONS[name] for name in names if _plain(CONFIGURATIONS[name]) not in done
    }
    sent, sha = dict[str, Sent](), hashlib.sha256()
    for name, configuration in wanted.items():
        path = _checkpoint(folder, name)
        begun = path.read_bytes() if path.is_file() else b""
        sent[name] = configuration, begun
        sha.update(repr(configuration).encode() + hashlib.sha256(begun).digest())
    calls = {name: {"name": name, "data": place} for name in wanted}
    own = dict.fromkeys(wanted, folder)
    run(
        Jobs(
            "references",
            reference_job,
            calls,
            shared={"sent": (sha.hexdigest(), sent)},
            each=keep,
            folders=own,
        )
    )
    return [other for name in names for other in runs if other["name"] == name]


def reference_job(
    name: str, data: str | None, sent: Mapping[str, Sent], folder: Path, progress: Progress = silent
) -> Run:
    """A job: the run of a configuration, whose checkpoint is kept in the folder.

    Parameters
    ----------
    data
        Where the data sets lie (`load_split`).

    Raises
    ------
    SpideError
        As of `run_reference`.
    DataError
        When the data are not to be had.
    """
    configuration, begun = sent[name]
    train, test = (load_split(configuration.dataset, split, 8, data) for split in ("train", "test"))
    checkpoint = _checkpoint(folder, name)
    if begun:
        write_atomically(checkpoint, begun)
    return run_reference(configuration, (train, test), progress, checkpoint=checkpoint)


def _checkpoint(folder: Path, name: str) -> Path:
    return folder / f"{name}.pt"


def _plain(configuration: ReferenceConfiguration) -> dict[str, Any]:
    """As `runs.json` has it: lists for tuples."""
    return json.loads(json.dumps(asdict(configuration)))


def _finished(path: Path) -> list[Run]:
    if not path.is_file():
        return []
    try:
        runs = json.loads(path.read_text())
        return [run for run in runs if run["configuration"] and run["name"]]
    except (ValueError, KeyError, TypeError):
        raise SpideError(f"File {path} holds no runs of this study: remove it") from None


def accuracy_table(runs: Sequence[Run]) -> str:
    """Markdown: a row per run. Rates are spikes per neuron and step, group by group; those of the
    backward stage are the mean of the last epoch, before the mask."""
    head = ["network", "data", "images trained on", "test accuracy", "rates, test images"]
    head += ["rates backward", "seconds"]
    rows = []
    for run in runs:
        hits, n = run["test"]
        rows.append(
            [
                run["name"],
                run["configuration"]["dataset"],
                f"{run['images']:,}",
                f"{100 * hits / n:.2f} %",
                ", ".join(f"{rate:.3f}" for rate in run["test_rates"]),
                ", ".join(f"{rate:.4f}" for rate in run["history"][-1]["backward_rates"]),
                f"{run['seconds']:.0f}",
            ]
        )
    return markdown(head, rows)


def agreement_table(runs: Sequence[Run], when: str = "agreement") -> str:
    """Markdown: cosine and relative error of beta and of the gradients, a column per T_B; `when` is
    `agreement` (after training) or `agreement_before`."""
    rows = []
    for run in runs:
        found = run[when]
        for i in range(len(found[0]["groups"])):
            cells = [_cell(row["groups"][i]) for row in found]
            rows.append([f"{run['name']}, group {i}", *cells])
        for name in found[0]["gradients"]:
            cells = [_cell(row["gradients"][name]) for row in found]
            rows.append([f"{run['name']}, gradient of {name}", *cells])
    steps = [f"T_B = {row['steps_back']}" for row in runs[0][when]]
    return markdown(["cosine, relative error", *steps], rows)


def _cell(pair: dict[str, float]) -> str:
    return f"{pair['cosine']:.3f}, {pair['error']:.3f}"
