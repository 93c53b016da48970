"""The host link's numbers (`docs/link.md`), for the gateware and for the host alike."""

from enum import IntEnum

__all__ = [
    "ANSWER",
    "BOARD_NAMES",
    "CLASS",
    "COUNT_BYTES",
    "CRC_BYTES",
    "CYCLES",
    "EVENTS",
    "FROM_FILE",
    "HEADER_BYTES",
    "IDENTITY_WORDS",
    "LABEL_BYTES",
    "LEARNED_WORDS",
    "LEARNING",
    "LENGTH_MAX",
    "LOGITS",
    "MARGIN_BYTES",
    "REFUSAL",
    "ROW_BYTES",
    "STATE_BYTES",
    "SYNC",
    "TAG",
    "TIMEOUT_BITS",
    "TRAIN_BYTES",
    "VERSION",
    "WORD_BYTES",
    "Command",
    "ErrorCode",
]

SYNC = 0xA5
VERSION = 1

ANSWER = 0x80
"""What the kind of an answer has more than that of its command."""

REFUSAL = 0xFF
"""The kind of an error answer."""

HEADER_BYTES = 6
CRC_BYTES = 4
LENGTH_MAX = 2**16 - 1
"""Bytes of a payload."""

TIMEOUT_BITS = 4096
"""Bit times without a byte after which a board gives up a frame."""

WORD_BYTES = 4
IDENTITY_WORDS = 16
TAG, CLASS, CYCLES, EVENTS, LOGITS = range(16, 21)
"""Words of the mailbox after those of the identity; logit n is in word LOGITS + n."""

LEARNED_WORDS = 2
"""Behind the logits, on a board that learns: whether the sample was learned, and the count of
learned samples after it."""

LABEL_BYTES = 2
COUNT_BYTES = 4
MARGIN_BYTES = 4
ROW_BYTES = 2
"""Of a label, the count of learned samples, a margin, the number of a row of masters."""

STATE_BYTES = 24
"""Of the answer to STATE, before the rates."""

TRAIN_BYTES = 16
"""Of the answer to TRAIN."""

BOARD_NAMES = {1: "ulx3s_85f", 2: "icebreaker", 3: "tang_nano_9k"}
"""What a bitstream answers to IDENTIFY; a number never changes and is never used again."""

FROM_FILE = 255
"""The number of every board that is described, by a file or by amaranth-boards."""


class Command(IntEnum):
    """What a host may ask for."""

    IDENTIFY = 1
    WRITE = 2
    RUN = 3
    READ = 4
    COUNTERS = 5
    RESET = 6
    LEARN = 7
    RATE = 8
    WEIGHTS = 9
    LOAD = 10
    SEED = 11
    TRAIN = 12
    STATE = 13


class ErrorCode(IntEnum):
    """What a board says in an error answer. Up to TRUNCATED the request was lost on its way."""

    CRC = 1
    LENGTH = 2
    COMMAND = 3
    VERSION = 4
    TRUNCATED = 5
    NO_INPUT = 6
    NO_RESULT = 7
    NOT_READY = 8
    COUNT = 9
    VALUE = 10


LEARNING = frozenset(command for command in Command if command >= Command.LEARN)
"""What only a board that learns carries out."""
