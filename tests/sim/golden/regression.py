"""The contract's values on record: hashes of all that the shipped networks compute.

`regression.json` holds, for each network that ships, SHA-256 hashes of every spike, potential and
logit on seeded pictures. `test_regression` compares them, so that a change of the contract is
noticed even where golden model and hardware change together.

`make regression` (`python -m tests.sim.golden.regression --write`) records the present values and
prints what changed; without `--write` it prints alone. A change of an existing entry is a change of
the arithmetic: it belongs into CHANGELOG.md.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.contract.files import write_json
from hw.contract.network import Network
from hw.contract.spec import NetworkSpec
from sim.golden.model import GoldenModel

__all__ = ["RECORD", "differences", "models", "pictures", "read_record", "record_of"]

RECORD = Path(__file__).parent / "regression.json"
MODELS = Path(__file__).parents[3] / "sw" / "data" / "models"
SEED = 11
FEW, MANY = 8, 32
LARGE = 150_000
"""Potentials of one picture from which on a network runs on few pictures."""

Entry = dict[str, Any]


def models() -> dict[str, Path]:
    """The shipped networks by name."""
    return {path.stem: path for path in sorted(MODELS.glob("*.npz"))}


def pictures(spec: NetworkSpec, seed: int, count: int) -> npt.NDArray[np.uint8]:
    """`count` pictures: an empty one, a full one, then noise of every density, full and half as
    bright in turn."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, spec.pixel_max + 1, (count, spec.image_size))
    pixels *= rng.random(pixels.shape) < np.linspace(0, 1, count)[:, None] ** 2
    pixels[3::2] >>= 1
    pixels[0], pixels[1] = 0, spec.pixel_max
    return pixels.astype(np.uint8)


def _hash(array: npt.NDArray[Any], dtype: str) -> str:
    return hashlib.sha256(np.ascontiguousarray(array.astype(dtype)).tobytes()).hexdigest()


def record_of(network: Network, seed: int = SEED, count: int | None = None) -> Entry:
    """The entry of a network, in the order in which values depend on each other."""
    spec = network.spec
    if count is None:
        potentials = spec.steps * sum(layer.neurons for layer in spec.layers)
        count = FEW if potentials > LARGE else MANY
    given = pictures(spec, seed, count)
    trace = GoldenModel(network).run(given)
    firing = zip(spec.layers[:-1], trace.spikes, trace.potentials, strict=True)
    return {
        "seed": seed,
        "count": count,
        "digest": network.digest,
        "pictures": _hash(given, "u1"),
        "layers": {
            layer.name: {"spikes": _hash(c, "<i1"), "potentials": _hash(u, "<i4")}
            for layer, c, u in firing
        },
        "logits": _hash(trace.logits, "<i8"),
        "classes": _hash(trace.classes, "<i8"),
    }


def _flat(entry: Entry) -> dict[str, Any]:
    """Quantities by a name for people; a layer's are `layer hidden, spikes`."""
    values: dict[str, Any] = {}
    for key, value in entry.items():
        if key == "layers":
            for layer, hashes in value.items():
                values |= {f"layer {layer}, {what}": text for what, text in hashes.items()}
        else:
            values[key] = value
    return values


def differences(recorded: Entry, present: Entry) -> list[str]:
    """Names of the quantities that differ, the first cause first."""
    before, now = _flat(recorded), _flat(present)
    return [what for what in {**now, **before} if before.get(what) != now.get(what)]


def read_record() -> dict[str, Entry]:
    """What is on record, by network."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def main(arguments: list[str] | None = None) -> None:
    """Print what differs from the record; with `--write`, renew it."""
    parser = argparse.ArgumentParser(description="What differs from the record.")
    parser.add_argument("--write", action="store_true", help="renew regression.json")
    write = parser.parse_args(arguments).write
    recorded = read_record()
    present = {name: record_of(Network.load(path)) for name, path in models().items()}
    for name in sorted({*recorded, *present}):
        if name not in recorded:
            print(f"{name}: new")
        elif name not in present:
            print(f"{name}: gone")
        elif changed := differences(recorded[name], present[name]):
            print(f"{name}: {len(changed)} changed: {'; '.join(changed)}")
    same = sum(present.get(name) == entry for name, entry in recorded.items())
    print(f"{len(present)} networks, {same} as on record")
    if write:
        write_json(RECORD, present)


if __name__ == "__main__":
    main()
