"""Frames and mailbox, against bytes written by hand from docs/link.md."""

import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hw.contract.checks import SternaError
from hw.contract.link import (
    BOARD_NAMES,
    COUNT_BYTES,
    FROM_FILE,
    LABEL_BYTES,
    LEARNED_WORDS,
    LEARNING,
    MARGIN_BYTES,
    ROW_BYTES,
    STATE_BYTES,
    TIMEOUT_BITS,
    TRAIN_BYTES,
    WORD_BYTES,
    Command,
    ErrorCode,
)
from sw.host import errors
from sw.host.errors import DamagedReply, DeviceError, HostError, ProtocolMismatch, UrlError
from sw.host.identity import Identity, pack_pixels, packed_bytes, parse_identity
from sw.host.protocol import answer_payload, answer_rest, encode, frame_tag, parse_result

LINK = (Path(__file__).parents[3] / "docs" / "link.md").read_text()


def answer(kind, payload=b"", sequence=5, version=1):
    body = bytes([version, sequence, kind]) + len(payload).to_bytes(2, "little") + payload
    return b"\xa5" + body + zlib.crc32(body).to_bytes(4, "little")


def identity_of(pixels, bits, size, **more):
    return Identity(
        protocol=1,
        board="twin",
        digest="",
        input_size=pixels,
        input_bits=bits,
        steps=4,
        classes=10,
        lanes=8,
        banks=1,
        clock_hz=1,
        baud=1,
        image_bytes=size,
        ready=True,
        **more,
    )


def take(data, command, length=0, sequence=5):
    """An answer, as a back end takes it."""
    rest = answer_rest(data[:6], command, length)
    assert len(data) == 6 + rest
    return answer_payload(data, sequence, command)


