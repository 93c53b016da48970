"""Numbers as the rows of ROMs and the words of streams, and `$readmemh` text as rows."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from gen.stage.stage import PlanError

__all__ = ["pack_bits", "read_rows"]


def pack_bits(values: npt.NDArray[np.uint8], planes: int) -> list[int]:
    """Rows of values, `planes` bits of each, the first in the low bits, as integers."""
    bits = np.unpackbits(values[..., None], axis=-1, bitorder="little")[..., :planes]
    packed = np.packbits(bits.reshape(len(values), -1), axis=-1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def read_rows(files: Mapping[str, str], name: str, count: int) -> list[int]:
    """The rows of one of these `$readmemh` files.

    Raises
    ------
    PlanError
        When the file is missing, is not hexadecimal, or has another number of rows.
    """
    if name not in files:
        raise PlanError(f"ROM file {name} is missing")
    lines = [line.partition("//")[0].strip() for line in files[name].splitlines()]
    try:
        rows = [int(line, 16) for line in lines if line]
    except ValueError:
        raise PlanError(f"ROM file {name} must hold hexadecimal rows only") from None
    if len(rows) != count:
        raise PlanError(f"ROM file {name} must have {count} rows, not {len(rows)}")
    return rows
