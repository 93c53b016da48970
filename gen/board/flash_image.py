"""The flash image: weights, or pictures, as an SPI flash holds them for `hw.top.loader`."""

import zlib
from collections.abc import Sequence

from gen.core.plan import CorePlan
from hw.top.loader import MAGIC

__all__ = ["flash_image"]


def flash_image(plan: CorePlan, store: tuple[int, Sequence[int]] | None = None) -> bytes:
    """Magic, digest, the rows of each weight memory (stage, bank, slice), of the `store` of
    pictures (bits of a row, rows), if they are loaded, CRC-32.

    A row takes whole bytes, big-endian; see `hw.top.loader.WeightLoader`.
    """
    parts = [MAGIC, bytes.fromhex(plan.network.digest)]
    memories = [memory for stage in plan.stages for memory in stage.flash_rows()]
    for bits, rows in [*memories, *([] if store is None else [store])]:
        parts += [row.to_bytes(-(-bits // 8), "big") for row in rows]
    body = b"".join(parts)
    return body + zlib.crc32(body).to_bytes(4, "little")
