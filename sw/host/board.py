"""One class for every board, and for the golden model: `open_board(url)`.

    with open_board("golden:mnist-dense") as board:
        classes = board.classify(images)

Nothing here returns a wrong answer: whatever is odd raises an error of `sw.host.errors`, and what
does not fit the network raises `InputError`.
"""

import operator
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.contract.checks import InputError
from hw.system.progress import Progress, silent
from sw.host.address import Clock, open_backend
from sw.host.backend import Backend
from sw.host.errors import CannotLearn, ConnectionFailed, WeightsMissing
from sw.host.identity import Identity
from sw.host.learning import LearningState, MasterState, Trained
from sw.host.protocol import Counters, Result

__all__ = ["Board", "Counted", "open_board"]

READY_TIMEOUT = 1.0
"""Seconds: the largest flash image that a board reads takes a quarter of one."""

Counted = Callable[[int, int], None]
"""Called with the images, or rows, done, and those in all."""


class Board:
    """A network that answers: hardware, its simulation, or the golden model. A context manager.

    Parameters
    ----------
    backend
        Asked at once what it is; closed by `close`.
    clock
        The seconds that `wait_ready` counts.
    """

    def __init__(self, backend: Backend, clock: Clock = time.monotonic) -> None:
        self._open: Backend | None = backend
        self._clock = clock
        self._identity = backend.identify()

    def __enter__(self) -> "Board":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _backend(self) -> Backend:
        if self._open is None:
            raise ConnectionFailed("The board is closed")
        return self._open

    def close(self) -> None:
        """Close the board. Closing again is harmless; everything else raises from now on."""
        backend, self._open = self._open, None
        if backend is not None:
            backend.close()

    def identify(self) -> Identity:
        """What the board is, asked anew."""
        self._identity = self._backend.identify()
        return self._identity

    def wait_ready(self, timeout: float | None = None) -> Identity:
        """What the board is, when its weights are there: at once, or when it has read its flash.

        Parameters
        ----------
        timeout
            Longest wait in seconds (of a simulation, simulated ones), by default 1; 0: ask once.

        Raises
        ------
        WeightsMissing
            When the board could not read its weights, or they are not there in time.
        """
        timeout = READY_TIMEOUT if timeout is None else timeout
        end = self._clock() + timeout
        while not (identity := self.identify()).ready:
            if identity.weights_failed:
                raise WeightsMissing(
                    "The board could not read its weights: its flash must hold the image that "
                    "belongs to its bitstream"
                )
            if self._clock() >= end:
                raise WeightsMissing(f"The weights of the board were not there in {timeout:g} s")
        return identity

    def infer(self, image: npt.ArrayLike) -> Result:
        """Run one image (pixels,), or one recording (steps * pixels,).

        Raises
        ------
        InputError
            When the image does not fit the network.
        HostError
            When the board cannot be used or answers anything but a sound result.
        """
        backend = self._backend
        array = _as_array(image, "Image")
        if array.ndim != 1:
            raise InputError(
                f"Image must have shape ({self._identity.pixels},), not {tuple(array.shape)}"
            )
        return backend.infer(_check_pixels(array[None], self._identity)[0])

    def run(self, events: Iterable[tuple[int, int]]) -> Result:
        """Run one image given as address events: (pixel, magnitude) pairs in any order, each pixel
        at most once; pixels without an event are 0. Raises as `infer` does."""
        backend = self._backend
        return backend.infer(_from_events(events, self._identity))

    def classify(
        self, images: npt.ArrayLike, progress: Counted = lambda done, total: None
    ) -> npt.NDArray[np.int64]:
        """Classes (n,) of images or recordings (n, pixels), all checked before the first runs.
        Raises as `infer` does; `counters` are then the last image's."""
        backend = self._backend
        pixels = _check_pixels(_as_array(images, "Images"), self._identity)
        classes = np.zeros(len(pixels), dtype=np.int64)
        for n, image in enumerate(pixels):
            classes[n] = backend.infer(image).label
            progress(n + 1, len(pixels))
        return classes

    @property
    def _learner(self) -> Backend:
        backend = self._backend
        if not self._identity.learns:
            raise CannotLearn("The board's core does not learn: its network must have a learning")
        return backend

    def learn(
        self,
        images: npt.ArrayLike,
        labels: npt.ArrayLike,
        progress: Counted = lambda done, total: None,
    ) -> list[Result]:
        """Learn from images (n, pixels) with labels (n,), all checked before the first is sent.
        Results tell of each whether it was learned, and how many had been then. Whatever breaks it
        off, a sample is learned as a whole, once or not at all; `learning` says how many were.

        Raises
        ------
        CannotLearn
            When the board does not learn.
        InputError
            When images or labels do not fit the network.
        HostError
            When the board cannot be used or answers anything but a sound result.
        """
        backend = self._learner
        pixels = _check_pixels(_as_array(images, "Images"), self._identity)
        classes, wanted = self._identity.classes, np.asarray(labels)
        if wanted.shape != (len(pixels),) or (wanted.size and wanted.dtype.kind not in "iu"):
            raise InputError(f"Labels must be integers of shape ({len(pixels)},)")
        if wanted.size and not 0 <= int(wanted.min()) <= int(wanted.max()) < classes:
            raise InputError(f"Labels must lie in 0..{classes - 1}")
        results = []
        for n, image in enumerate(pixels):
            results.append(backend.learn(image, int(wanted[n])))
            progress(n + 1, len(pixels))
        return results

    def train(
        self,
        passes: int = 1,
        *,
        first: int = 0,
        count: int | None = None,
        progress: Counted = lambda done, total: None,
    ) -> list[Trained]:
        """Learn from the labelled images that are on the chip, at its full speed: from number
        `first` on, `count` of them (default: all that follow), pass after pass; what came of each
        pass. With learning off it says how many are right. Raises as `learn` does."""
        backend = self._learner
        there = backend.learning().samples
        wanted = there - first if count is None else count
        if not there:
            raise CannotLearn("The board has no images on its chip to learn from")
        if passes < 1 or first < 0 or wanted < 1 or first + wanted > there:
            raise InputError(
                f"Images to learn from must be some of the {there} on the chip, in one pass or "
                f"more, not {wanted} from number {first} on in {passes}"
            )
        done = []
        for n in range(passes):
            done.append(backend.train(first, wanted, 1))
            progress(n + 1, passes)
        return done

    def learning(self) -> LearningState:
        """What learning stands at. Raises as `learn` does."""
        return self._learner.learning()

    def rate(
        self,
        *,
        enabled: bool | None = None,
        margin: int | None = None,
        rates: Sequence[int] | None = None,
    ) -> LearningState:
        """Set how the board learns; what is not given stays. Raises as `learn` does."""
        backend = self._learner
        now = backend.learning()
        k = now.rates if rates is None else tuple(int(rate) for rate in rates)
        if len(k) != len(now.rates) or not all(now.lowest <= rate <= now.highest for rate in k):
            raise InputError(
                f"Rates must be {len(now.rates)} in {now.lowest}..{now.highest}, not {list(k)}"
            )
        mu = now.margin if margin is None else int(margin)
        if not 0 <= mu < 2**32:
            raise InputError(f"Margin must lie in 0..{2**32 - 1}, not be {mu}")
        backend.rate(now.enabled if enabled is None else bool(enabled), mu, k)
        return backend.learning()

    def masters(self, progress: Counted = lambda done, total: None) -> MasterState:
        """All masters, the random word and the count, to save. Raises as `learn` does."""
        return self._learner.masters(progress)

    def load_masters(
        self, masters: MasterState, progress: Counted = lambda done, total: None
    ) -> None:
        """Go on from masters that were saved. Broken off, it leaves some rows of each: load again.
        Raises as `learn` does."""
        backend = self._learner
        now = backend.learning()
        rows, shape = np.asarray(masters.rows), (now.rows, self._identity.lanes)
        if rows.shape != shape or rows.dtype.kind not in "iu":
            raise InputError(f"Rows of masters must be integers of shape {shape}")
        low, high = now.master_limits
        outside = np.argwhere((rows < low) | (rows > high))
        if len(outside):
            n, lane = map(int, outside[0])
            raise InputError(
                f"Masters must lie in {low}..{high}, not be {rows[n, lane]} as in row {n}, lane "
                f"{lane}"
            )
        if not 1 <= masters.random < 2**32 or not 0 <= masters.count < 2**32:
            raise InputError("Random word and count must be numbers of 32 bits, the first not 0")
        backend.load_masters(
            MasterState(
                rows=rows.astype(np.int64), random=int(masters.random), count=int(masters.count)
            ),
            progress,
        )

    def counters(self) -> Counters:
        """Of the last run; DeviceError NO_RESULT when there is none since opening, reset or a
        run that failed."""
        return self._backend.counters()

    def reset(self) -> None:
        """Forget image and result."""
        self._backend.reset()


