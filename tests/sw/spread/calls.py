"""Jobs to be done: good ones, faulty ones, deadly ones."""

import json
import os
import random
import signal
import threading
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from gen.board.bitstream import TimingError
from hw.system.jobs import Jobs
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
    return {"n": n * n, "raw": bytes([n]), "shared": table[n] if table else None}


def deadly(n: int, mark: str, table: list[int]) -> dict:
    """A job that takes its worker with it, the first time."""
    if n == 2 and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"n": table[n]}


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


def leaves_files(n: int, log: str, folder: Path) -> dict:
    """A job that fills a folder, and is refused if it is the third."""
    (folder / "sub").mkdir(parents=True)
    (folder / "tool.log").write_text(f"wrote {folder}\n")
    (folder / "facts.json").write_text(json.dumps({"n": n, "at": f"{folder}/sub"}))
    if n == 3:
        (folder / "noise").write_bytes(random.Random(3).randbytes(100_000))
        raise TimingError(f"Job must be less than three: see {folder}/tool.log", 33.5)
    (folder / "sub" / "n").write_text(str(n))
    if log:
        with Path(log).open("a") as file:
            file.write(str(n))
    return {"n": n}


def jobs(function, count: int, shared: dict[str, str] | None = None, **more) -> list[Job]:
    return [
        Job(name=str(n), function=function, arguments={"n": n, **more}, shared=shared or {})
        for n in range(count)
    ]


def killed_once(target: str, mark: str, arguments: dict, **shared) -> dict:
    """Another function's job, whose worker is killed soon after it began, the first time."""
    first = not Path(mark).exists()
    if first:
        Path(mark).touch()
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()
    module, _, name = target.partition(":")
    result = getattr(import_module(module), name)(**arguments, **shared)
    if first:
        time.sleep(60)  # whose job was done sooner dies all the same
    return result


class Killing:
    """A runner (`hw.system.jobs.RunJobs`) of whose jobs the first loses its worker."""

    def __init__(self, run, mark: Path) -> None:
        self.run, self.mark = run, mark

    def __call__(self, jobs: Jobs):
        target = f"{jobs.function.__module__}:{jobs.function.__qualname__}"
        more = {"target": target, "mark": str(self.mark)}
        deadly = {name: {**more, "arguments": dict(given)} for name, given in jobs.calls.items()}
        return self.run(replace(jobs, function=killed_once, calls=deadly))
