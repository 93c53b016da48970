"""ROM images: the weights as `$readmemh` text, and back. docs/image.md has the layout."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from gen.plan import CorePlan, PlanError
from hw.rom import pack_rows, unpack_rows

__all__ = ["read_rom_images", "rom_images"]


def rom_images(plan: CorePlan) -> dict[str, str]:
    """Text of every ROM image by its file name; equal bytes for an equal network and layout.

    One line per address, as many hexadecimal digits as the row has, preceded by a comment with
    what it is and the digest of the network.
    """
    files = {}
    for n, (layer, geometry) in enumerate(zip(plan.image.layers, plan.geometries, strict=True)):
        bits = layer.spec.weight_bits
        digits = -(-geometry.lanes * bits // 4)
        for b, rows in enumerate(pack_rows(layer.weights, geometry, bits)):
            head = (
                f"// {plan.image.spec.name} layer {n} ({layer.spec.name}) bank {b}: "
                f"{len(rows)} rows of {geometry.lanes} x {bits} bit, "
                f"network {plan.image.digest[:16]}\n"
            )
            lines = "".join(f"{row:0{digits}x}\n" for row in rows)
            files[plan.rom_file(n, b)] = head + lines
    return files


def read_rom_images(plan: CorePlan, files: Mapping[str, str]) -> list[npt.NDArray[np.int64]]:
    """Weights (neurons, inputs) of each layer from the text of its ROM images.

    Raises
    ------
    PlanError
        When a file is missing, is not hexadecimal, or does not have the plan's number of rows.
    """
    layers = []
    for n, (layer, g) in enumerate(zip(plan.image.layers, plan.geometries, strict=True)):
        banks = []
        for b in range(g.banks):
            name = plan.rom_file(n, b)
            if name not in files:
                raise PlanError(f"ROM image {name} is missing")
            lines = [line.partition("//")[0].strip() for line in files[name].splitlines()]
            try:
                rows = [int(line, 16) for line in lines if line]
            except ValueError:
                raise PlanError(f"ROM image {name} must hold hexadecimal rows only") from None
            if len(rows) != g.groups * g.rows:
                raise PlanError(
                    f"ROM image {name} must have {g.groups * g.rows} rows, not {len(rows)}"
                )
            banks.append(rows)
        layers.append(unpack_rows(banks, g, layer.spec.weight_bits))
    return layers