def open_board(
    url: str, *, timeout: float | None = None, retries: int = 0, progress: Progress = silent
) -> Board:
    """Open a board by its address.

    Parameters
    ----------
    url
        `golden:MODEL[?lanes=N&banks=N&samples=N&readout=only]`, `sim:BOARD[?model=MODEL]`,
        `sim:BOARD?learn=MODEL[&lanes=N&samples=N&readout=only]` or `serial:PORT[?baud=N]`. A MODEL
        is a shipped network or the path of a network file; of a core that learns, a preset of
        `sterna learn` too, which starts from noise. `samples` training images lie on the chip, or
        all. `readout=only`: the readout learns behind a network's layers, which stay as they are.
    timeout
        Longest wait for an answer, in seconds besides the time on the wire: by default 2, and for
        a simulation 0.05 *simulated* seconds.
    retries
        How often an exchange that was lost on its way (LinkTimeout, DamagedReply, DeviceError of
        the transport) is repeated from its beginning; 0: such a fault raises at once.
    progress
        Receives a line when something that takes long begins.

    Raises
    ------
    UrlError
        When the address, its options, the time-out or the retries make no sense.
    ConnectionFailed, LinkTimeout, DamagedReply, ProtocolMismatch
        When there is no such board, or none that answers soundly.
    SternaError
        When the model or the simulation cannot be used.
    """
    backend, clock = open_backend(url, timeout, retries, progress)
    try:
        return Board(backend, clock)
    except BaseException:
        backend.close()
        raise


