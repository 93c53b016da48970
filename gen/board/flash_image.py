"""The flash image: the weights of a network as an SPI flash holds them for `hw.top.loader`."""

import zlib

from gen.core.plan import CorePlan
from hw.layer.rows import pack_rows
from hw.top.loader import MAGIC

__all__ = ["flash_image"]


def flash_image(plan: CorePlan) -> bytes:
    """Magic, digest, the rows of each weight memory (layer, bank, slice), CRC-32.

    A row takes whole bytes, big-endian; see `hw.top.loader.WeightLoader`.
    """
    parts = [MAGIC, bytes.fromhex(plan.network.digest)]
    for layer, geometry in zip(plan.network.layers, plan.geometries, strict=True):
        bits = layer.spec.weight_bits
        for bank in pack_rows(layer.weights, layer.bias, geometry, bits):
            for lanes, rows in zip(geometry.slices, bank, strict=True):
                size = -(-len(lanes) * bits // 8)
                parts += [row.to_bytes(size, "big") for row in rows]
    body = b"".join(parts)
    return body + zlib.crc32(body).to_bytes(4, "little")
