"""What answers a host, as a `Board` calls it."""

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from sw.host.identity import Identity
from sw.host.protocol import Counters, Result

__all__ = ["Backend", "Pixels"]

Pixels = npt.NDArray[np.uint8]


class Backend(ABC):
    """What a `Board` calls. Pixels come checked: uint8 (input_size,), within range."""

    @abstractmethod
    def identify(self) -> Identity:
        """What this is."""

    @abstractmethod
    def infer(self, pixels: Pixels) -> Result:
        """Run one image."""

    @abstractmethod
    def counters(self) -> Counters:
        """Of the last run; DeviceError NO_RESULT without one."""

    @abstractmethod
    def reset(self) -> None:
        """Forget image and result."""

    @abstractmethod
    def close(self) -> None:
        """Release what was opened; nothing is called afterwards."""
