"""Ordinary ReLU networks to convert: how the reference ones of docs/results.md are trained."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from sw.data.split import Split

__all__ = ["train_relu"]

BATCH = 256
RATE, WEIGHT_DECAY = 4e-3, 1e-2
DROPOUT = 0.2


def train_relu(
    data: Split,
    hidden: Sequence[int],
    *,
    seed: int,
    epochs: int,
    progress: Callable[[str], None] = lambda line: None,
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
    for epoch in range(epochs):
        order, total = torch.randperm(len(x)), 0.0
        for part in order[: steps * BATCH].split(BATCH):
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(x[part]), y[part])
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        progress(f"epoch {epoch + 1} of {epochs}: loss {total / steps:.4f}")
    return network.eval()