def _as_array(values: npt.ArrayLike, what: str) -> npt.NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        raise InputError(f"{what} must be an array of integers") from None
    if array.dtype.kind not in "iu":
        raise InputError(f"Pixels must be integers, not {array.dtype}")
    return array


def _check_pixels(array: npt.NDArray[Any], identity: Identity) -> npt.NDArray[np.uint8]:
    """Pixels as uint8, checked as `GoldenModel.check_pixels` does, by what the board says of
    itself."""
    if array.ndim != 2 or array.shape[1] != identity.pixels:
        raise InputError(f"Images must have shape (n, {identity.pixels}), not {tuple(array.shape)}")
    top = 2**identity.input_bits - 1
    if array.size and (int(array.min()) < 0 or int(array.max()) > top):
        raise InputError(
            f"Pixels must lie in 0..{top}, not reach {int(array.min())}..{int(array.max())}"
        )
    return array.astype(np.uint8)


def _from_events(events: Iterable[tuple[int, int]], identity: Identity) -> npt.NDArray[np.uint8]:
    pixels = np.zeros(identity.pixels, dtype=np.uint8)
    top = 2**identity.input_bits - 1
    try:
        for event in events:
            index, magnitude = (_integer(number) for number in event)
            if not 0 <= index < identity.pixels or not 1 <= magnitude <= top:
                raise InputError(
                    f"Event must be a pixel below {identity.pixels} and a magnitude in "
                    f"1..{top}, not {event!r}"
                )
            if pixels[index]:
                raise InputError(f"Events must name a pixel once: {index} comes twice")
            pixels[index] = magnitude
    except InputError:
        raise
    except (TypeError, ValueError):
        raise InputError("Events must be pairs (pixel, magnitude) of integers") from None
    return pixels


def _integer(number: Any) -> int:
    if isinstance(number, bool | np.bool_):
        raise TypeError
    return operator.index(number)
