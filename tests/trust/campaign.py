"""The campaign of mutants: each in a copy of the checkout, against its component's own tests; done
by processes of this machine or of a cluster (`sw.spread`), each once.

A result is kept under the hash of the mutated file, of its tests and of what tests share, that of
tests without a mutation under the hash of all they import. Changes elsewhere do not void it.
"""

import atexit
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hw.contract.checks import SternaError
from hw.system.process import ends_with_us
from hw.system.progress import Progress, silent, under_way
from sw.spread.engine import Pool
from sw.spread.store import Job, Result, Store
from tests.imports import imported
from tests.trust.mutation import Mutant, digest, mutants_of, sampled
from tests.trust.own_tests import components, own_tests

__all__ = ["Campaign", "CampaignError", "Outcome", "equivalents", "run_jobs"]

ROOT = Path(__file__).parents[2]
PARTS = ("hw", "gen", "sim", "sw", "tests", "sterna.py", "pyproject.toml", "docs", "examples")
COPIES = "sterna-mutants-"
"""How the folders of copies begin."""
RUNNER = Path(__file__).parent / "runner.py"

MORE_CPU = 5.0, 8.0
"""How often what it took before, and how many seconds more, a test may take of the processor."""


class CampaignError(SternaError):
    """A campaign that cannot be run."""


# A copy of the checkout, in each process that does jobs


class Workshop:
    """A copy of a checkout with the program that runs its tests."""

    def __init__(self, root: Path) -> None:
        _remove_orphans()
        self._folder = tempfile.TemporaryDirectory(prefix=f"{COPIES}{os.getpid()}-")
        self.home = Path(self._folder.name)
        self.root = self.home / "checkout"
        self.root.mkdir()
        for part in PARTS:
            source = root / part
            if source.is_dir():
                skipped = shutil.ignore_patterns("__pycache__", "build", ".hypothesis")
                shutil.copytree(source, self.root / part, ignore=skipped)
            elif source.is_file():
                shutil.copy(source, self.root / part)
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.root),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "TMPDIR": str(self.home / "tmp"),
            "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
        }
        (self.home / "tmp").mkdir()
        (self.home / "cache").mkdir()
        # Yosys as WebAssembly, compiled: it takes a minute, and is the same for everybody.
        there = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        for name in ("YoWASP", "wasmtime"):
            if (there / name).is_dir():
                (self.home / "cache" / name).symlink_to(there / name)
        self._server = subprocess.Popen(
            [sys.executable, str(RUNNER)],
            cwd=self.root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=ends_with_us(),
        )

    def tests(
        self, tests: Sequence[str], before: dict[str, float], *, limited: bool, log: str = ""
    ) -> Result:
        """Run tests until the first failure."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        request = {"tests": [*tests], "before": before, "limited": limited, "log": log}
        request["more"] = [*MORE_CPU]
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        if not answer:
            raise CampaignError("The program that runs tests has ended: is there memory enough?")
        shutil.rmtree(self.home / "tmp")
        (self.home / "tmp").mkdir()
        return json.loads(answer)

    def mutated(self, path: str, source: str) -> "_Mutated":
        """The copy with another file in place of one, while it is open."""
        return _Mutated(self.root / path, source)

    def close(self) -> None:
        """End the program, remove the copy."""
        self._server.kill()
        self._server.wait()
        for pipe in (self._server.stdin, self._server.stdout):
            if pipe is not None:
                pipe.close()
        self._folder.cleanup()


def _remove_orphans() -> None:
    """Copies of processes that have been killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{COPIES}*-*"):
        number = folder.name.removeprefix(COPIES).partition("-")[0]
        if number.isdecimal() and not Path(f"/proc/{number}").exists():
            shutil.rmtree(folder, ignore_errors=True)


class _Mutated:
    def __init__(self, file: Path, source: str) -> None:
        self._file, self._source, self._kept = file, source, file.read_bytes()

    def __enter__(self) -> None:
        self._write(self._source.encode())

    def __exit__(self, *_: object) -> None:
        self._write(self._kept)

    def _write(self, content: bytes) -> None:
        # Bytecode is taken for current by time and size, which may both be those of the original.
        for old in (self._file.parent / "__pycache__").glob(f"{self._file.stem}.*"):
            old.unlink()
        self._file.write_bytes(content)


@cache
def workshop(root: str) -> Workshop:
    """One of each process."""
    made = Workshop(Path(root))
    atexit.register(made.close)
    return made


# Jobs


def base_run(tests: list[str], sources: str, root: str) -> Result:
    """Tests without any mutation: what each takes. `sources` only tells runs apart."""
    del sources
    found = workshop(root).tests(tests, {}, limited=False)
    return {key: found[key] for key in ("outcome", "by", "tests", "seconds")}


