"""Ordinary ReLU networks to convert: how the reference ones of docs/results.md are trained."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.system.progress import Progress, silent, under_way
from sw.data.augment import Batches
from sw.data.split import Split

__all__ = ["Residual", "maps_network", "train_maps", "train_relu"]

BATCH = 256
RATE, WEIGHT_DECAY = 4e-3, 1e-2
DROPOUT = 0.2

MAPS_BATCH, MAPS_RATE, MAPS_WEIGHT_DECAY = 128, 0.1, 5e-4
HELD_OUT = 25
"""One in so many training images is set aside, for the accuracy that is shown."""


def train_relu(
    data: Split, hidden: Sequence[int], *, seed: int, epochs: int, progress: Progress = silent
) -> nn.Sequential:
    """Linear, BatchNorm1d, ReLU and Dropout per hidden layer, then a Linear; AdamW, one cycle.

    Parameters
    ----------
    data
        Training images; pixels are divided by the largest one there can be.
    hidden
        Neurons of each hidden layer.
    """
    torch.manual_seed(seed)
    x = torch.from_numpy(data.images).float() / (2**data.bits - 1)
    y = torch.from_numpy(data.labels)
    modules: list[nn.Module] = []
    for inputs, neurons in pairwise([x.shape[1], *hidden]):
        modules += [nn.Linear(inputs, neurons), nn.BatchNorm1d(neurons), nn.ReLU()]
        modules.append(nn.Dropout(DROPOUT))
    network = nn.Sequential(*modules, nn.Linear(hidden[-1], int(y.max()) + 1))
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    steps = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=epochs * steps)
    with under_way(progress, "training the ReLU network, epochs", total=epochs) as at:
        for epoch in range(epochs):
            order, total = torch.randperm(len(x)), 0.0
            for n, part in enumerate(order[: steps * BATCH].split(BATCH)):
                at(epoch + n / steps)
                optimizer.zero_grad()
                loss = functional.cross_entropy(network(x[part]), y[part])
                loss.backward()
                optimizer.step()
                schedule.step()
                total += float(loss.detach())
            progress(f"epoch {epoch + 1} of {epochs}: loss {total / steps:.4f}")
    return network.eval()


# Convolutions


class Residual(nn.Module):
    """A residual sum: what a body makes of its input, plus the input or what a shortcut makes of
    it, through a ReLU."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.shortcut(x))


def _conv(inputs: int, channels: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, channels, kernel, stride, kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(channels)]


def _block(inputs: int, channels: int) -> list[nn.Module]:
    """Half the size, then two convolutions with a shortcut around them."""
    inner, outer = _conv(channels, channels), _conv(channels, channels)
    body = nn.Sequential(*inner, nn.ReLU(), *outer)
    return [*_conv(inputs, channels, stride=2), nn.ReLU(), Residual(body)]


def maps_network(shape: Sequence[int], classes: int) -> nn.Sequential:
    """A convolutional network for maps (channels, rows, columns): of grey images three
    convolutions with an average pooling between, of coloured ones the layers of the recipe
    `cifar10-resnet`, with two residual sums."""
    channels, rows, columns = shape
    if channels == 1:
        side = -(-rows // 2) // 2, -(-columns // 2) // 2
        return nn.Sequential(
            *_conv(1, 16, kernel=5, stride=2),
            nn.ReLU(),
            nn.AvgPool2d(2),
            *_conv(16, 32),
            nn.ReLU(),
            *_conv(32, 32),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * side[0] * side[1], classes),
        )
    return nn.Sequential(
        *_conv(channels, 16),
        nn.ReLU(),
        *_block(16, 32),
        *_block(32, 64),
        *_conv(64, 128, stride=2),
        nn.ReLU(),
        *_conv(128, 128),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, classes),
    )


def train_maps(
    data: Split, *, seed: int, epochs: int, progress: Progress = silent
) -> nn.Sequential:
    """`maps_network` for a data set of images; SGD with momentum, one cycle, images moved by up to
    two pixels (of 28x28, a fourteenth of the side each way) and coloured ones mirrored.

    Parameters
    ----------
    data
        Training images; one in `HELD_OUT` is not trained on. Pixels are divided by the largest one
        there can be.
    """
    torch.manual_seed(seed)
    network = maps_network(data.shape, int(data.labels.max()) + 1)
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    batches = Batches(
        data,
        batch=MAPS_BATCH,
        validation=len(data) // HELD_OUT,
        max_shift=data.shape[1] // 14,
        mirror=data.shape[0] > 1,
        seed=seed,
    )
    white = 2**data.bits - 1

    def maps(pixels: Tensor) -> Tensor:
        x = pixels.float().unflatten(1, data.shape) / white
        return x.contiguous(memory_format=torch.channels_last)

    optimizer = torch.optim.SGD(
        network.parameters(), MAPS_RATE, momentum=0.9, nesterov=True, weight_decay=MAPS_WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, MAPS_RATE, total_steps=epochs * len(batches)
    )
    with under_way(progress, "training the ReLU network, epochs", total=epochs) as at:
        for epoch in range(epochs):
            network.train()
            total = 0.0
            for n, (pixels, labels) in enumerate(batches):
                at(epoch + n / len(batches))
                optimizer.zero_grad()
                loss = functional.cross_entropy(network(maps(pixels)), labels)
                loss.backward()
                optimizer.step()
                schedule.step()
                total += float(loss.detach())
            network.eval()
            with torch.no_grad():
                held, labels = batches.validation
                answers = torch.cat([network(maps(part)).argmax(1) for part in held.split(500)])
            share = 100 * float((answers == labels).float().mean())
            progress(
                f"epoch {epoch + 1} of {epochs}: loss {total / len(batches):.4f}, "
                f"{share:.2f} % of {len(labels):,} held-out images"
            )
    return network.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
