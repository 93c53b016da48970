"""Results of jobs, each under the hash of what it was: in a folder, one file each."""

import base64
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from hw.contract.files import write_atomically
from hw.contract.text import own_version
from hw.system.jobs import Result
from sw.spread.filled import fill

__all__ = ["Job", "Result", "Store"]

OURS = ("[0-9a-f]" * 64 + ".json", ".*.part")
"""Names of results, and of what was left of one when a process was killed in writing it."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A call that can be made anywhere.

    Parameters
    ----------
    name
        For people.
    function
        Of a module, by name; it returns a `Result`.
    arguments
        Plain JSON data, by name.
    shared
        Names of what all jobs are given once (`sw.spread.engine.spread`), passed on by name.
    fills
        Whether the function fills a folder, its argument `folder`.
    """

    name: str
    function: Callable[..., Result]
    arguments: Mapping[str, Any]
    shared: Mapping[str, str] = field(default_factory=dict)
    fills: bool = False

    @cached_property
    def key(self) -> str:
        """SHA-256 (hex) of what is called: function, its source and version, arguments; of what is
        shared its digest, which is the value in `shared`; whether there are files with its result.
        """
        what = {
            "function": f"{self.function.__module__}.{self.function.__qualname__}",
            "source": inspect.getsource(self.function),
            "version": own_version(),
            "arguments": dict(self.arguments),
            "shared": dict(self.shared),
            "fills": self.fills,
        }
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    @property
    def call(self) -> Callable[..., Result]:
        """What is called, with the arguments and what is shared, wherever it is done."""
        return partial(fill, self.function) if self.fills else self.function


class Store:
    """Results that there are.

    Parameters
    ----------
    folder
        Made where it is not there. Several processes may write to it at once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> Result | None:
        """A result; None: there is none, or it is damaged."""
        try:
            found = json.loads(self._file(key).read_bytes())
            text = json.dumps(found["result"], sort_keys=True)
            if found["sha256"] != hashlib.sha256(text.encode()).hexdigest():
                return None
            return _decoded(found["result"])
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def put(self, key: str, result: Result) -> None:
        """Keep a result."""
        encoded = _encoded(result)
        text = json.dumps(encoded, sort_keys=True)
        file = self._file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "result": encoded}
        write_atomically(file, json.dumps(kept).encode())

    def clear(self) -> None:
        """Remove all results, and the folder if there is nothing else in it: it lies where a user
        said, and may have been there before."""
        for place in self.folder.glob("[0-9a-f][0-9a-f]"):
            with suppress(OSError):
                for file in (found for name in OURS for found in place.glob(name)):
                    file.unlink()
                place.rmdir()
        with suppress(OSError):
            self.folder.rmdir()


def _encoded(value: Any) -> Any:
    """Plain JSON data, bytes as text."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: _encoded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(inner) for inner in value]
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"base64"}:
            return base64.b64decode(value["base64"])
        return {key: _decoded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_decoded(inner) for inner in value]
    return value