def test_sizes_are_the_documents():
    """What fields of learning take, as docs/link.md writes them."""
    payloads = dict(re.findall(r"^\| `0x0[0-9A-F]` \| (\w+) \| ([^|]*) \|", LINK, re.M))
    answers = dict(re.findall(r"^\| `0x0[0-9A-F]` \| (\w+) \| [^|]* \| ([^|]*) \|", LINK, re.M))

    def sizes(text: str) -> list[int]:
        return [int(bits) // 8 for bits in re.findall(r"\b[ui](\d+)\b", text)]

    assert sizes(payloads["LEARN"]) == [LABEL_BYTES, COUNT_BYTES]
    assert sizes(payloads["RATE"]) == [1, MARGIN_BYTES, 1]
    assert sizes(payloads["WEIGHTS"]) == sizes(payloads["LOAD"]) == [ROW_BYTES]
    assert sizes(payloads["SEED"]) == [WORD_BYTES, COUNT_BYTES]
    assert sizes(payloads["TRAIN"])[-1:] == [COUNT_BYTES]
    assert sum(sizes(answers["TRAIN"])) == TRAIN_BYTES
    (rates,) = re.findall(r"^\| (\d+) \.\. \d+\+E \| k of each learned edge", LINK, re.M)
    assert int(rates) == STATE_BYTES


def test_what_only_a_board_that_learns_carries_out():
    assert {command.name for command in LEARNING} == {
        *("LEARN", "RATE", "WEIGHTS", "LOAD", "SEED", "TRAIN", "STATE")
    }
    assert "have two words more behind the logits" in LINK
    assert LEARNED_WORDS == 2
    (times,) = re.findall(r"(\d[\d,]*) bit times", LINK)
    assert int(times.replace(",", "")) == TIMEOUT_BITS


def test_numbers_of_boards_never_change():
    """Bitstreams that people have say them."""
    assert BOARD_NAMES == {1: "ulx3s_85f", 2: "icebreaker", 3: "tang_nano_9k"}
    (described,) = re.findall(r"(\d+): a board from a file", LINK)
    assert int(described) == FROM_FILE


def test_numbers_are_the_documents():
    rows = dict(re.findall(r"^\| `(0x0[0-9A-F])` \| (\w+) \|", LINK, re.M))
    assert {int(kind, 16): name for kind, name in rows.items()} == {c: c.name for c in Command}
    codes = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", LINK, re.M)
    assert {int(code): name for code, name in codes} == {c: c.name for c in ErrorCode}
    assert set(errors.MEANINGS) == set(ErrorCode)


def test_a_request_byte_by_byte():
    assert encode(7, Command.IDENTIFY) == bytes.fromhex("a5 01 07 01 0000 238c5767")
    frame = encode(255, Command.WRITE, b"\x12\x34\x56")
    assert frame[:9] == bytes.fromhex("a5 01 ff 02 0300 123456")
    assert frame_tag(frame) == zlib.crc32(frame[1:9])
    assert len(encode(0, Command.WRITE, bytes(65535))) == 65545


@pytest.mark.parametrize(
    ("pixels", "bits", "packed"),
    [
        ([1, 2, 15], 4, "21 0f"),
        ([1, 0, 1, 1, 0, 0, 0, 1, 1], 1, "8d 01"),
        ([5, 3, 7], 3, "dd 01"),
        ([200, 7], 8, "c8 07"),
        ([1, 64, 127], 7, "01 e0 1f"),
    ],
)
def test_pixels_are_packed_without_gaps(pixels, bits, packed):
    array, size = np.array(pixels, dtype=np.uint8), packed_bytes(len(pixels), bits)
    board = identity_of(len(pixels), bits, size)
    found = pack_pixels(array, board)
    assert found == bytes.fromhex(packed)
    assert pack_pixels(array, replace(board, image_bytes=size + 3)) == found + bytes(3)
    number = sum(pixel << bits * n for n, pixel in enumerate(pixels))
    assert found == number.to_bytes(-(-len(pixels) * bits // 8), "little")


def test_a_sound_answer():
    assert take(answer(0x86), Command.RESET) == b""
    assert take(answer(0x84, b"12345678"), Command.READ, 8) == b"12345678"


@pytest.mark.parametrize("command", Command)
@pytest.mark.parametrize("code", ErrorCode)
def test_error_answers(command, code):
    with pytest.raises(DeviceError, match=rf"^The board answers {code.name} to ") as caught:
        take(answer(0xFF, bytes([code, command])), command)
    error = caught.value
    assert (error.code, error.name, error.transport) == (code, code.name, code <= 5)
    assert isinstance(error, HostError)
    for data in (
        answer(0xFF, bytes([code, command]), sequence=6),
        answer(0xFF, bytes([code, command % 6 + 1])),
    ):
        with pytest.raises(DeviceError if code <= 5 else DamagedReply):
            take(data, command)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (answer(0x84, sequence=4), DamagedReply, "belongs to another request"),
        (answer(0x83), DamagedReply, "another kind"),
        (answer(0x04), DamagedReply, "another kind"),
        (answer(0x84, b"1"), DamagedReply, "must have 0 bytes, not 1"),
        (answer(0xFF, b"1"), DamagedReply, "must have 2 bytes, not 1"),
        (b"\x5a" + answer(0x84)[1:], DamagedReply, "must begin with 0xA5, not 0x5a"),
        (answer(0x84)[:-1] + b"!", DamagedReply, "CRC"),
        (answer(0x84, version=2), ProtocolMismatch, "protocol version 2, not 1"),
        (answer(0x84, b"123", version=2), ProtocolMismatch, "protocol version 2, not 1"),
        (answer(0x84, version=2)[:-1] + b"!", DamagedReply, "CRC"),
        (answer(0xFF, b"\x0b\x04"), ProtocolMismatch, "does not have"),
        (answer(0xFF, b"\x00\x04"), ProtocolMismatch, "does not have"),
    ],
)
def test_odd_answers_raise(data, error, words):
    with pytest.raises(error, match=words) as caught:
        take(data, Command.READ)
    assert isinstance(caught.value, SternaError)
    assert "\n" not in str(caught.value)


def identity_words(**changes):
    words = [
        1 | 200 << 8 | 1 << 16,
        *struct.unpack("<8I", bytes(range(32))),
        784,
        4 | 4 << 16,
        10,
        128 | 2 << 16,
        25_000_000,
        1_000_000,
        392,
    ]
    for word, value in changes.items():
        words[int(word[1:])] = value
    return struct.pack("<16I", *words)


def test_identity():
    identity = parse_identity(identity_words())
    assert identity.digest == bytes(range(32)).hex()
    assert (identity.protocol, identity.board, identity.ready) == (1, "board-200", True)
    assert (identity.input_size, identity.input_bits, identity.steps) == (784, 4, 4)
    assert (identity.classes, identity.lanes, identity.banks) == (10, 128, 2)
    assert (identity.clock_hz, identity.baud) == (25_000_000, 1_000_000)
    assert identity.image_bytes == 392
    assert parse_identity(identity_words(w15=400)).image_bytes == 400
    assert parse_identity(identity_words(w0=1 | 1 << 8)).board == "ulx3s_85f"
    failed = parse_identity(identity_words(w0=1 | 1 << 17))
    assert failed.weights_failed
    assert not failed.ready


@pytest.mark.parametrize(
    ("word", "value", "what"),
    [
        (0, 2 | 1 << 16, "protocol version"),
        (0, 1 | 3 << 16, "state"),
        (0, 1 | 1 << 19, "state"),
        (0, 1 | 1 << 20, "state"),
        (9, 0, "input size"),
        (9, 65537, "input size"),
        (10, 4 << 16, "bits per pixel"),
        (10, 9 | 4 << 16, "bits per pixel"),
        (10, 4, "time steps"),
        (11, 0, "classes"),
        (11, 16380, "classes"),
        (12, 1 << 16, "lanes"),
        (12, 8, "banks"),
        (12, 8 | 3 << 16, "banks"),
        (15, 65536, "bytes of an image"),
        (13, 0, "clock"),
        (14, 0, "baud rate"),
        (15, 391, "bytes of an image"),
    ],
)
def test_an_identity_that_cannot_be(word, value, what):
    with pytest.raises(ProtocolMismatch, match=f"says of itself what cannot be: .*{what}"):
        parse_identity(identity_words(**{f"w{word}": value}))


def test_result():
    payload = struct.pack("<4I3i", 0xDEADBEEF, 1, 99, 1000, -5, 2**31 - 1, 2**31 - 1)
    result = parse_result(payload, 0xDEADBEEF)
    assert result.label == 1
    assert result.logits.dtype == np.int32
    assert result.logits.tolist() == [-5, 2**31 - 1, 2**31 - 1]
    assert (result.counters.cycles, result.counters.events) == (99, 1000)
    with pytest.raises(DamagedReply, match="another image"):
        parse_result(payload, 0xDEADBEEE)
    with pytest.raises(DamagedReply, match="contradicts itself"):  # not the *first* maximum
        parse_result(payload[:4] + struct.pack("<I", 2) + payload[8:], 0xDEADBEEF)


def test_every_error_is_one_of_sterna():
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), HostError)
    assert issubclass(HostError, SternaError)
    assert issubclass(UrlError, ValueError)


