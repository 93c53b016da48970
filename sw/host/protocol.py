"""The host's side of docs/link.md as pure functions: frames, answers, mailbox, errors. No I/O.

Whatever is not exactly as the document has it raises: nothing here guesses.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gen.board.boards import BOARDS
from hw.contract.layout import MapLayout
from hw.contract.link import (
    ANSWER,
    CRC_BYTES,
    HEADER_BYTES,
    IDENTITY_WORDS,
    LOGITS,
    REFUSAL,
    SYNC,
    TAG,
    VERSION,
    WORD_BYTES,
    Command,
    ErrorCode,
)
from hw.contract.spec import SternaError

__all__ = [
    "BOARD_NAMES",
    "IDENTITY_BYTES",
    "OVERHEAD_BYTES",
    "ConnectionFailed",
    "Counters",
    "DamagedReply",
    "DeviceError",
    "HostError",
    "Identity",
    "LinkTimeout",
    "ProtocolMismatch",
    "Result",
    "UrlError",
    "answer_payload",
    "answer_rest",
    "encode",
    "frame_tag",
    "pack_pixels",
    "packed_bytes",
    "parse_counters",
    "parse_identity",
    "parse_result",
    "result_bytes",
]

ERROR_BYTES = 2
OVERHEAD_BYTES = HEADER_BYTES + CRC_BYTES
"""Bytes of a frame besides its payload."""

IDENTITY_BYTES = WORD_BYTES * IDENTITY_WORDS
COUNTER_BYTES = WORD_BYTES * (LOGITS - TAG)

BOARD_NAMES = {board.number: board.name for board in BOARDS.values()}

MEANINGS = {
    ErrorCode.CRC: "the request was damaged",
    ErrorCode.LENGTH: "the request has not the length that the command needs",
    ErrorCode.COMMAND: "it has no such command",
    ErrorCode.VERSION: "it speaks another protocol version",
    ErrorCode.TRUNCATED: "the request broke off",
    ErrorCode.NO_INPUT: "it has no image to run",
    ErrorCode.NO_RESULT: "it has no finished run",
    ErrorCode.NOT_READY: "its weights are not there",
}


class HostError(SternaError):
    """A board could not be used; the text is one sentence that can be shown as it is."""


class UrlError(HostError, ValueError):
    """An address that names no board."""


class ConnectionFailed(HostError):
    """The way to the board is not there, or was lost."""


class LinkTimeout(HostError):
    """The board did not answer in time."""


class DamagedReply(HostError):
    """An answer that is damaged, incomplete, or not the answer to what was asked."""


class ProtocolMismatch(HostError):
    """The board speaks another protocol version, or says of itself what cannot be."""


class DeviceError(HostError):
    """The board's error answer.

    code, name
        Of the table in docs/link.md.
    transport
        Whether the request was lost on its way (and may be repeated), not refused.
    """

    def __init__(self, code: ErrorCode, command: Command) -> None:
        self.code, self.name = code, code.name
        self.transport = code <= ErrorCode.TRUNCATED
        super().__init__(
            f"The board answers {code.name} to {command.name}: {MEANINGS[code]} (error {code:d})"
        )


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a board is: words 0 to 15 of the mailbox, checked.

    `digest` is the SHA-256 (hex) of the network; `image_bytes` what a WRITE takes; `ready`
    says that the weights are there, `weights_failed` that they could not be read. `clock_hz`
    and `baud` are 0 for a back end that has none. `layout` is how the pixels of an image lie in the
    words of a shared core, None where they follow one another. `timed`: what is classified are
    recordings, an image for every step.
    """

    protocol: int
    board: str
    digest: str
    input_size: int
    input_bits: int
    steps: int
    classes: int
    lanes: int
    banks: int
    clock_hz: int
    baud: int
    image_bytes: int
    ready: bool
    weights_failed: bool = False
    layout: MapLayout | None = None
    timed: bool = False

    @property
    def pixels(self) -> int:
        """Of what is classified: an image, or all images of a recording."""
        return self.input_size * (self.steps if self.timed else 1)


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Of one run: cycles from the image's last word to its last logit; weight rows added."""

    cycles: int
    events: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """Of one image: its class, its logits (int32, one per class) and the run's counters."""

    label: int
    logits: npt.NDArray[np.int32]
    counters: Counters


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


