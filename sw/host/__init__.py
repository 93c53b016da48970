"""The host library: a board, its simulation or the golden model behind one class.

    from sw.host import open_board

It stands alone: importing it loads NumPy, `hw.contract` and `hw.system.progress`; what an address
needs besides is imported when it is opened.
"""

from hw.contract.checks import InputError
from sw.host.board import Board, open_board
from sw.host.errors import (
    CannotLearn,
    ConnectionFailed,
    DamagedReply,
    DeviceError,
    HostError,
    LinkTimeout,
    ProtocolMismatch,
    UrlError,
    WeightsMissing,
)
from sw.host.identity import Identity
from sw.host.learning import LearningState, MasterState
from sw.host.protocol import Counters, Result

__all__ = [
    "Board",
    "CannotLearn",
    "ConnectionFailed",
    "Counters",
    "DamagedReply",
    "DeviceError",
    "HostError",
    "Identity",
    "InputError",
    "LearningState",
    "LinkTimeout",
    "MasterState",
    "ProtocolMismatch",
    "Result",
    "UrlError",
    "WeightsMissing",
    "open_board",
]
