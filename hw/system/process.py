"""Processes: programs that we start have an environment that is built, and end with us; a folder is
filled by one process at a time."""

import ctypes
import fcntl
import inspect
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from hw.contract.checks import SternaError

__all__ = [
    "PARENT",
    "FolderInUse",
    "built_environment",
    "claimed",
    "clean_environment",
    "end_with_parent",
    "ends_with_us",
    "fills_folder",
]

P = ParamSpec("P")
R = TypeVar("R")

KEPT = (
    "DYLD_LIBRARY_PATH",
    "HOME",
    "LANG",
    "LC_*",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "TEMP",
    "TERM",
    "TMP",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
    "YOWASP_*",
)
"""Variables, or patterns, of the caller that tools are given. No other reaches them: compilers,
make, Verilator, Yosys, cocotb and Python each read dozens, and what a user's shell has set for
another job would change ours."""

PARENT = "STERNA_PARENT"
"""Number of the process that a bench ends with."""

PR_SET_PDEATHSIG = 1


def clean_environment(**more: str) -> dict[str, str]:
    """The environment of a tool: of the caller's what is in `KEPT`, and `more`.

    Where the user's cache cannot be written, the tools, which keep compiled code there, get a
    folder for this process alone.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if any(fnmatchcase(name, pattern) for pattern in KEPT)
    }
    home = kept.get("XDG_CACHE_HOME") or str(Path(kept.get("HOME", "")) / ".cache")
    if not _writable(home):
        kept["XDG_CACHE_HOME"] = _own_cache().name
    return kept | more


@contextmanager
def built_environment(**more: str) -> Iterator[None]:
    """This process in such an environment, for libraries that start programs themselves."""
    saved = dict(os.environ)
    built = clean_environment(**more)
    try:
        os.environ.clear()
        os.environ.update(built)
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


def _writable(folder: str) -> bool:
    """Whether files can be made in a folder, which its first existing parent decides."""
    place = Path(folder)
    if not place.is_absolute():
        return False
    while not place.exists():
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


@cache
def _own_cache() -> "tempfile.TemporaryDirectory[str]":
    """Removed when this process ends."""
    return tempfile.TemporaryDirectory(prefix="sterna-cache-")


def ends_with_us() -> Callable[[], None] | None:
    """For `subprocess.Popen(preexec_fn=...)`: the kernel kills the program when this process is
    gone, however it ended. None where no kernel does that (all but Linux)."""
    if sys.platform != "linux":
        return None
    library, us = ctypes.CDLL(None), os.getpid()

    def before() -> None:
        library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != us:  # gone already
            os._exit(1)

    return before


def end_with_parent() -> None:
    """The same in a program that a library has started for us: it ends when the process named by
    `PARENT` has."""
    if sys.platform == "linux" and PARENT in os.environ:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(os.environ[PARENT]):
            os._exit(1)


class FolderInUse(SternaError, RuntimeError):
    """Another process fills the folder."""


_CLAIMED = threading.local()
"""What each thread has claimed."""


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """A folder that only this thread fills, made if need be, and removed again if nothing was put
    there; a claim within its own is harmless.

    The claim ends with the process, however that ends.

    Yields
    ------
    Path
        The folder, absolute.

    Raises
    ------
    FolderInUse
        When another one does.
    """
    folder = folder.resolve()
    mine: set[Path] = _CLAIMED.__dict__.setdefault("folders", set())
    if folder in mine:
        yield folder
        return
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(
                f"Folder {folder} is being filled by another run: wait for its end, or name "
                "another folder"
            ) from None
        except OSError:  # a file system without locks
            pass
        mine.add(folder)
        yield folder
    finally:
        mine.discard(folder)
        for place in made:
            with suppress(OSError):
                place.rmdir()  # if nothing has come into it
        os.close(handle)


def fills_folder(function: Callable[P, R]) -> Callable[P, R]:
    """A function whose argument `folder` is claimed while it runs; it raises `FolderInUse`, too."""
    signature = inspect.signature(function)

    @wraps(function)
    def alone(*args: P.args, **kwargs: P.kwargs) -> R:
        with claimed(Path(signature.bind(*args, **kwargs).arguments["folder"])):
            return function(*args, **kwargs)

    return alone
