"""Master weights: what a network that learns carries from one sample to the next, and its file.

The network file holds what the network works with, the upper bits of each master; this file, beside
it, holds the rest, to go on from.
"""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.contract.checks import SternaError, master_limits, require_int
from hw.contract.files import Archive, ArchiveError, ArrayError, write_atomically
from hw.contract.learning import LearnedEdge, learned_edges
from hw.contract.network import Network
from hw.contract.spec import NetworkSpec

__all__ = ["Masters", "MastersError", "before_learning", "masters_path"]

MAGIC = "sterna-masters"
VERSION = 1

Int = npt.NDArray[np.int64]


class MastersError(SternaError, ValueError):
    """Master weights that cannot be used."""


def masters_path(network: str | os.PathLike[str]) -> Path:
    """Where the masters of a network file lie: beside it."""
    path = Path(network)
    return path.with_name(f"{path.stem}.masters.npz")


def before_learning(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What still holds of a network's `meta` once it has learned: not its accuracy."""
    return {key: value for key, value in meta.items() if key != "test"}


@dataclass(eq=False, kw_only=True)
class Masters:
    """The state of learning; `sim.golden.learning.Learner` changes it.

    Parameters
    ----------
    network
        The network that learning began from: its specification, and all that does not learn.
    arrays
        Of each of `learned_edges(spec)`, masters (senders, and after them the bias's; targets).
    random
        The last word of the dither's generator.
    learned
        Samples learned so far.
    """

    network: Network
    arrays: list[Int]
    random: int
    learned: int = 0
    edges: tuple[LearnedEdge, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.edges = learned_edges(self.spec)
        if len(self.arrays) != len(self.edges):
            raise MastersError(
                f"Masters must be {len(self.edges)} arrays, as many as edges that learn, not "
                f"{len(self.arrays)}"
            )
        for n, edge in enumerate(self.edges):
            low, high = self.limits(n)
            array, shape = self.arrays[n], (edge.rows, edge.targets)
            where = f"Masters of layer {self.spec.layers[edge.layer].name}, edge {edge.source},"
            if array.shape != shape or array.dtype.kind not in "iu":
                raise MastersError(f"{where} must be integers of shape {shape}")
            if array.size and (int(array.min()) < low or int(array.max()) > high):
                raise MastersError(f"{where} must lie in {low}..{high}")
            self.arrays[n] = np.ascontiguousarray(array, dtype=np.int64)
        require_int("Random word", self.random, 1, 2**32 - 1)
        require_int("Samples learned", self.learned, 0, 2**32 - 1)

    @property
    def spec(self) -> NetworkSpec:
        """The network's specification; it has a `learning`."""
        return self.network.spec

    def fraction(self, n: int) -> int:
        """s: bits of the masters of learned edge n below its weights."""
        assert self.spec.learning is not None
        return self.spec.learning.master_bits - self.spec.layers[self.edges[n].layer].weight_bits

    def limits(self, n: int) -> tuple[int, int]:
        """Smallest and largest master of learned edge n: those of the weights -q and q."""
        assert self.spec.learning is not None
        bits = self.spec.layers[self.edges[n].layer].weight_bits
        return master_limits(self.spec.learning.master_bits, bits)

    def weights(self, n: int) -> Int:
        """Q: what the network works with over learned edge n, (rows, targets)."""
        return self.arrays[n] >> self.fraction(n)

    @classmethod
    def of(cls, network: Network) -> "Masters":
        """Of a network that has a `learning`: each weight in the middle of its cell; biases stay as
        they are, and what is learned is added to them.

        Raises
        ------
        MastersError
            When the network has no `learning`.
        """
        learning = network.spec.learning
        if learning is None:
            raise MastersError(f"Network {network.spec.name} has no learning in its specification")
        arrays = []
        for edge in learned_edges(network.spec):
            layer = network.layers[edge.layer]
            s = learning.master_bits - layer.spec.weight_bits
            middle = (1 << s) >> 1
            kernel = layer.kernels[edge.number].astype(np.int64).T
            rows = [kernel, np.zeros((edge.rows - edge.senders, edge.targets), dtype=np.int64)]
            arrays.append((np.concatenate(rows) << s) + middle)
        return cls(network=network, arrays=arrays, random=learning.seed)

    def working(self) -> Network:
        """The network as it is now: an ordinary one, with the same specification."""
        weights = [[*layer.kernels] for layer in self.network.layers]
        biases = [np.array(bias, dtype=np.int64) for bias in self.network.biases]
        for n, edge in enumerate(self.edges):
            rows = self.weights(n)
            weights[edge.layer][edge.number] = rows[: edge.senders].T
            if edge.bias:
                biases[edge.layer] += edge.bias * rows[edge.senders] << edge.shift
        given = [
            parts if layer.edges else parts[0]
            for layer, parts in zip(self.spec.layers, weights, strict=True)
        ]
        return replace(self.network, weights=tuple(given), biases=tuple(biases))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the masters, the random word and the count of learned samples."""
        state = f"{self.random} {self.learned} {self.working().digest}"
        sha = hashlib.sha256(state.encode())
        for array in (*self.arrays, *self.network.biases):
            sha.update(array.astype("<i4").tobytes())
        return sha.hexdigest()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file atomically."""
        path = Path(path)
        header = {
            "format": MAGIC,
            "version": VERSION,
            "digest": self.digest,
            "network": self.working().digest,
            "random": self.random,
            "learned": self.learned,
        }
        text = json.dumps(header, indent=1, sort_keys=True).encode()
        arrays: dict[str, Any] = {"header.json": np.frombuffer(text, dtype=np.uint8)}
        for n, array in enumerate(self.arrays):
            arrays[f"masters{n}"] = array.astype(np.int32)
        for n, bias in enumerate(self.network.biases):
            arrays[f"bias{n}"] = bias
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_atomically(path, buffer.getvalue())
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str], network: Network) -> "Masters":
        """Read the masters of a network that was saved beside them.

        Raises
        ------
        MastersError
            One sentence for a file that is missing, truncated, corrupted, of a newer version, or of
            another network.
        """
        path = Path(path)
        try:
            return cls._from_archive(path, Archive(path), network)
        except FileNotFoundError:
            raise MastersError(f"File of masters {path} does not exist") from None
        except ArrayError as error:
            raise MastersError(f"File of masters {path} {error}") from None
        except (OSError, ArchiveError):
            raise MastersError(f"File of masters {path} is truncated or no such file") from None

    @classmethod
    def _from_archive(cls, path: Path, archive: Archive, network: Network) -> "Masters":
        try:
            header = archive.header()
            magic, version = header["format"], header["version"]
            digests = header["digest"], header["network"]
            random, learned = header["random"], header["learned"]
            if magic != MAGIC or type(version) is not int or version < 1:
                raise ValueError
        except (KeyError, ValueError, TypeError, RecursionError):
            raise MastersError(f"File of masters {path} is truncated or no such file") from None
        if version > VERSION:
            raise MastersError(
                f"File of masters {path} has format version {version}, and this Sterna reads up to "
                f"{VERSION}: use a newer Sterna"
            )
        if digests[1] != network.digest or network.spec.learning is None:
            raise MastersError(f"File of masters {path} belongs to another network")
        layers, edges = network.spec.layers, learned_edges(network.spec)
        shapes = {f"masters{n}": (edge.rows, edge.targets) for n, edge in enumerate(edges)}
        shapes |= {f"bias{n}": (layer.map_shape[0],) for n, layer in enumerate(layers)}
        arrays = archive.integers(shapes)
        try:
            masters = cls(
                network=replace(
                    network, biases=tuple(arrays[f"bias{n}"] for n in range(len(layers)))
                ),
                arrays=[arrays[f"masters{n}"] for n in range(len(edges))],
                random=random,
                learned=learned,
            )
        except SternaError as error:
            raise MastersError(f"File of masters {path} is inconsistent: {error}") from None
        if masters.working().digest != network.digest or masters.digest != digests[0]:
            raise MastersError(f"File of masters {path} is corrupted: its weights do not match")
        return masters
