"""The network image: one file with the specification and the integers. See docs/image.md.

It is the only thing that crosses from learning to hardware. A file is an ordinary `.npz` archive
(`numpy.load` opens it) whose `header.json` carries the format version, the specification and a
SHA-256 digest over specification and integers.
"""

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.files import write_atomically
from hw.spec import MAX_WIDTH, LayerSpec, NetworkSpec, SpecError, SternaError, signed_bits

__all__ = ["FORMAT_VERSION", "ImageError", "LayerImage", "NetworkImage"]

FORMAT_VERSION = 2
MAGIC = "sterna-network"
MAX_FILE_BYTES = 1 << 30

IntArray = npt.NDArray[np.integer[Any]]


class ImageError(SternaError, ValueError):
    """A network image that cannot be used."""


@dataclass(frozen=True, eq=False)
class LayerImage:
    """A layer with its integers; every hardware width is derived from them here.

    Parameters
    ----------
    spec
        The layer's specification.
    weights
        int8 array (neurons, inputs), |w| <= spec.w_max.
    bias
        int32 array (neurons,), added at every time step.
    coefficient_max
        Largest |coefficient| the layer receives.
    steps
        Time steps per image.
    floor
        Bounds (accumulator, drive) that the hardware must hold at least, for weights that come
        later.
    """

    spec: LayerSpec
    weights: npt.NDArray[np.int8]
    bias: npt.NDArray[np.int32]
    coefficient_max: int
    steps: int
    floor: tuple[int, int] = (0, 0)

    @cached_property
    def accumulator_bound(self) -> int:
        """max over neurons of sum |w| * coefficient_max, or the floor: bounds partial sums too."""
        rows = np.abs(self.weights.astype(np.int64)).sum(axis=1)
        return max(int(rows.max()) * self.coefficient_max, self.floor[0])

    @cached_property
    def drive_bound(self) -> int:
        """max over neurons of sum |w| * coefficient_max + |bias|, or the floor."""
        rows = np.abs(self.weights.astype(np.int64)).sum(axis=1) * self.coefficient_max
        return max(int((rows + np.abs(self.bias.astype(np.int64))).max()), self.floor[1])

    @property
    def accumulator_bits(self) -> int:
        """Width of the running sum of weights, at least one weight wide."""
        return max(signed_bits(self.accumulator_bound), self.spec.weight_bits)

    @property
    def drive_bits(self) -> int:
        """Width of the drive I (sum plus bias)."""
        return signed_bits(self.drive_bound)

    @property
    def bias_rows(self) -> int:
        """Weight rows that hold a bias as wide as the drive, a weight's width in each."""
        return -(-self.drive_bits // self.spec.weight_bits)

    @property
    def membrane_bound(self) -> int:
        """Largest |v| before firing: |decay(u)| <= u_max, plus the drive in potential units."""
        neuron = self.spec.neuron
        assert neuron is not None
        return neuron.u_max + (self.drive_bound << neuron.fraction_bits)

    @property
    def reset_bound(self) -> int:
        """Largest |r| after the reset, before it is saturated."""
        neuron = self.spec.neuron
        assert neuron is not None
        return max(self.membrane_bound, neuron.limit * neuron.step)

    @property
    def logit_bound(self) -> int:
        """Largest |logit|: the drive of every step added up."""
        return self.drive_bound * self.steps

    @property
    def logit_bits(self) -> int:
        """Width of a logit."""
        return signed_bits(self.logit_bound)

    def check_widths(self) -> None:
        """Refuse a layer whose exact sums need more bits than the contract admits."""
        bound = self.logit_bound if self.spec.neuron is None else self.reset_bound
        if signed_bits(bound) > MAX_WIDTH:
            raise ImageError(
                f"Layer {self.spec.name} must keep its sums within {MAX_WIDTH} bits, "
                f"not {signed_bits(bound)}"
            )


def _integers(what: str, array: object, shape: tuple[int, ...], bound: int) -> IntArray:
    values = np.asarray(array)
    if values.dtype.kind not in "iu":
        raise ImageError(f"{what} must be integers, not {values.dtype}")
    if values.shape != shape:
        raise ImageError(f"{what} must have shape {shape}, not {values.shape}")
    if values.size and (int(values.max()) > bound or int(values.min()) < -bound):
        worst = max(int(values.max()), -int(values.min()))
        raise ImageError(f"{what} must lie within +-{bound}, not reach {worst}")
    return values


@dataclass(frozen=True, eq=False)
class NetworkImage:
    """A checked network: specification, integers, and free-form `meta` (not part of the digest).

    `floors` widen the hardware (`LayerImage.floor`, per layer); they are not part of a file or of
    the digest.

    Raises
    ------
    ImageError
        When the arrays do not fit the specification.
    """

    spec: NetworkSpec
    weights: tuple[npt.NDArray[Any], ...]
    biases: tuple[npt.NDArray[Any], ...]
    meta: Mapping[str, Any] = field(default_factory=dict)
    floors: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.spec.layers)
        for what, arrays in (("weight", self.weights), ("bias", self.biases)):
            if len(arrays) != count:
                raise ImageError(f"Image must have {count} {what} arrays, not {len(arrays)}")
        checked_weights, checked_biases = [], []
        for layer, w, b in zip(self.spec.layers, self.weights, self.biases, strict=True):
            shape = (layer.neurons, layer.inputs)
            w = _integers(f"Weights of layer {layer.name}", w, shape, layer.w_max)
            b = _integers(f"Bias of layer {layer.name}", b, shape[:1], 2 ** (MAX_WIDTH - 2))
            checked_weights.append(np.ascontiguousarray(w, dtype=np.int8))
            checked_biases.append(np.ascontiguousarray(b, dtype=np.int32))
        object.__setattr__(self, "weights", tuple(checked_weights))
        object.__setattr__(self, "biases", tuple(checked_biases))
        for layer in self.layers:
            layer.check_widths()

    @cached_property
    def layers(self) -> tuple[LayerImage, ...]:
        """The layers with their derived widths."""
        floors = self.floors or ((0, 0),) * len(self.spec.layers)
        return tuple(
            LayerImage(layer, w, b, self.spec.coefficient_max(n), self.spec.steps, floors[n])
            for n, (layer, w, b) in enumerate(
                zip(self.spec.layers, self.weights, self.biases, strict=True)
            )
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over specification and integers, independent of how they are stored."""
        sha = hashlib.sha256()
        sha.update(json.dumps(self.spec.to_dict(), sort_keys=True).encode())
        for w, b in zip(self.weights, self.biases, strict=True):
            sha.update(w.astype("<i1").tobytes())
            sha.update(b.astype("<i4").tobytes())
        return sha.hexdigest()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the image atomically: the file is there whole or not at all."""
        path = Path(path)
        header = {
            "format": MAGIC,
            "version": FORMAT_VERSION,
            "digest": self.digest,
            "spec": self.spec.to_dict(),
            "meta": dict(self.meta),
        }
        text = json.dumps(header, indent=1, sort_keys=True).encode()
        arrays: dict[str, Any] = {"header.json": np.frombuffer(text, dtype=np.uint8)}
        for n, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            arrays[f"weights{n}"] = w
            arrays[f"bias{n}"] = b
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_atomically(path, buffer.getvalue())
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "NetworkImage":
        """Read and check an image.

        Raises
        ------
        ImageError
            One sentence for a file that is missing, truncated, corrupted, of a newer version or
            inconsistent with its own digest.
        """
        path = Path(path)
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ImageError(f"Network image {path} must be smaller than 1 GiB")
            # From memory: of a damaged file, NumPy would leave the handle open.
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except FileNotFoundError:
            raise ImageError(f"Network image {path} does not exist") from None
        except (IsADirectoryError, PermissionError):
            raise ImageError(f"Network image {path} is not a readable file") from None
        except ImageError:
            raise
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError,
                AttributeError, NotImplementedError, TypeError, RuntimeError, IndexError,
                MemoryError, SyntaxError):  # fmt: skip
            # numpy and zipfile raise any of these for bytes that are not an archive.
            raise ImageError(f"Network image {path} is truncated or not a network image") from None
        return cls._from_arrays(path, arrays)

    @classmethod
    def _from_arrays(cls, path: Path, arrays: Mapping[str, Any]) -> "NetworkImage":
        try:
            header = json.loads(arrays["header.json"].tobytes())
            magic, version = header["format"], header["version"]
            digest, spec_data, meta = header["digest"], header["spec"], header["meta"]
            if magic != MAGIC or type(version) is not int or version < 1:
                raise ValueError
            if not isinstance(meta, dict):
                raise ValueError
        except (KeyError, ValueError, TypeError, RecursionError):
            raise ImageError(f"Network image {path} has no valid header") from None
        if version > FORMAT_VERSION:
            raise ImageError(
                f"Network image {path} has format version {version}, and this Sterna reads up to "
                f"{FORMAT_VERSION}: use a newer Sterna"
            )
        try:
            spec = NetworkSpec.from_dict(spec_data)
            count = len(spec.layers)
            weights = tuple(arrays[f"weights{n}"] for n in range(count))
            biases = tuple(arrays[f"bias{n}"] for n in range(count))
            image = cls(spec, weights, biases, meta)
        except KeyError as error:
            raise ImageError(f"Network image {path} lacks the array {error}") from None
        except (SpecError, ImageError) as error:
            raise ImageError(f"Network image {path} is inconsistent: {error}") from None
        if image.digest != digest:
            raise ImageError(f"Network image {path} is corrupted: its digest does not match")
        return image
