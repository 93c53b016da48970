"""Files that take long to make, kept in the user's cache under what they were made of."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from hw.contract.files import cache_folder

__all__ = ["Cache"]

UNUSABLE = (OSError, RuntimeError)  # RuntimeError: a user without a home


class Cache:
    """A bounded number of files, each under a key; many processes may use it at once.

    A file is called KEY.DIGEST, of its bytes: one that is damaged is not used, and removed. A
    cache that cannot be read or written is none; nothing stops for it.

    Parameters
    ----------
    name
        Its folder, see `hw.contract.files.cache_folder`.
    files, size
        The files used last are kept, so many of them and so many bytes.
    """

    def __init__(self, name: str, *, files: int, size: int) -> None:
        self._name, self._files, self._size = name, files, size

    def has(self, key: str) -> bool:
        """Whether there is a file of a key; whether it is damaged, `fetch` will see."""
        with suppress(*UNUSABLE):
            return any(self._folder.glob(f"{key}.*"))
        return False

    def fetch(self, key: str, target: Path) -> bool:
        """Copy the file of a key, with its rights, if there is one."""
        with suppress(*UNUSABLE):
            for file in self._folder.glob(f"{key}.*"):
                data = file.read_bytes()
                if file.name != _name(key, data):
                    file.unlink(missing_ok=True)
                    continue
                _write(target, data, file.stat().st_mode)
                os.utime(file)
                return True
        return False

    def keep(self, key: str, source: Path) -> None:
        """Keep a copy of a file, with its rights."""
        with suppress(*UNUSABLE):
            data = source.read_bytes()
            self._folder.mkdir(parents=True, exist_ok=True)
            _write(self._folder / _name(key, data), data, source.stat().st_mode)
            self._prune()

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """Nobody else is in here with this key: who comes second finds what the first one made."""
        with ExitStack() as stack:
            with suppress(*UNUSABLE):
                self._folder.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context(open(self._folder / f"lock-{key[:2]}", "w"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @property
    def _folder(self) -> Path:
        return cache_folder(self._name)

    def _prune(self) -> None:
        kept = [(f.stat(), f) for f in self._folder.iterdir() if not f.name.startswith("lock-")]
        size = 0
        for n, (facts, file) in enumerate(sorted(kept, key=lambda f: f[0].st_mtime, reverse=True)):
            size += facts.st_size
            if n >= self._files or size > self._size:
                file.unlink(missing_ok=True)


def _name(key: str, data: bytes) -> str:
    return f"{key}.{hashlib.sha256(data).hexdigest()[:16]}"


def _write(path: Path, data: bytes, mode: int) -> None:
    """Atomically, so that it may be an executable that runs."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix="part-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
