"""What answers a host, as a `Board` calls it."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sw.host.identity import Identity
from sw.host.learning import LearningState, MasterState, Trained
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

    # Called of what learns only.

    @abstractmethod
    def learn(self, pixels: Pixels, label: int) -> Result:
        """Run one image, and learn from it; the label is a class."""

    @abstractmethod
    def train(self, first: int, images: int, passes: int) -> Trained:
        """Learn from images on the chip, which are there."""

    @abstractmethod
    def learning(self) -> LearningState:
        """What learning stands at."""

    @abstractmethod
    def rate(self, enabled: bool, margin: int, rates: tuple[int, ...]) -> None:
        """Set how it learns; the rates are in range."""

    @abstractmethod
    def masters(self, progress: Callable[[int, int], None]) -> MasterState:
        """All masters, unchanged while they are read."""

    @abstractmethod
    def load_masters(self, masters: MasterState, progress: Callable[[int, int], None]) -> None:
        """Go on from there; rows and numbers are in range."""

    @abstractmethod
    def close(self) -> None:
        """Release what was opened; nothing is called afterwards."""