def packed_bytes(pixels: int, bits: int) -> int:
    """Bytes of an image without the zeros after it."""
    return -(-pixels * bits // 8)


def pack_pixels(pixels: npt.NDArray[np.uint8], identity: Identity) -> bytes:
    """The payload of WRITE for one image (pixels,): `input_bits` bits per pixel, low bits first, in
    the order of the board's words, then zeros up to `image_bytes` bytes."""
    if identity.layout is not None:
        pixels = identity.layout.pack(pixels.reshape(-1, identity.input_size)).reshape(-1)
    planes = np.unpackbits(pixels[:, None], axis=1, bitorder="little")[:, : identity.input_bits]
    packed = np.packbits(planes.reshape(-1), bitorder="little")
    return packed.tobytes().ljust(identity.image_bytes, b"\0")


def parse_identity(payload: bytes) -> Identity:
    """Words 0 to 15 of the mailbox.

    Raises
    ------
    ProtocolMismatch
        When there can be no such board.
    """
    word = struct.unpack("<16I", payload)
    number = word[0] >> 8 & 0xFF
    layout, laid_out = _layout(word)
    identity = Identity(
        protocol=word[0] & 0xFF,
        board=BOARD_NAMES.get(number, f"board-{number}"),
        digest=payload[4:36].hex(),
        input_size=word[9],
        input_bits=word[10] & 0xFF,
        steps=word[10] >> 16,
        classes=word[11] & 0xFFFF,
        lanes=word[12] & 0xFFFF,
        banks=word[12] >> 16 & 0xFF,
        clock_hz=word[13],
        baud=word[14],
        image_bytes=word[15] & 0xFFFF,
        ready=bool(word[0] >> 16 & 1),
        weights_failed=bool(word[0] >> 17 & 1),
        layout=layout,
        timed=bool(word[10] >> 8 & 1),
    )
    i = identity
    sound = {
        "protocol version": i.protocol == VERSION,
        "state": word[0] >> 18 == 0 and not (i.ready and i.weights_failed),
        "input size": 1 <= i.input_size <= 65536,
        "bits per pixel": 1 <= i.input_bits <= 8,
        "time steps": 1 <= i.steps <= 1024,
        "classes": i.classes >= 1 and result_bytes(i.classes) <= 0xFFFF,
        "lanes": 1 <= i.lanes <= 1024,
        "banks": i.banks in (1, 2, 4, 8, 16),
        "clock": i.clock_hz > 0,
        "baud rate": i.baud > 0,
        "bytes of an image": packed_bytes(i.pixels, i.input_bits) <= i.image_bytes,
        "form of an image": laid_out and word[10] >> 9 & 0x7F == 0,
    }
    if layout is not None:
        words = layout.words * (i.steps if i.timed else 1)
        sound["words of an image"] = 8 * i.image_bytes == words * layout.lanes * i.input_bits
    wrong = [what for what, good in sound.items() if not good]
    if wrong:
        raise ProtocolMismatch(f"The board says of itself what cannot be: {', '.join(wrong)}")
    return identity


def _layout(word: Sequence[int]) -> tuple[MapLayout | None, bool]:
    """How a board says that pixels lie in its words, and whether that can be."""
    channels, columns, positions = word[11] >> 16, word[15] >> 16, word[12] >> 24
    size, lanes = word[9], word[12] & 0xFFFF
    if not channels and not columns and not positions:
        return None, True
    whole = channels > 0 and columns > 0 and positions > 0
    if not whole or size % (channels * columns) or lanes % positions:
        return None, False
    if positions > 1 and lanes // positions < channels:
        return None, False
    shape = (channels, size // (channels * columns), columns)
    return MapLayout(shape, lanes, positions), True


def result_bytes(classes: int) -> int:
    """Payload of the answer to READ."""
    return COUNTER_BYTES + 4 * classes


def parse_counters(payload: bytes) -> tuple[int, Counters]:
    """Tag and counters, from the answer to COUNTERS or READ."""
    tag, _, cycles, events = struct.unpack_from("<4I", payload)
    return tag, Counters(cycles=cycles, events=events)


def parse_result(payload: bytes, tag: int) -> Result:
    """The answer to READ, which must belong to the image with this tag.

    Raises
    ------
    DamagedReply
        When it belongs to another image, or the class is not that of the logits.
    """
    found, counters = parse_counters(payload)
    if found != tag:
        raise DamagedReply("The answer to READ belongs to another image: its tag differs")
    label = int.from_bytes(payload[4:8], "little")
    logits = np.frombuffer(payload, dtype="<i4", offset=COUNTER_BYTES).astype(np.int32)
    if label != int(logits.argmax()):
        raise DamagedReply(
            "The answer to READ contradicts itself: its class is not the first "
            "maximum of its logits"
        )
    return Result(label=label, logits=logits, counters=counters)
