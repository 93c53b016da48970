"""A transport over a serial port of the system, through pyserial."""

import errno
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sw.host.errors import ConnectionFailed, LinkTimeout

__all__ = ["SerialPort"]

WRITE_TIMEOUT = 5.0
"""Seconds after which a port that takes no bytes is given up."""

IN_USE = {errno.EAGAIN, errno.EBUSY, errno.EWOULDBLOCK}
"""What the system says of a port that another program has locked, or opened alone."""


def _pyserial() -> Any:
    """pyserial, which only who has a board needs."""
    try:
        return importlib.import_module("serial")
    except ModuleNotFoundError:
        raise ConnectionFailed(
            "A serial port needs the package pyserial: install it with 'pip install pyserial==3.5'"
        ) from None


def _system_faults() -> tuple[type[Exception], ...]:
    """What pyserial lets through when a port is pulled; its own errors are OSErrors."""
    try:
        return (OSError, importlib.import_module("termios").error)
    except ModuleNotFoundError:  # not on Windows
        return (OSError,)


class SerialPort:
    """8 data bits, no parity, one stop bit; nobody else may open the port meanwhile.

    Raises
    ------
    ConnectionFailed
        When pyserial or the port is missing, in use, or refuses the baud rate; later, by every
        method, when the port is lost.
    """

    def __init__(self, port: str, baud: int) -> None:
        self._name = port
        self._serial = _pyserial()
        self._faults = _system_faults()
        try:
            self._port = self._serial.Serial(
                port, baud, timeout=0, write_timeout=WRITE_TIMEOUT, exclusive=True
            )
        except (*self._faults, ValueError) as reason:
            if getattr(reason, "errno", None) in IN_USE:
                raise ConnectionFailed(
                    f"Serial port {port} is in use by another program: end that first"
                ) from None
            raise ConnectionFailed(
                f"Serial port {port} cannot be opened at {baud} baud: {_cause(reason)}"
            ) from None

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except self._serial.SerialTimeoutException:
            raise LinkTimeout(f"Serial port {self._name} takes no bytes") from None
        except self._faults as reason:
            raise ConnectionFailed(f"Serial port {self._name} is lost: {_cause(reason)}") from None

    def write(self, data: bytes) -> None:
        """Hand bytes to the system, which sends them."""
        with self._guarded():
            self._port.write(data)

    def read(self, count: int, timeout: float) -> bytes:
        """The next `count` bytes; fewer when `timeout` seconds are over."""
        with self._guarded():
            self._port.timeout = timeout
            return bytes(self._port.read(count))

    def discard(self) -> None:
        """Throw away what came in."""
        with self._guarded():
            self._port.reset_input_buffer()

    def close(self) -> None:
        """Give the port back."""
        self._port.close()


def _cause(reason: Exception) -> str:
    """The system's words for a fault, in one line."""
    number = getattr(reason, "errno", None)
    return os.strerror(number) if number else " ".join(str(reason).split())
