"""ROM images: the weights as `$readmemh` text, and back. docs/image.md has the layout."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gen.core.plan import CorePlan, PlanError
from hw.layer.geometry import LayerGeometry
from hw.layer.rows import pack_rows, unpack_rows

__all__ = ["pack_bits", "pack_words", "read_rom_images", "rom_images", "rom_text"]


def rom_images(plan: CorePlan) -> dict[str, str]:
    """Text of every ROM image by its file name; equal bytes for an equal network and layout.

    One line per address, as many hexadecimal digits as the row has, preceded by a comment with
    what it is and the digest of the network.
    """
    files = {}
    for n, (layer, geometry) in enumerate(zip(plan.network.layers, plan.geometries, strict=True)):
        bits = layer.spec.weight_bits
        for b, bank in enumerate(pack_rows(layer.weights, layer.bias, geometry, bits)):
            for part, rows in enumerate(bank):
                lanes = geometry.slices[part]
                head = (
                    f"{plan.network.spec.name} layer {n} ({layer.spec.name}), bank {b}, "
                    f"lanes {lanes.start}..{lanes.stop - 1}: {len(rows)} rows of "
                    f"{len(lanes)} x {bits} bit; network {plan.network.digest[:16]}"
                )
                files[plan.rom_file(n, b, part)] = rom_text(head, rows, len(lanes) * bits)
    return files


def rom_text(head: str, rows: Sequence[int], bits: int) -> str:
    """A `$readmemh` file: a comment, then one row of so many bits per line."""
    digits = -(-bits // 4)
    return f"// {head}\n" + "".join(f"{row:0{digits}x}\n" for row in rows)


def read_rom_images(
    plan: CorePlan, files: Mapping[str, str]
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Weights (neurons, inputs) and biases of each layer from the text of its ROM images.

    Raises
    ------
    PlanError
        When a file is missing, is not hexadecimal, or does not have the plan's number of rows.
    """
    layers = []
    for n, (layer, g) in enumerate(zip(plan.network.layers, plan.geometries, strict=True)):
        banks = [
            [_rows(files, plan.rom_file(n, b, part), g.depth) for part in range(len(g.slices))]
            for b in range(g.banks)
        ]
        layers.append(unpack_rows(banks, g, layer.spec.weight_bits))
    return layers


def _rows(files: Mapping[str, str], name: str, count: int) -> list[int]:
    if name not in files:
        raise PlanError(f"ROM image {name} is missing")
    lines = [line.partition("//")[0].strip() for line in files[name].splitlines()]
    try:
        rows = [int(line, 16) for line in lines if line]
    except ValueError:
        raise PlanError(f"ROM image {name} must hold hexadecimal rows only") from None
    if len(rows) != count:
        raise PlanError(f"ROM image {name} must have {count} rows, not {len(rows)}")
    return rows


def pack_words(pixels: npt.NDArray[np.integer], geometry: LayerGeometry) -> list[int]:
    """The words of the core's input stream for images (n, inputs), in order."""
    g = geometry
    padded = np.zeros((len(pixels), g.words * g.word), dtype=np.uint8)
    padded[:, g.slots()] = pixels
    return pack_bits(padded.reshape(-1, g.word), g.planes)


def pack_bits(values: npt.NDArray[np.uint8], planes: int) -> list[int]:
    """Rows of values, `planes` bits of each, the first in the low bits, as integers."""
    bits = np.unpackbits(values[..., None], axis=-1, bitorder="little")[..., :planes]
    packed = np.packbits(bits.reshape(len(values), -1), axis=-1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]
