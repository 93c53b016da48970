"""The flash image: the weights of a network as an SPI flash holds them for `hw.top.loader`."""

import zlib

from gen.core.plan import CorePlan
from hw.top.loader import MAGIC

__all__ = ["flash_image"]


def flash_image(plan: CorePlan) -> bytes:
    """Magic, digest, the rows of each weight memory (stage, bank, slice), CRC-32.

    A row takes whole bytes, big-endian; see `hw.top.loader.WeightLoader`.
    """
    parts = [MAGIC, bytes.fromhex(plan.network.digest)]
    for stage in plan.stages:
        for bits, rows in stage.flash_rows():
            parts += [row.to_bytes(-(-bits // 8), "big") for row in rows]
    body = b"".join(parts)
    return body + zlib.crc32(body).to_bytes(4, "little")