def try_mutant(
    path: str,
    original: str,
    tests: list[str],
    tested_by: str,
    mutation: dict[str, Any],
    root: str,
    bases: dict[str, float],
) -> Result:
    """One mutant; `original` and `tested_by` are digests of its file and of its tests."""
    source = (Path(root) / path).read_text()
    if digest(source) != original:
        raise CampaignError(f"{path} has changed since the campaign began: start it anew")
    shop = workshop(root)
    with shop.mutated(path, Mutant(**mutation).apply(source)):
        files = tuple(f"{name}::" for name in tests)
        before = {name: took for name, took in bases.items() if name.startswith(files)}
        return shop.tests(tests, before, limited=True)


# The campaign


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: `killed`, `hang`, `memory` (both kill, too), `survived`, or
    `equivalent`, which was not tried."""

    mutant: Mutant
    outcome: str
    by: str = ""
    seconds: float = 0.0

    @property
    def killed(self) -> bool:
        """Whether a test has noticed."""
        return self.outcome in ("killed", "hang", "memory")


@dataclass(kw_only=True)
class Campaign:
    """What is to be done.

    Parameters
    ----------
    out
        Where results are kept (`results/`) and the report goes.
    seed
        Of the order in which mutants are taken.
    only
        Beginnings of the files to mutate; empty: all.
    without
        Beginnings of those that are left out of it.
    count, minutes
        Mutants to try, and time to try them in; None: no limit.
    workers, scheduler
        As of `sw.spread.engine.Pool`.
    root
        The checkout.
    """

    out: Path
    seed: int = 1
    only: Sequence[str] = ()
    without: Sequence[str] = ()
    count: int | None = None
    minutes: float | None = None
    workers: int | None = None
    scheduler: str | None = None
    root: Path = ROOT
    listed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.root / "tests").is_dir() or not (self.root / "pyproject.toml").is_file():
            raise CampaignError(
                "Mutants need a checkout of Sterna's repository, whose tests they are held against"
            )
        if self.count is not None and self.count < 1:
            raise CampaignError(f"Mutants to try must be a positive number, not {self.count}")
        if self.minutes is not None and not 0 < self.minutes < float("inf"):
            raise CampaignError(f"Minutes must be a positive number, not {self.minutes}")

    def files(self) -> list[str]:
        """Those that are mutated."""
        every = components(self.root)
        found = [name for name in every if not self.only or name.startswith(tuple(self.only))]
        found = [name for name in found if not name.startswith(tuple(self.without))]
        if not found:
            raise CampaignError("No file that is mutated has such a name")
        return found

    def mutants(self) -> list[Mutant]:
        """All there are of these files."""
        return [
            mutant
            for name in self.files()
            for mutant in mutants_of((self.root / name).read_text(), name)
        ]

    def run(self, progress: Progress = silent) -> tuple[list[Mutant], list[Outcome]]:
        """All mutants there are, and the outcomes of those that were tried, or are equivalent.

        Raises
        ------
        CampaignError
            When a component's tests fail without any mutation.
        SpreadError
            As of `Pool.run`.
        """
        started = time.monotonic()
        every = self.mutants()
        chosen = sampled(every, self.seed)[: self.count]
        outcomes = [Outcome(m, "equivalent") for m in chosen if m.name in self.listed]
        chosen = [m for m in chosen if m.name not in self.listed]
        tests = {name: own_tests(self.root, name) for name in {m.path for m in chosen}}
        outcomes += [Outcome(m, "survived", "no tests") for m in chosen if not tests[m.path]]
        chosen = [m for m in chosen if tests[m.path]]
        store = Store(self.out / "results")
        bases = self._bases(sorted({*tests.values()} - {()}), store, progress)
        jobs = {m.name: self._job(m, tests[m.path]) for m in chosen}
        shared = {"root": str(self.root), "bases": bases}
        until = None if self.minutes is None else started + 60 * self.minutes
        with Pool(self.workers, self.scheduler, shared) as pool:
            results = run_jobs(
                [*jobs.values()], store, pool, "mutants", until=until, progress=progress, tell=_tell
            )
        for mutant in chosen:
            found = results.get(jobs[mutant.name].key)
            if found is not None:
                outcomes.append(Outcome(mutant, found["outcome"], found["by"], found["seconds"]))
        return every, outcomes

    def _bases(
        self, sets: Sequence[tuple[str, ...]], store: Store, progress: Progress
    ) -> dict[str, float]:
        """What tests take without any mutation, in seconds of the processor; file by file."""
        jobs = {name: self._base_job(name) for name in sorted({name for s in sets for name in s})}
        with Pool(self.workers, self.scheduler, {"root": str(self.root)}) as pool:
            results = run_jobs(
                [*jobs.values()], store, pool, "files of tests as they are", progress=progress
            )
        bases: dict[str, float] = {}
        for job in jobs.values():
            found = results[job.key]
            if found["outcome"] != "survived":
                raise CampaignError(
                    f"Tests must pass before anything is mutated, not fail: {found['by']}"
                )
            bases |= found["tests"]
        return bases

    def _base_job(self, name: str) -> Job:
        sources = digest_of(_imported(self.root, self.root / name))
        return Job(
            name=name,
            function=base_run,
            arguments={"tests": [name], "sources": sources + self._tests_digest([name])},
            shared={"root": "checkout"},
        )

    def _job(self, mutant: Mutant, tests: tuple[str, ...]) -> Job:
        source = (self.root / mutant.path).read_text()
        return Job(
            name=f"{mutant.path}:{mutant.line} {mutant.change}",
            function=try_mutant,
            arguments={
                "path": mutant.path,
                "original": digest(source),
                "tests": [*tests],
                "tested_by": self._tests_digest(tests),
                "mutation": vars(mutant),
            },
            shared={"root": "checkout", "bases": "limits"},
        )

    def _tests_digest(self, tests: Sequence[str]) -> str:
        """Of tests, and of the modules that tests share."""
        return digest_of([*(self.root / name for name in tests), *_shared_by_tests(self.root)])


@cache
def _shared_by_tests(root: Path) -> list[Path]:
    files = sorted((root / "tests").glob("**/*.py"))
    return [f for f in files if not f.name.startswith("test_") and f.parent.name != "trust"]


def _imported(root: Path, test: Path) -> list[Path]:
    """Modules that a test imports, and those import, wherever in their files, with the rooms they
    lie in: of hardware, models and software. All of these where it, or one of them, starts
    programs, which may run any."""
    found, waiting = set[Path](), {test}
    while waiting:
        found |= waiting
        names = {name for file in waiting for name in imported(file)}
        waiting = {file for name in names for file in _files_of(root, name)} - found
    sources = {file for file in found if file.relative_to(root).parts[0] in PARTS[:4]}
    if any("subprocess" in imported(file) for file in (test, *sources)):
        sources = {file for part in PARTS[:4] for file in (root / part).glob("**/*.py")}
    return sorted(sources)


@cache
def _files_of(root: Path, name: str) -> list[Path]:
    """Of a dotted name: each part that is a module, or a package."""
    parts = name.split(".")
    places = [root.joinpath(*parts[: n + 1]) for n in range(len(parts))]
    files = [file for p in places for file in (p.with_suffix(".py"), p / "__init__.py")]
    return [file for file in files if file.is_file()]


@cache
def _digest_of_file(path: Path, size: int, changed: int) -> str:
    del size, changed
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest_of(files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for file in files:
        facts = file.stat()
        found.update(_digest_of_file(file, facts.st_size, facts.st_mtime_ns).encode())
    return found.hexdigest()


def _tell(job: Job, result: Result) -> str:
    return f"survived: {job.name}" if result["outcome"] == "survived" else ""


def run_jobs(
    jobs: Sequence[Job],
    store: Store,
    pool: Pool,
    what: str,
    *,
    until: float | None = None,
    progress: Progress = silent,
    tell: Callable[[Job, Result], str] = lambda job, result: "",
) -> dict[str, Result]:
    """Results by key of all jobs that are done, or that can be done until then (on
    `time.monotonic`); each is kept when it is there. As `sw.spread.engine.spread`, which does
    all."""
    found: dict[str, Result] = {}
    for job in jobs:
        kept = store.get(job.key)
        if kept is not None:
            found[job.key] = kept
    waiting = list({job.key: job for job in jobs if job.key not in found}.values())
    if found:
        progress(f"{len(found):,} of {len(found) + len(waiting):,} {what} were done before")
    if not waiting or (until is not None and time.monotonic() >= until):
        return found
    with under_way(progress, what, total=len(waiting)) as at:
        for n, (job, result) in enumerate(pool.run(waiting), 1):
            store.put(job.key, result)
            found[job.key] = result
            said = tell(job, result)
            at(n, said or (f"{what}: {n:,} of {len(waiting):,}" if n % 50 == 0 else ""))
            if until is not None and time.monotonic() >= until:
                break
    return found


def equivalents(path: Path) -> dict[str, str]:
    """Mutants that cannot be told from the original, by name, and why.

    Raises
    ------
    CampaignError
        When the file is of another form, or names one twice.
    """
    try:
        entries = tomllib.loads(path.read_text())["equivalent"]
        found: dict[str, str] = {}
        for entry in entries:
            for name in entry["mutants"]:
                if name in found or not entry["why"].strip():
                    raise CampaignError(f"{path.name} must name each mutant once, with a reason")
                found[name] = entry["why"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CampaignError(f"{path.name} must be a list of equivalent mutants: {error}") from None
    return found
