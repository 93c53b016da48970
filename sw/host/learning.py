"""Learning on a board, as the host has it: its state, its masters, payloads of its commands."""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw.contract.checks import master_limits
from hw.contract.link import STATE_BYTES
from sw.host.errors import DamagedReply, ProtocolMismatch
from sw.host.protocol import Result

__all__ = [
    "LearningState",
    "MasterState",
    "Trained",
    "check_learned",
    "learn_payload",
    "pack_row",
    "parse_state",
    "parse_trained",
    "rate_payload",
    "train_payload",
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
    rows, row_bytes, master_bits, weight_bits
        Of the memory of masters; a weight is the upper bits of its master.
    enabled, margin, rates
        Learning is on; mu; k of each learned edge.
    lowest, highest
        Rates that can be set.
    samples
        Labelled images on the chip.
    """

    count: int
    random: int
    rows: int
    row_bytes: int
    master_bits: int
    weight_bits: int
    enabled: bool
    margin: int
    rates: tuple[int, ...]
    lowest: int
    highest: int
    samples: int = 0

    @property
    def master_limits(self) -> tuple[int, int]:
        """Smallest and largest master."""
        return master_limits(self.master_bits, self.weight_bits)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What came of images on the chip: the answer to TRAIN.

    samples, learned
        Images that were run, and those of them that were learned.
    hits
        Images that had the class of their label, before anything was learned from them.
    cycles
        From the first one's first word to the end of the last one's update.
    """

    samples: int
    learned: int
    hits: int
    cycles: int


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
    count, random, rows, row_bytes, bits, weight_bits, edges, low, high, samples, margin, on = (
        struct.unpack_from("<IIHHBBBbbHIB", payload)
    )
    rates = struct.unpack_from(f"<{len(payload) - STATE_BYTES}b", payload, STATE_BYTES)
    sound = {
        "random word": random > 0,
        "rows of masters": rows > 0 and row_bytes == -(-lanes * bits // 8),
        "width of masters": 2 <= weight_bits <= bits <= 32,
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
        weight_bits=weight_bits,
        enabled=bool(on),
        margin=margin,
        rates=tuple(rates),
        lowest=low,
        highest=high,
        samples=samples,
    )


def train_payload(first: int, images: int, passes: int, count: int) -> bytes:
    """Of TRAIN; `count`: of learned samples."""
    return struct.pack("<HHHI", first, images, passes, count)


def parse_trained(payload: bytes, samples: int, count: int) -> tuple[Trained, int]:
    """The answer to TRAIN with so many samples, `count` having been learned before; and the count.

    Raises
    ------
    DamagedReply
        When it cannot be.
    """
    cycles, now, hits = struct.unpack("<QII", payload)
    learned = (now - count) % COUNTS
    if learned > samples or hits > samples or not cycles:
        raise DamagedReply(
            f"The board says of {samples} samples that {hits} were right and {learned} were learned"
        )
    return Trained(samples=samples, learned=learned, hits=hits, cycles=cycles), now


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
