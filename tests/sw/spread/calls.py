"""Jobs to be done: good ones, faulty ones, deadly ones."""

import os
import signal
import time
from pathlib import Path

from sw.spread.engine import Pool
from sw.spread.engine import spread as spread_on
from sw.spread.store import Job


def spread(jobs, store, *, workers=None, scheduler=None, shared=None):
    """All of it in a pool of its own."""
    with Pool(workers, scheduler, shared) as pool:
        return spread_on(jobs, store, pool)


def square(n: int, log: str = "", table: list[int] | None = None) -> dict:
    """A job: what it was given, squared; it says that it ran."""
    if log:
        with Path(log).open("a") as file:
            file.write(f"{n}\n")
    return {"n": n * n, "raw": bytes([n]), "shared": table and table[n]}


def deadly(n: int, mark: str) -> dict:
    """A job that takes its worker with it, the first time."""
    if n == 2 and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"n": n}


def always_deadly() -> dict:
    """A job that no worker survives."""
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def faulty(n: int) -> dict:
    """A job that fails."""
    if n == 3:
        raise ValueError("three is too much")
    return {"n": n}


def slow(n: int, log: str) -> dict:
    """A job that takes a while."""
    time.sleep(0.2)
    return square(n, log)


def jobs(function, count: int, shared: dict[str, str] | None = None, **more) -> list[Job]:
    return [
        Job(name=str(n), function=function, arguments={"n": n, **more}, shared=shared or {})
        for n in range(count)
    ]
