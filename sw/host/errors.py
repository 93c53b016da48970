"""What can go wrong with a board: every one a sentence that can be shown as it is."""

from hw.contract.checks import SternaError
from hw.contract.link import Command, ErrorCode

__all__ = [
    "CannotLearn",
    "ConnectionFailed",
    "DamagedReply",
    "DeviceError",
    "HostError",
    "LinkTimeout",
    "ProtocolMismatch",
    "UrlError",
    "WeightsMissing",
]

MEANINGS = {
    ErrorCode.CRC: "the request was damaged",
    ErrorCode.LENGTH: "the request has not the length that the command needs",
    ErrorCode.COMMAND: "it has no such command",
    ErrorCode.VERSION: "it speaks another protocol version",
    ErrorCode.TRUNCATED: "the request broke off",
    ErrorCode.NO_INPUT: "it has no image to run",
    ErrorCode.NO_RESULT: "it has no finished run",
    ErrorCode.NOT_READY: "its weights are not there",
    ErrorCode.COUNT: "it has learned another number of samples",
    ErrorCode.VALUE: "a number in the request is out of its range",
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


class CannotLearn(HostError):
    """The board's core does not learn."""


class WeightsMissing(HostError):
    """The board has no weights, and so runs no image."""
