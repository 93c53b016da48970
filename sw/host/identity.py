"""What a board says of itself, and the payload of a WRITE that follows from it."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw.contract.layout import MapLayout
from hw.contract.link import BOARD_NAMES, FROM_FILE, IDENTITY_WORDS, VERSION, WORD_BYTES
from sw.host.errors import ProtocolMismatch
from sw.host.protocol import result_bytes

__all__ = [
    "DESCRIBED",
    "IDENTITY_BYTES",
    "Identity",
    "pack_pixels",
    "packed_bytes",
    "parse_identity",
]

DESCRIBED = "a board from a file"
"""Told of every board that is described: its number is that of them all."""

IDENTITY_BYTES = WORD_BYTES * IDENTITY_WORDS


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a board is: words 0 to 15 of the mailbox, checked.

    `digest` is the SHA-256 (hex) of the network; `image_bytes` what a WRITE takes; `ready`
    says that the weights are there, `weights_failed` that they could not be read. `clock_hz`
    and `baud` are 0 for a back end that has none. `layout` is how the pixels of an image lie in the
    words of a program, None where they follow one another. `timed`: what is classified are
    recordings, an image for every step. `learns`: the core learns; `changed`: its weights are no
    longer those of the digest.
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
    learns: bool = False
    changed: bool = False

    @property
    def pixels(self) -> int:
        """Of what is classified: an image, or all images of a recording."""
        return self.input_size * (self.steps if self.timed else 1)

    @property
    def parts(self) -> int:
        """Parts of a WRITE that begin with a byte of their own: the images of a recording, unless
        `layout` lays them in words."""
        return self.steps if self.timed and self.layout is None else 1


def packed_bytes(pixels: int, bits: int) -> int:
    """Bytes of an image without the zeros after it."""
    return -(-pixels * bits // 8)


def pack_pixels(pixels: npt.NDArray[np.uint8], identity: Identity) -> bytes:
    """The payload of WRITE for one image (pixels,): `input_bits` bits per pixel, low bits first, in
    the order of the board's words, then zeros up to `image_bytes` bytes; of a recording without
    `layout`, each time step by itself, with zeros up to its part of them."""
    if identity.layout is not None:
        pixels = identity.layout.pack(pixels.reshape(-1, identity.input_size)).reshape(-1)
    parts = identity.parts
    planes = np.unpackbits(pixels[:, None], axis=1, bitorder="little")[:, : identity.input_bits]
    packed = np.packbits(planes.reshape(parts, -1), axis=1, bitorder="little")
    return b"".join(part.tobytes().ljust(identity.image_bytes // parts, b"\0") for part in packed)


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
        board=DESCRIBED if number == FROM_FILE else BOARD_NAMES.get(number, f"board-{number}"),
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
        learns=bool(word[0] >> 18 & 1),
        changed=bool(word[0] >> 19 & 1),
    )
    i, parts = identity, max(1, identity.parts)  # no steps: refused below
    part = packed_bytes(i.pixels // parts, i.input_bits)
    sound = {
        "protocol version": i.protocol == VERSION,
        "state": word[0] >> 20 == 0
        and not (i.ready and i.weights_failed)
        and i.changed <= i.learns,
        "input size": 1 <= i.input_size <= 65536,
        "bits per pixel": 1 <= i.input_bits <= 8,
        "time steps": 1 <= i.steps <= 1024,
        "classes": i.classes >= 1 and result_bytes(i.classes, i.learns) <= 0xFFFF,
        "lanes": 1 <= i.lanes <= 1024,
        "banks": i.banks in (1, 2, 4, 8, 16),
        "clock": i.clock_hz > 0,
        "baud rate": i.baud > 0,
        "bytes of an image": part * parts <= i.image_bytes and i.image_bytes % parts == 0,
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