def laid_out(channels, columns, positions, lanes=16, size=75, bits=3, image_bytes=0, timed=0):
    return identity_words(
        w9=size,
        w10=bits | timed << 8 | 4 << 16,
        w11=10 | channels << 16,
        w12=lanes | 1 << 16 | positions << 24,
        w15=image_bytes | columns << 16,
    )


def test_pixels_in_the_words_of_a_shared_core():
    """Three channels of 5x5 pixels, four positions of four lanes to a word: 10 words of 6 bytes."""
    board = parse_identity(laid_out(3, 5, 4, image_bytes=60))
    assert (board.pixels, board.timed) == (75, False)
    pixels = np.random.default_rng(1).integers(0, 8, 75).astype(np.uint8)
    number = int.from_bytes(pack_pixels(pixels, board), "little")
    for c, y, x in np.ndindex(3, 5, 5):
        place = ((y * 2 + x // 4) * 16 + x % 4 * 4 + c) * 3
        assert number >> place & 7 == pixels[(c * 5 + y) * 5 + x]
        number &= ~(7 << place)
    assert number == 0  # lanes without a value


def test_recordings_are_images_one_after_the_other():
    board = parse_identity(laid_out(3, 5, 4, image_bytes=240, timed=1))
    assert (board.pixels, board.timed, board.steps) == (300, True, 4)
    pixels = np.random.default_rng(2).integers(0, 8, 300).astype(np.uint8)
    one = replace(board, timed=False, image_bytes=60)
    parts = [pack_pixels(pixels[75 * n : 75 * n + 75], one) for n in range(4)]
    assert pack_pixels(pixels, board) == b"".join(parts)


def recording(image_bytes, size=13, bits=3, steps=4):
    """A dense core's identity: its words have no layout."""
    return identity_words(w9=size, w10=bits | 1 << 8 | steps << 16, w15=image_bytes)


@pytest.mark.parametrize("step_bytes", [5, 6, 9])
def test_steps_of_a_dense_core_begin_with_a_byte_of_their_own(step_bytes):
    """13 pixels of 3 bits are 39 bits: each step's fill 5 bytes, then zeros."""
    board = parse_identity(recording(4 * step_bytes))
    assert (board.pixels, board.timed, board.layout, board.parts) == (52, True, None, 4)
    pixels = np.random.default_rng(3).integers(0, 8, 52).astype(np.uint8)
    payload = pack_pixels(pixels, board)
    assert len(payload) == board.image_bytes
    for n, step in enumerate(pixels.reshape(4, 13).tolist()):
        number = sum(pixel << 3 * k for k, pixel in enumerate(step))
        part = payload[n * step_bytes : (n + 1) * step_bytes]
        assert part == number.to_bytes(step_bytes, "little")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (recording(21), "bytes of an image"),
        (recording(23), "bytes of an image"),
        (recording(16), "bytes of an image"),
        (recording(20, steps=0), "time steps"),
        (laid_out(0, 5, 4, image_bytes=60), "form of an image"),
        (laid_out(3, 5, 0, image_bytes=60), "form of an image"),
        (laid_out(3, 4, 4, image_bytes=60), "form of an image"),
        (laid_out(3, 5, 5, image_bytes=60), "form of an image"),
        (laid_out(3, 5, 8, image_bytes=60), "form of an image"),
        (laid_out(3, 5, 4, image_bytes=61), "words of an image"),
        (laid_out(3, 5, 4, image_bytes=60, timed=1), "words of an image"),
        (laid_out(3, 5, 4, image_bytes=60, timed=2), "form of an image"),
    ],
)
def test_a_form_of_images_that_cannot_be(words, what):
    with pytest.raises(ProtocolMismatch, match=f"says of itself what cannot be: .*{what}"):
        parse_identity(words)
