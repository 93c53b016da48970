"""Learning on a board, as the host has it: its state, its masters, payloads of its commands."""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw.contract.link import STATE_BYTES
from sw.host.errors import DamagedReply, ProtocolMismatch
from sw.host.protocol import Result

__all__ = [
    "LearningState",
    "MasterState",
    "check_learned",
    "learn_payload",
    "pack_row",
    "parse_state",
    "rate_payload",
    "unpack_row",
]

COUNTS = 2**32


@dataclass(frozen=True, kw_only=True)
class LearningState:
    """What learning on a board stands at: the answer to STATE.

    count
        Samples learned.
    random
        Word of the dither's generator.
    rows, row_bytes, master_bits
        Of the memory of masters.
    enabled, margin, rates
        Learning is on; mu; k of each learned edge.
    lowest, highest
        Rates that can be set.
    """

    count: int
    random: int
    rows: int
    row_bytes: int
    master_bits: int
    enabled: bool
    margin: int
    rates: tuple[int, ...]
    lowest: int
    highest: int


@dataclass(frozen=True, kw_only=True, eq=False)
class MasterState:
    """All that learning changes: masters as they lie in the hardware's rows, int64 (rows, lanes);
    the random word; the count of learned samples."""

    rows: npt.NDArray[np.int64]
    random: int
    count: int


def parse_state(payload: bytes, lanes: int) -> LearningState:
    """The answer to STATE of a board with so many lanes.

    Raises
    ------
    ProtocolMismatch
        When there can be no such board.
    """
    count, random, rows, row_bytes, bits, edges, low, high, margin, on = struct.unpack_from(
        "<IIHHBBbbIB", payload
    )
    rates = struct.unpack_from(f"<{len(payload) - STATE_BYTES}b", payload, STATE_BYTES)
    sound = {
        "random word": random > 0,
        "rows of masters": rows > 0 and row_bytes == -(-lanes * bits // 8),
        "width of masters": 2 <= bits <= 32,
        "learned edges": edges == len(rates),
        "rates": low <= high and all(low <= rate <= high for rate in rates),
        "switch": on <= 1,
    }
    wrong = [what for what, good in sound.items() if not good]
    if wrong:
        raise ProtocolMismatch(f"The board says of its learning what cannot be: {', '.join(wrong)}")
    return LearningState(
        count=count,
        random=random,
        rows=rows,
        row_bytes=row_bytes,
        master_bits=bits,
        enabled=bool(on),
        margin=margin,
        rates=tuple(rates),
        lowest=low,
        highest=high,
    )


def learn_payload(image: bytes, label: int, count: int) -> bytes:
    """Of LEARN."""
    return image + struct.pack("<HI", label, count)


def rate_payload(enabled: bool, margin: int, rates: tuple[int, ...]) -> bytes:
    """Of RATE."""
    return struct.pack(f"<BI{len(rates)}b", enabled, margin, *rates)


def check_learned(result: Result, count: int, *, taught: bool) -> Result:
    """A result of a board that learns, which had learned `count` samples before.

    Raises
    ------
    DamagedReply
        When it is of another state.
    """
    if result.learned and not taught:
        raise DamagedReply("The answer to READ is of a sample that was learned, and none was sent")
    if result.count != (count + result.learned) % COUNTS:
        raise DamagedReply(
            f"The result belongs to another state of learning: {result.count} samples learned, "
            f"not {(count + result.learned) % COUNTS}"
        )
    return result


def pack_row(row: npt.NDArray[np.int64], state: LearningState) -> bytes:
    """A row of masters (lanes,) as the board has it."""
    planes = row[:, None] >> np.arange(state.master_bits) & 1
    packed = np.packbits(planes.astype(np.uint8).reshape(-1), bitorder="little")
    return packed.tobytes().ljust(state.row_bytes, b"\0")


def unpack_row(data: bytes, state: LearningState, lanes: int) -> npt.NDArray[np.int64]:
    """Inverse of `pack_row`; raises `DamagedReply` where there is anything but zeros behind."""
    bits = state.master_bits
    planes = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
    if planes[lanes * bits :].any():
        raise DamagedReply("The answer to WEIGHTS must end with zeros")
    values = planes[: lanes * bits].reshape(lanes, bits).astype(np.int64) @ (1 << np.arange(bits))
    return np.where(values >> bits - 1 & 1, values - (1 << bits), values)
