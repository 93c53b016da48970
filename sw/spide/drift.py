"""What may befall a sensor: images turned, moved, with dead pixels, or paler than they were.

Drifts act on the bytes, before they become pixels of fewer bits, and each is the same every time.
"""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hw.contract.checks import SternaError
from sw.data.split import Split

__all__ = ["DRIFTS", "TOLD", "DriftError", "drift", "drifted", "quantised"]

DEGREES = 30
MOVED = (2, 3, 28)
"""Rows down and columns right, of images with so many rows; of others in proportion."""

DEAD, GAINS, DRIFT_SEED = 0.3, (0.2, 1.8), 0
CONTRAST = 0.4
TOLD = {
    "turned": f"turned by {DEGREES} degrees",
    "moved": f"moved {MOVED[1]} pixels right and {MOVED[0]} down, of {MOVED[2]}",
    "dead": f"{DEAD:.0%} of the pixels dead, the others with gains from {GAINS[0]} to {GAINS[1]}",
    "contrast": f"contrast {CONTRAST}",
}
"""Drifts by name, and in words."""

DRIFTS = tuple(TOLD)

Bytes = npt.NDArray[np.uint8]
Maps = npt.NDArray[np.float64]


class DriftError(SternaError, ValueError):
    """A drift that there is none of."""


def drift(images: Bytes, kind: str, shape: tuple[int, int, int]) -> Bytes:
    """Drifted images.

    Parameters
    ----------
    images
        Bytes (n, channels * rows * columns).
    kind
        One of `DRIFTS`.
    shape
        Channels, rows, columns.

    Raises
    ------
    DriftError
        For another kind.
    """
    if kind not in DRIFTS:
        raise DriftError(f"Drift must be one of {DRIFTS}, not {kind!r}")
    made = {"turned": _turned, "moved": _moved, "dead": _dead, "contrast": _paler}
    maps = images.reshape(-1, *shape).astype(np.float64)
    found = np.clip(made[kind](maps), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(found.reshape(images.shape))


def drifted(data: Split, kind: str | None, bits: int) -> Split:
    """A data set of bytes after a drift (None: none), its pixels reduced to `bits` bits.

    Raises
    ------
    DriftError
        For another drift, or for recordings.
    """
    if kind is None:
        return quantised(data, bits)
    if data.timed or len(data.shape) != 3 or 1 in data.shape[1:]:
        raise DriftError(f"Data set {data.name} must hold pictures to drift")
    if data.encoding is not None:
        raise DriftError(f"Data set {data.name} must be a published one to drift")
    images = drift(data.images, kind, data.shape)
    note = f"{data.note}, {kind}" if data.note else kind
    return quantised(replace(data, images=images, note=note), bits)


def quantised(data: Split, bits: int) -> Split:
    """A data set of bytes, its pixels reduced to `bits` bits, as `load_split` does it."""
    if data.bits == bits:
        return data
    if data.bits != 8:
        raise DriftError(f"Data set {data.name} must have pixels of 8 bits, not {data.bits}")
    return replace(data, bits=bits, images=data.images >> np.uint8(8 - bits))


def _turned(maps: Maps) -> Maps:
    """Turned around the middle, counter-clockwise, with values between four pixels; zeros come in
    from outside."""
    rows, columns = maps.shape[2:]
    cos, sin = math.cos(math.radians(DEGREES)), math.sin(math.radians(DEGREES))
    down = np.arange(rows)[:, None] - (rows - 1) / 2
    across = np.arange(columns) - (columns - 1) / 2
    y = cos * down + sin * across + (rows - 1) / 2  # where each pixel comes from
    x = cos * across - sin * down + (columns - 1) / 2
    # A frame of zeros, wide enough for every place that is asked for.
    frame = int(max(rows, columns) // 2 + 2)
    padded = np.pad(maps, [(0, 0), (0, 0), (frame, frame), (frame, frame)])
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    below, right = y - top, x - left
    top, left = top + frame, left + frame
    return (
        padded[..., top, left] * ((1 - below) * (1 - right))
        + padded[..., top, left + 1] * ((1 - below) * right)
        + padded[..., top + 1, left] * (below * (1 - right))
        + padded[..., top + 1, left + 1] * (below * right)
    )


def _moved(maps: Maps) -> Maps:
    rows, columns = maps.shape[2:]
    down, right = (max(1, round(step * rows / MOVED[2])) for step in MOVED[:2])
    made = np.zeros_like(maps)
    made[..., down:, right:] = maps[..., : rows - down, : columns - right]
    return made


def _dead(maps: Maps) -> Maps:
    rng = np.random.default_rng(DRIFT_SEED)
    dead, gain = rng.random(maps.shape[2:]) < DEAD, rng.uniform(*GAINS, maps.shape[2:])
    return np.where(dead, 0, maps * gain)


def _paler(maps: Maps) -> Maps:
    return maps * CONTRAST
