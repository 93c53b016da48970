"""SPIDE as its paper has it, in floating point: what learning in integers is compared with.

Xiao et al., *SPIDE*, arXiv 2302.00232; equilibrium and its implicit gradient: *IDE*, arXiv
2109.14247. Groups of neurons L0 .. L_{N-1}: `inputs` leads into L0, `between[i]` from L_i into
L_{i+1}, `feedback` from L_{N-1} back into L0. A forward stage of T_F steps settles at rates

    a = clip((W a + F x + b) / theta, 0, 1)

and a backward stage of T_B steps, of ternary neurons over the transposed weights, solves

    beta = J^T beta + dL/da,    J = diag(m) W / theta,    m = 1 where 0 < a < 1.

Weights then move by SGD along (m beta) a^T / theta. Nothing here goes through autograd.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from hw.contract.checks import SternaError
from hw.contract.edge import Shape

__all__ = [
    "CLASSES",
    "PIXELS",
    "Backward",
    "Edge",
    "FeedbackNetwork",
    "Forward",
    "ReferenceConfiguration",
    "SpideError",
    "Wiring",
    "as_maps",
    "backward_stage",
    "exact_beta",
    "forward_stage",
    "gradients",
]

CLASSES = 10

PIXELS = {"mnist": (0.1307, 0.3081), "fashion-mnist": (0.2860, 0.3530)}
"""Mean and deviation that pixels of 0 .. 1 are normalised by."""


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
            return as_maps(values.flatten(1) @ self.weight.T, self.target)
        return self._enlarge(values) if self.wiring.kind == "transposed" else self._conv(values)

    def send_back(self, values: Tensor) -> Tensor:
        """W^T v: what the senders receive of the targets' values."""
        if self.wiring.kind == "dense":
            return as_maps(values.flatten(1) @ self.weight, self.source)
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


def as_maps(values: Tensor, shape: Shape) -> Tensor:
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
