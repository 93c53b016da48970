"""The host's side of docs/link.md as pure functions: frames, answers, results. No I/O.

Whatever is not exactly as the document has it raises: nothing here guesses.
"""

import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw.contract.link import (
    ANSWER,
    CRC_BYTES,
    HEADER_BYTES,
    LEARNED_WORDS,
    LOGITS,
    REFUSAL,
    SYNC,
    TAG,
    VERSION,
    WORD_BYTES,
    Command,
    ErrorCode,
)
from sw.host.errors import DamagedReply, DeviceError, ProtocolMismatch

__all__ = [
    "COUNTER_BYTES",
    "OVERHEAD_BYTES",
    "Counters",
    "Result",
    "answer_payload",
    "answer_rest",
    "encode",
    "frame_tag",
    "parse_counters",
    "parse_result",
    "result_bytes",
]

ERROR_BYTES = 2
OVERHEAD_BYTES = HEADER_BYTES + CRC_BYTES
"""Bytes of a frame besides its payload."""

COUNTER_BYTES = WORD_BYTES * (LOGITS - TAG)


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Of one run: cycles from the image's last word to its last logit; weight rows added."""

    cycles: int
    events: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """Of one image: its class, its logits (int32, one per class) and the run's counters; on a
    board that learns, whether the image was learned, and how many were then."""

    label: int
    logits: npt.NDArray[np.int32]
    counters: Counters
    learned: bool = False
    count: int = 0


def encode(sequence: int, command: Command, payload: bytes = b"") -> bytes:
    """A request, ready to send."""
    body = struct.pack("<BBBH", VERSION, sequence, command, len(payload)) + payload
    return bytes([SYNC]) + body + struct.pack("<I", zlib.crc32(body))


def frame_tag(frame: bytes) -> int:
    """A frame's CRC field: of a WRITE, the tag of the result that follows from it."""
    return int.from_bytes(frame[-4:], "little")


def answer_rest(header: bytes, command: Command, length: int) -> int:
    """How many bytes follow an answer's header, if the answer to `command` has `length` bytes.

    Raises
    ------
    DamagedReply
        When this begins neither that answer nor an error answer.
    """
    sync, version, _, kind, told = struct.unpack("<BBBBH", header)
    if sync != SYNC:
        raise DamagedReply(f"The answer to {command.name} must begin with 0xA5, not {sync:#04x}")
    if version != VERSION:
        return told + 4  # the CRC will say whether this is another version or damage
    if kind not in (command | ANSWER, REFUSAL):
        raise DamagedReply(f"The answer to {command.name} is of another kind ({kind:#04x})")
    expected = ERROR_BYTES if kind == REFUSAL else length
    if told != expected:
        raise DamagedReply(f"The answer to {command.name} must have {expected} bytes, not {told}")
    return told + 4


def answer_payload(answer: bytes, sequence: int, command: Command) -> bytes:
    """The payload of a whole answer whose header `answer_rest` has let pass.

    Raises
    ------
    DamagedReply
        When the CRC is wrong, or the answer is to another request.
    ProtocolMismatch
        When it is whole, but of another protocol version.
    DeviceError
        When it is an error answer.
    """
    if zlib.crc32(answer[1:-4]) != frame_tag(answer):
        raise DamagedReply(f"The answer to {command.name} is damaged: its CRC does not match")
    if answer[1] != VERSION:
        raise ProtocolMismatch(f"The board speaks protocol version {answer[1]}, not {VERSION}")
    payload = answer[HEADER_BYTES:-4]
    stale = DamagedReply(f"The answer to {command.name} belongs to another request")
    if answer[3] == REFUSAL:
        error = _device_error(payload[0], command)
        # What reached the board damaged may be answered with a damaged sequence number and kind.
        if not error.transport and (answer[2] != sequence or payload[1] != command):
            raise stale
        raise error
    if answer[2] != sequence:
        raise stale
    return payload


def _device_error(code: int, command: Command) -> DeviceError:
    try:
        return DeviceError(ErrorCode(code), command)
    except ValueError:
        raise ProtocolMismatch(
            f"The board answers {command.name} with an error that version {VERSION} of the "
            f"protocol does not have ({code})"
        ) from None


def result_bytes(classes: int, learns: bool = False) -> int:
    """Payload of the answer to READ, and to LEARN, of a board that learns or not."""
    return COUNTER_BYTES + 4 * classes + WORD_BYTES * LEARNED_WORDS * learns


def parse_counters(payload: bytes) -> tuple[int, Counters]:
    """Tag and counters, from the answer to COUNTERS or READ."""
    tag, _, cycles, events = struct.unpack_from("<4I", payload)
    return tag, Counters(cycles=cycles, events=events)


def parse_result(payload: bytes, tag: int, learns: bool = False) -> Result:
    """The answer to READ, or to LEARN, which must belong to the image with this tag.

    Raises
    ------
    DamagedReply
        When it belongs to another image, or the class is not that of the logits.
    """
    found, counters = parse_counters(payload)
    if found != tag:
        raise DamagedReply("The answer to READ belongs to another image: its tag differs")
    label = int.from_bytes(payload[4:8], "little")
    learned, count = struct.unpack("<2I", payload[-8:]) if learns else (0, 0)
    end = len(payload) - WORD_BYTES * LEARNED_WORDS * learns
    logits = np.frombuffer(payload[:end], dtype="<i4", offset=COUNTER_BYTES).astype(np.int32)
    if learned > 1:
        raise DamagedReply(f"The answer to READ must say 0 or 1 of learning, not {learned}")
    if label != int(logits.argmax()):
        raise DamagedReply(
            "The answer to READ contradicts itself: its class is not the first "
            "maximum of its logits"
        )
    return Result(label=label, logits=logits, counters=counters, learned=bool(learned), count=count)
