"""SPIDE as its paper has it, in floating point: what learning in integers is compared with.

Xiao et al., *SPIDE*, arXiv 2302.00232; equilibrium and its implicit gradient: *IDE*, arXiv
2109.14247. Groups of neurons L0 .. L_{N-1}: `inputs` leads into L0, `between[i]` from L_i into
L_{i+1}, `feedback` from L_{N-1} back into L0. A forward stage of T_F steps settles at rates

    a = clip((W a + F x + b) / theta, 0, 1)

and a backward stage of T_B steps, of ternary neurons over the transposed weights, solves

    beta = J^T beta + dL/da,    J = diag(m) W / theta,    m = 1 where 0 < a < 1.

Weights then move by SGD along (m beta) a^T / theta. Nothing here goes through autograd.
"""

import io
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from hw.contract.checks import SternaError
from hw.contract.edge import Shape
from hw.contract.files import write_atomically, write_json
from hw.contract.text import markdown
from sw.data.dataset import SHAPES, Dataset, load_dataset
from sw.learn.train import Progress, reproducible

__all__ = [
    "CONFIGURATIONS",
    "Backward",
    "Edge",
    "FeedbackNetwork",
    "Forward",
    "ReferenceConfiguration",
    "SpideError",
    "Wiring",
    "accuracy_table",
    "agreement",
    "agreement_table",
    "backward_stage",
    "exact_beta",
    "forward_stage",
    "gradients",
    "run_reference",
    "study",
    "train_batch",
]

Data = tuple[Dataset, Dataset]
"""Training and test images, of eight bits a pixel."""

Run = dict[str, Any]

CLASSES = 10

PIXELS = {"mnist": (0.1307, 0.3081), "fashion-mnist": (0.2860, 0.3530)}
"""Mean and deviation that pixels of 0 .. 1 are normalised by."""

MARKS = (25, 50, 100, 250)
"""T_B at which beta is compared with its exact solution."""


