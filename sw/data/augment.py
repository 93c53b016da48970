"""Batches: shuffled, mirrored, moved by whole pixels, cut out, drawn from one seeded generator."""

from collections.abc import Iterator

import torch
from torch import Tensor

from sw.data.split import Split

__all__ = ["Batches", "cut_out", "mirror_images", "shift_images"]

Sides = tuple[int, int]
"""Rows and columns."""


def mirror_images(pixels: Tensor, chosen: Tensor, sides: Sides) -> Tensor:
    """Mirror those images (n, planes * rows * columns), left to right, that are `chosen` (n,)."""
    mirrored = pixels.view(len(pixels), -1, *sides).flip(3).reshape(pixels.shape)
    return torch.where(chosen[:, None], mirrored, pixels)


def shift_images(pixels: Tensor, shifts: Tensor, sides: Sides) -> Tensor:
    """Move images (n, planes * rows * columns) by `shifts` (n, 2) pixels down and right; zeros move
    in. All planes of an image, channels or steps, move alike."""
    n = len(pixels)
    margin = int(shifts.abs().max()) if n else 0
    padded = torch.nn.functional.pad(pixels.view(n, -1, *sides), [margin] * 4)
    down, right = (torch.arange(side)[None, :] + margin for side in sides)
    rows = (down - shifts[:, :1])[:, None, :, None]
    columns = (right - shifts[:, 1:])[:, None, None, :]
    image = torch.arange(n)[:, None, None, None]
    plane = torch.arange(padded.shape[1])[None, :, None, None]
    return padded[image, plane, rows, columns].reshape(pixels.shape)


def cut_out(pixels: Tensor, centres: Tensor, side: int, sides: Sides) -> Tensor:
    """Blacken a square of `side` pixels a side in each image (n, planes * rows * columns), in all
    its planes, or what of it lies within: around `centres` (n, 2), row and column, which lie in its
    middle or, of an even side, below and right of it."""
    within = [
        (torch.arange(length)[None, :] - centre + side // 2 >= 0)
        & (torch.arange(length)[None, :] - centre + side // 2 < side)
        for length, centre in zip(sides, centres.split(1, dim=1), strict=True)
    ]
    hole = within[0][:, None, :, None] & within[1][:, None, None, :]
    return pixels.view(len(pixels), -1, *sides).masked_fill(hole, 0).reshape(pixels.shape)


class Batches:
    """The training images, the validation images, and the order in which they come.

    Parameters
    ----------
    data
        The training split. `validation` of its images, drawn with the seed, are set aside.
    batch, max_shift, mirror, cutout
        Images per batch; largest move of an image in pixels each way; whether half of the images,
        others in each epoch, are mirrored; side of the square that each image lacks.
    seed
        Of the one generator behind the split, the order and the moves.
    """

    def __init__(
        self,
        data: Split,
        *,
        batch: int,
        validation: int,
        max_shift: int,
        seed: int,
        mirror: bool = False,
        cutout: int = 0,
    ) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        _, rows, columns = data.shape or (1, 1, data.images.shape[1])
        self.sides: Sides = (rows, columns)
        self.batch, self.max_shift, self.mirror, self.cutout = batch, max_shift, mirror, cutout
        order = torch.randperm(len(data), generator=self.generator)
        pixels, labels = torch.from_numpy(data.images)[order], torch.from_numpy(data.labels)[order]
        self.validation = pixels[:validation], labels[:validation]
        self.pixels, self.labels = pixels[validation:], labels[validation:]

    def __len__(self) -> int:
        """Batches per epoch; a last batch that is not full is left out (it differs per epoch)."""
        return len(self.labels) // self.batch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.labels), generator=self.generator)
        for n in range(len(self)):
            chosen = order[n * self.batch : (n + 1) * self.batch]
            yield self._moved(self.pixels[chosen]), self.labels[chosen]

    def _moved(self, pixels: Tensor) -> Tensor:
        if self.mirror:
            coins = torch.randint(0, 2, (len(pixels),), generator=self.generator, dtype=torch.bool)
            pixels = mirror_images(pixels, coins, self.sides)
        if self.max_shift:
            reach = (-self.max_shift, self.max_shift + 1)
            shifts = torch.randint(*reach, (len(pixels), 2), generator=self.generator)
            pixels = shift_images(pixels, shifts, self.sides)
        if self.cutout:
            centres = torch.stack(
                [
                    torch.randint(length, (len(pixels),), generator=self.generator)
                    for length in self.sides
                ],
                dim=1,
            )
            pixels = cut_out(pixels, centres, self.cutout, self.sides)
        return pixels