class SpideError(SternaError):
    """A configuration that cannot be run, or an equation that iteration does not solve."""


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """Weights between groups.

    Parameters
    ----------
    kind
        `dense`, `conv`, or `transposed`: the adjoint of a convolution, which enlarges the maps.
    size
        Neurons or channels of the target.
    kernel, stride
        Of convolutions; their padding is half a kernel. Of a transposed one, the stride enlarges.
    """

    kind: str
    size: int
    kernel: int = 1
    stride: int = 1

    def target(self, source: Shape) -> Shape:
        """Shape of the target's maps."""
        if self.kind == "dense":
            return (self.size, 1, 1)
        _, rows, columns = source
        if self.kind == "transposed":
            return (self.size, rows * self.stride, columns * self.stride)
        return (self.size, -(-rows // self.stride), -(-columns // self.stride))


@dataclass(frozen=True, kw_only=True)
class ReferenceConfiguration:
    """A network and how it is trained; the defaults are those of the released MNIST scripts.

    Parameters
    ----------
    name, dataset
        Of the run, and one of `PIXELS`.
    groups, feedback
        Wiring into each group, and from the last group into the first.
    steps, steps_back
        T_F and T_B.
    threshold, threshold_back
        V of both stages. Both fire at V and subtract 2V ("modified reset").
    batch, chunk
        Images of an update; images that are computed at once (their gradients are added).
    rate, drops, drop
        Learning rate; epochs (from 1) before which it is multiplied by `drop`.
    momentum, weight_decay
        Of SGD.
    loss_scale
        S: the loss is multiplied by it and the learning rate divided, so weight decay is S times
        weaker.
    norm_limit
        Largest Frobenius norm of the feedback's weights.
    feedback_gain
        Factor on the initial feedback weights.
    epochs, epoch_images
        Epochs, and how many images, drawn anew, are one; None: all.
    seed
        Of weights and order.
    """

    name: str
    dataset: str
    groups: tuple[Wiring, ...]
    feedback: Wiring | None = None
    steps: int = 30
    steps_back: int = 100
    threshold: float = 1.0
    threshold_back: float = 0.5
    batch: int = 128
    chunk: int = 128
    rate: float = 0.05
    drops: tuple[int, ...] = ()
    drop: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    loss_scale: float = 100.0
    norm_limit: float = 2.0
    feedback_gain: float = 0.1
    epochs: int = 1
    epoch_images: int | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if self.dataset not in PIXELS:
            raise SpideError(f"Data set must be one of {(*PIXELS,)}, not {self.dataset!r}")
        for what, value in (
            ("Steps of the forward stage", self.steps),
            ("Steps of the backward stage", self.steps_back),
            ("Batch", self.batch),
            ("Chunk", self.chunk),
            ("Epochs", self.epochs),
        ):
            if not isinstance(value, int) or value < 1:
                raise SpideError(f"{what} must be a positive integer, not {value!r}")

    def rate_of(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 1."""
        return self.rate * self.drop ** sum(epoch >= first for first in self.drops)


class Edge:
    """Weights, and a bias unless they are feedback.

    Parameters
    ----------
    wiring, source
        What it is; shape of the sender's maps.
    bias
        There is one per neuron or channel of the target.
    gain
        Factor on the initial weights, which are Kaiming's: normal, of variance 2 / fan-in.
    limit
        Largest Frobenius norm. What is stored may be larger: weights are used divided by the
        excess, and gradients pass this quotient as if the norm were a constant.
    """

    def __init__(
        self,
        wiring: Wiring,
        source: Shape,
        *,
        bias: bool = True,
        gain: float = 1.0,
        limit: float = math.inf,
    ) -> None:
        self.wiring, self.source, self.target = wiring, source, wiring.target(source)
        self.limit = limit
        senders, taps = source[0], wiring.kernel**2
        if wiring.kind == "dense":
            shape, fan_in = (wiring.size, math.prod(source)), math.prod(source)
        elif wiring.kind == "conv":
            shape, fan_in = (wiring.size, senders, wiring.kernel, wiring.kernel), senders * taps
        else:
            # A target of an enlarging map hears a stride^2-th of the taps.
            shape = (senders, wiring.size, wiring.kernel, wiring.kernel)
            fan_in = senders * taps // wiring.stride**2
        self.stored = gain * math.sqrt(2 / fan_in) * torch.randn(shape)
        self.bias = torch.zeros(wiring.size) if bias else None
        self.restrict()

    @property
    def parameters(self) -> list[Tensor]:
        """Stored weights, and the bias."""
        return [self.stored] if self.bias is None else [self.stored, self.bias]

    def restrict(self) -> None:
        """Derive the weights in use from the stored ones."""
        self.quotient = min(1.0, self.limit / max(float(self.stored.norm()), 1e-12))
        self.weight = self.stored if self.quotient == 1.0 else self.stored * self.quotient
        if self.weight.ndim == 4:
            self.weight = self.weight.contiguous(memory_format=torch.channels_last)

    def send(self, values: Tensor) -> Tensor:
        """W v: what the target receives of the senders' values, without the bias."""
        if self.wiring.kind == "dense":
            return _maps(values.flatten(1) @ self.weight.T, self.target)
        return self._enlarge(values) if self.wiring.kind == "transposed" else self._conv(values)

    def send_back(self, values: Tensor) -> Tensor:
        """W^T v: what the senders receive of the targets' values."""
        if self.wiring.kind == "dense":
            return _maps(values.flatten(1) @ self.weight, self.source)
        return self._conv(values) if self.wiring.kind == "transposed" else self._enlarge(values)

    def drive(self, values: Tensor) -> Tensor:
        """W v + b."""
        received = self.send(values)
        return received if self.bias is None else received + self.bias.view(1, -1, 1, 1)

    def gradient(self, targets: Tensor, senders: Tensor) -> list[Tensor]:
        """Sum over the batch of targets times senders, of stored weights and bias."""
        if self.wiring.kind == "dense":
            product = targets.flatten(1).T @ senders.flatten(1)
        else:
            small, large = targets, senders
            if self.wiring.kind == "transposed":
                small, large = senders, targets
            product = conv2d_weight(
                large, list(self.stored.shape), small, self.wiring.stride, self.wiring.kernel // 2
            )
        weights = self.quotient * product
        return [weights] if self.bias is None else [weights, targets.sum(dim=(0, 2, 3))]

    def _conv(self, values: Tensor) -> Tensor:
        return functional.conv2d(
            values, self.weight, stride=self.wiring.stride, padding=self.wiring.kernel // 2
        )

    def _enlarge(self, values: Tensor) -> Tensor:
        """The adjoint of `_conv`."""
        kernel, stride = self.wiring.kernel, self.wiring.stride
        large = self.target if self.wiring.kind == "transposed" else self.source
        rest = large[1] - ((values.shape[2] - 1) * stride + kernel - 2 * (kernel // 2))
        return functional.conv_transpose2d(
            values, self.weight, stride=stride, padding=kernel // 2, output_padding=rest
        )


def _maps(values: Tensor, shape: Shape) -> Tensor:
    return values.view(len(values), *shape)


class FeedbackNetwork:
    """Edges of a configuration, with weights drawn from torch's global generator."""

    def __init__(self, configuration: ReferenceConfiguration, shape: Shape) -> None:
        self.configuration = configuration
        edges, source = [], shape
        for wiring in configuration.groups:
            edges.append(Edge(wiring, source))
            source = edges[-1].target
        self.inputs, self.between = edges[0], edges[1:]
        self.feedback = None
        if configuration.feedback is not None:
            self.feedback = Edge(
                configuration.feedback,
                source,
                bias=False,
                gain=configuration.feedback_gain,
                limit=configuration.norm_limit,
            )
            if self.feedback.target != self.inputs.target:
                raise SpideError(
                    f"Feedback must lead into maps of {self.inputs.target}, "
                    f"not {self.feedback.target}"
                )
        self.readout = Edge(Wiring(kind="dense", size=CLASSES), source)

    @property
    def shapes(self) -> list[Shape]:
        """Of the groups' maps."""
        return [edge.target for edge in (self.inputs, *self.between)]

    @property
    def edges(self) -> dict[str, Edge]:
        """By name, in the order of `gradients`."""
        named = {"inputs": self.inputs}
        named |= {f"between{i}": edge for i, edge in enumerate(self.between)}
        if self.feedback is not None:
            named["feedback"] = self.feedback
        return named | {"readout": self.readout}

    @property
    def theta(self) -> float:
        """What a forward spike subtracts."""
        return 2 * self.configuration.threshold

    @property
    def theta_back(self) -> float:
        """What a backward spike subtracts, and its amplitude."""
        return 2 * self.configuration.threshold_back

    def state(self) -> list[list[Tensor]]:
        """All parameters, edge by edge."""
        return [edge.parameters for edge in self.edges.values()]

    def to(self, dtype: torch.dtype) -> "FeedbackNetwork":
        """Change the precision, in place."""
        for edge in self.edges.values():
            edge.stored = edge.stored.to(dtype)
            edge.bias = edge.bias if edge.bias is None else edge.bias.to(dtype)
            edge.restrict()
        return self


class Forward(NamedTuple):
    """Rates of the forward stage and masks of the clip, group by group."""

    rates: list[Tensor]
    masks: list[Tensor]


class Backward(NamedTuple):
    """Rates of the backward stage, group by group.

    `beta` is the mean of the signed spikes; `activity` the mean number of spikes, before the mask.
    """

    steps: int
    beta: list[Tensor]
    activity: list[float]


@torch.no_grad()
def forward_stage(network: FeedbackNetwork, images: Tensor, steps: int | None = None) -> Forward:
    """The forward stage (SPIDE, "modified reset"): for t = 1 .. T_F, groups in order,

        u_0 += F x + b + W_fb s_{N-1}[t-1],    u_i += W_i s_{i-1}[t] + b_i
        s_i = 1 where u_i >= V,                u_i -= 2V s_i

    from u = 0; a_i is the mean of s_i. The mask is taken from the count: 0 < count < T_F.
    """
    steps = steps or network.configuration.steps
    threshold, theta = network.configuration.threshold, network.theta
    constant = network.inputs.drive(images)
    potentials = [_zeros(constant, shape) for shape in network.shapes]
    counts = [_zeros(constant, shape) for shape in network.shapes]
    spikes: Tensor | None = None
    for _ in range(steps):
        for i, (u, count) in enumerate(zip(potentials, counts, strict=True)):
            if i:
                assert spikes is not None
                u += network.between[i - 1].drive(spikes)
            else:
                u += constant
                if spikes is not None and network.feedback is not None:
                    u += network.feedback.send(spikes)
            spikes = (u >= threshold).to(u.dtype)
            u.sub_(spikes, alpha=theta)
            count += spikes
    masks = [((c > 0) & (c < steps)).to(c.dtype) for c in counts]
    return Forward([count / steps for count in counts], masks)


def _zeros(like: Tensor, shape: Shape) -> Tensor:
    return like.new_zeros((len(like), *shape)).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def backward_stage(
    network: FeedbackNetwork, masks: Sequence[Tensor], injected: Tensor, marks: Sequence[int]
) -> list[Backward]:
    """The backward stage (SPIDE, "ternary spiking neuron couples"): for t = 1 .. T_B, groups in
    reverse order, theta that of the forward stage and V, theta_b those of this one,

        u_{N-1} += g + W_fb^T (m_0 s_0[t-1]) / theta,  u_i += W_{i+1}^T (m_{i+1} s_{i+1}[t]) / theta
        s = theta_b (1[u >= V] - 1[u <= -V]),          u -= s

    from u = 0; beta is the mean of s. A couple, two neurons of opposite inputs, is one signed one.

    Returns the rates after as many steps as each of `marks` says, in rising order.
    """
    threshold, theta = network.configuration.threshold_back, network.theta_back
    potentials = [torch.zeros_like(mask) for mask in masks]
    sums = [torch.zeros_like(mask) for mask in masks]
    fired, found = [0.0] * len(masks), []
    first: Tensor | None = None
    for t in range(1, max(marks) + 1):
        sent = first
        for i in reversed(range(len(masks))):
            u = potentials[i]
            if i == len(masks) - 1:
                u += injected
                if sent is not None and network.feedback is not None:
                    u.add_(network.feedback.send_back(sent), alpha=1 / network.theta)
            else:
                assert sent is not None
                u.add_(network.between[i].send_back(sent), alpha=1 / network.theta)
            spikes = (u >= threshold).to(u.dtype) - (u <= -threshold).to(u.dtype)
            if theta != 1:
                spikes *= theta
            u -= spikes
            sums[i] += spikes
            fired[i] += int(torch.count_nonzero(spikes))
            sent = spikes * masks[i]
        first = sent
        if t in marks:
            shares = [n / (t * s.numel()) for n, s in zip(fired, sums, strict=True)]
            found.append(Backward(t, [s / t for s in sums], shares))
    return found


@torch.no_grad()
def exact_beta(
    network: FeedbackNetwork,
    masks: Sequence[Tensor],
    injected: Tensor,
    *,
    tolerance: float = 1e-6,
    most: int = 2000,
) -> list[Tensor]:
    """beta = J^T beta + g to the precision of the numbers (IDE, implicit differentiation).

    Group by group, beta_{N-1} = g + W_fb^T (m_0 beta_0) / theta and beta_i = W_{i+1}^T (m_{i+1}
    beta_{i+1}) / theta: one round of it is repeated until nothing changes by more than `tolerance`
    of the largest value.

    Raises
    ------
    SpideError
        When it still changes after `most` rounds: the loop does not contract.
    """
    last: Tensor = injected
    for _ in range(most):
        betas = [last]
        for edge, mask in zip(reversed(network.between), reversed(masks[1:]), strict=True):
            betas.insert(0, edge.send_back(mask * betas[0]) / network.theta)
        if network.feedback is None:
            return betas
        after = injected + network.feedback.send_back(masks[0] * betas[0]) / network.theta
        change, last = float((after - last).abs().max()), after
        if change <= tolerance * float(after.abs().max()):
            betas[-1] = after
            return betas
    raise SpideError(f"Backward equation must converge within {most} rounds")


@torch.no_grad()
def gradients(
    network: FeedbackNetwork, images: Tensor, forward: Forward, beta: Sequence[Tensor]
) -> list[list[Tensor]]:
    """Gradients of all edges but the readout, from the rates of both stages (SPIDE, local update):

    dW_i = (m_i beta_i) a_{i-1}^T / theta,   dF = (m_0 beta_0) x^T / theta,
    dW_fb = (m_0 beta_0) a_{N-1}^T / theta
    """
    targets = [m * b / network.theta for m, b in zip(forward.masks, beta, strict=True)]
    found = [network.inputs.gradient(targets[0], images)]
    for i, edge in enumerate(network.between):
        found.append(edge.gradient(targets[i + 1], forward.rates[i]))
    if network.feedback is not None:
        found.append(network.feedback.gradient(targets[0], forward.rates[-1]))
    return found


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


def _pixels(data: Dataset, chosen: Tensor | slice) -> tuple[Tensor, Tensor]:
    """Normalised images and labels."""
    mean, deviation = PIXELS[data.name]
    images = torch.from_numpy(data.images)[chosen].float().div_(2**data.bits - 1)
    return (
        _maps(images.sub_(mean).div_(deviation), SHAPES[data.name]),
        torch.from_numpy(data.labels)[chosen],
    )


def _batches(
    configuration: ReferenceConfiguration, data: Dataset, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Full batches of an epoch, in an order that follows from seed and epoch alone."""
    generator = torch.Generator().manual_seed(1000 * configuration.seed + epoch)
    images = min(configuration.epoch_images or len(data), len(data))
    order = torch.randperm(len(data), generator=generator)[:images]
    for start in range(0, images - configuration.batch + 1, configuration.batch):
        yield _pixels(data, order[start : start + configuration.batch])


@torch.no_grad()
def _test(network: FeedbackNetwork, data: Dataset) -> dict[str, Any]:
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
    progress: Progress = lambda line: None,
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
        for epoch in range(len(history) + 1, configuration.epochs + 1):
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


def study(
    out: Path,
    data_folder: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] = lambda line: None,
    names: Sequence[str] = tuple(CONFIGURATIONS),
) -> list[Run]:
    """Run configurations by name; `runs.json` in `out` after each, a checkpoint after each epoch.

    What `runs.json` has already is not run again.

    Raises
    ------
    SpideError
        For a name that is not in `CONFIGURATIONS`.
    DataError
        When the data are not to be had.
    """
    for name in names:
        if name not in CONFIGURATIONS:
            raise SpideError(f"Reference must be one of {(*CONFIGURATIONS,)}, not {name!r}")
    runs = _finished(out / "runs.json")
    for name in names:
        configuration = CONFIGURATIONS[name]
        if any(run["configuration"] == _plain(configuration) for run in runs):
            continue
        train, test = (
            load_dataset(configuration.dataset, split, 8, data_folder)
            for split in ("train", "test")
        )
        checkpoint = out / f"{name}.pt"
        run = run_reference(configuration, (train, test), progress, checkpoint=checkpoint)
        runs = [*(other for other in runs if other["name"] != name), run]
        write_json(out / "runs.json", runs)
        hits, n = run["test"]
        progress(f"{name}: test {hits}/{n} ({100 * hits / n:.2f} %)")
    return [run for name in names for run in runs if run["name"] == name]


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
