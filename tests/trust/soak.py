"""`make soak`: random networks, damaged frames and hostile files for a given time, and a report of
what was wrong; every case by its number, with the command that makes it again."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hw.contract.checks import SternaError
from hw.contract.files import can_write, write_files, write_json
from hw.system.progress import Progress, silent, teller
from sw.spread.engine import Pool
from sw.spread.store import Job, Result, Store
from sw.verify.fault_trials import TRIES
from tests.trust import drawn, files, frames
from tests.trust.campaign import PARTS, ROOT, digest_of, run_jobs
from tests.trust.command import add_workers, guarded, say
from tests.trust.targets import TARGETS

__all__ = ["PARTS_OF", "Soak", "SoakError", "main", "replayed", "report"]


class SoakError(SternaError):
    """A soak that cannot be run."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a soak.

    Parameters
    ----------
    block
        Does a block of cases.
    kinds
        What its cases are of, in turn.
    size
        Cases of a block.
    most
        Cases, unless more are asked for; None: as many as there is time for.
    share
        Of the time.
    """

    block: Callable[..., Result]
    kinds: Sequence[str]
    size: int
    most: int | None
    share: float


PARTS_OF: dict[str, Part] = {
    "torch": Part(block=drawn.block, kinds=("torch",), size=100, most=10_000, share=0.1),
    "frames": Part(block=frames.block, kinds=("frames",), size=500, most=10_000, share=0.3),
    "rtl": Part(block=drawn.block, kinds=("rtl",), size=10, most=None, share=0.3),
    "files": Part(block=files.block, kinds=tuple(TARGETS), size=100, most=None, share=0.3),
}
"""By name, in the order in which they are done. What one leaves of its time the next ones have."""

ENDLESS = 1_000_000
"""Cases of a part that has no most."""


@dataclass(kw_only=True)
class Soak:
    """What is to be done.

    Parameters
    ----------
    out
        Where results are kept (`results/`), cases that fail (`cases/`) and the report.
    minutes, seed
        For all parts together; of all that is drawn.
    only
        Names of `PARTS_OF`, or of a kind of file (`files:nir`).
    count
        Cases of each part, in place of its most.
    workers, scheduler
        As of `sw.spread.engine.Pool`.
    """

    out: Path
    minutes: float = 60.0
    seed: int = 1
    only: Sequence[str] = ()
    count: int | None = None
    workers: int | None = None
    scheduler: str | None = None
    parts: Mapping[str, Part] = field(default_factory=lambda: PARTS_OF)

    def __post_init__(self) -> None:
        if not 0 < self.minutes < float("inf"):
            raise SoakError(f"Minutes must be a positive number, not {self.minutes}")
        if not 0 <= self.seed < 2**31:
            raise SoakError(f"Seed must be a number from 0 to 2^31 - 1, not {self.seed}")
        if self.count is not None and self.count < 1:
            raise SoakError(f"Cases must be a positive number, not {self.count}")
        for name in self.only:
            part, _, kind = name.partition(":")
            if part not in self.parts or (kind and kind not in self.parts[part].kinds):
                known = ", ".join(self.parts)
                raise SoakError(f"Parts must be of {known}, files:KIND, not {name!r}")

    def chosen(self) -> dict[str, Part]:
        """Parts to do, with their kinds."""
        if not self.only:
            return dict(self.parts)
        found: dict[str, Part] = {}
        for name, part in self.parts.items():
            kinds = [one.partition(":")[2] for one in self.only if one.partition(":")[0] == name]
            if kinds:
                narrow = part.kinds if "" in kinds else tuple(kinds)
                found[name] = Part(**{**vars(part), "kinds": narrow})
        return found

    def jobs(self, part: Part, tested_by: str) -> Iterator[Job]:
        """Blocks of a part, one of each kind in turn."""
        most = self.count or part.most or ENDLESS
        for first in range(0, -(-most // len(part.kinds)), part.size):
            count = min(part.size, -(-most // len(part.kinds)) - first)
            for kind in part.kinds:
                yield Job(
                    name=f"{kind} from {first}",
                    function=part.block,
                    arguments={
                        "kind": kind,
                        "seed": self.seed,
                        "first": first,
                        "count": count,
                        "tested_by": tested_by,
                    },
                )

    def run(self, progress: Progress = silent) -> dict[str, list[tuple[Job, Result]]]:
        """All blocks that are done, by part.

        Raises
        ------
        SpreadError
            As of `Pool.run`.
        """
        started, parts = time.monotonic(), self.chosen()
        store, tested_by = Store(self.out / "results"), sources_digest()
        total = sum(part.share for part in parts.values())
        spent, done = 0.0, dict[str, list[tuple[Job, Result]]]()
        with Pool(self.workers, self.scheduler) as pool:
            for name, part in parts.items():
                spent += part.share / total
                until = started + 60 * self.minutes * spent
                done[name] = []
                jobs = self.jobs(part, tested_by)
                while group := [job for _, job in zip(range(200), jobs, strict=False)]:
                    found = run_jobs(
                        group, store, pool, f"blocks of {name}", until=until, progress=progress
                    )
                    done[name] += [(job, found[job.key]) for job in group if job.key in found]
                    if len(found) < len(group):
                        break
        return done


def sources_digest() -> str:
    """Of all sources, and of what this package draws with: another version is tried anew."""
    folders = [sorted((ROOT / part).glob("**/*.py")) for part in PARTS[:4]]
    shared = [p for p in sorted((ROOT / "tests").glob("**/*.py")) if not p.name.startswith("test_")]
    return digest_of([file for folder in folders for file in folder] + shared)


def cases(part: str, job: Job, result: Result) -> list[dict[str, Any]]:
    """What failed in a block, each with the command that makes it again."""
    kind, seed, first = (job.arguments[name] for name in ("kind", "seed", "first"))
    again = f".venv/bin/python -m tests.trust.soak --replay {kind}:{seed}:"
    if part == "frames":
        if not result["wrong"]:
            return []
        whole = f"{again}{first}:{result['frames']}"
        return [
            {"kind": kind, "what": result["wrong"], "details": result["details"], "again": whole}
        ]
    found = result["faults"] if part == "files" else result["wrong"]
    return [{"kind": kind, **one, "again": f"{again}{one['number']}"} for one in found]


def replayed(what: str) -> dict[str, Any]:
    """A case once more: `KIND:SEED:NUMBER`, of frames `frames:SEED:FIRST:COUNT`.

    Raises
    ------
    SoakError
        When there is none of that name.
    """
    kind, *numbers = what.split(":")
    if not all(number.isdecimal() for number in numbers) or len(numbers) != 2 + (kind == "frames"):
        raise SoakError(f"Case must be KIND:SEED:NUMBER, or frames:SEED:FIRST:COUNT, not {what!r}")
    seed, number, *more = map(int, numbers)
    if kind in drawn.KINDS:
        return drawn.one(kind, seed, number)
    if kind == "frames":
        return frames.block(kind, seed, number, more[0], "")
    if kind not in TARGETS:
        known = ", ".join((*drawn.KINDS, "frames", *TARGETS))
        raise SoakError(f"Kind of a case must be one of {known}, not {kind!r}")
    return files.block(kind, seed, number, 1, "")


def report(done: Mapping[str, list[tuple[Job, Result]]], settings: Mapping[str, Any]) -> Any:
    """What came of a soak, as plain data."""
    facts: dict[str, Any] = {"settings": dict(settings), "wrong": 0, "cases": []}
    for name, blocks in done.items():
        found = [case for job, result in blocks for case in cases(name, job, result)]
        facts["wrong"] += len(found)
        facts["cases"] += found
        seconds = round(sum(result["seconds"] for _, result in blocks), 1)
        if name == "files":
            kinds: dict[str, Counter[str]] = {}
            for job, result in blocks:
                kinds.setdefault(job.arguments["kind"], Counter()).update(result["counts"])
            total = sum(kinds.values(), Counter())
            facts[name] = {
                "files": sum(result["files"] for _, result in blocks) - total["none"],
                "counts": dict(total),
                "kinds": {kind: dict(count) for kind, count in kinds.items()},
                "seconds": seconds,
                "wall": round(sum(result["wall"] for _, result in blocks), 1),
            }
        elif name == "frames":
            sums = {
                key: dict(sum((Counter(r[key]) for _, r in blocks), Counter()))
                for key in ("outcomes", "errors", "raised")
            }
            facts[name] = {
                "frames": sum(result["frames"] for _, result in blocks),
                **sums,
                "recovered": [sum(r["recovered"][n] for _, r in blocks) for n in range(TRIES)],
                "cycles": sum(result["cycles"] for _, result in blocks),
                "seconds": seconds,
            }
        else:
            facts[name] = {
                "networks": sum(result["networks"] for _, result in blocks),
                "values": sum(result["values"] for _, result in blocks),
                "seconds": seconds,
            }
    return facts


def lines_of(facts: Mapping[str, Any]) -> list[str]:
    """The report for people."""
    lines = []
    for name, what in (("torch", "golden model and torch"), ("rtl", "hardware and golden model")):
        if name in facts:
            one = facts[name]
            lines.append(
                f"{what}: {one['networks']:,} networks, {one['values']:,} values compared, "
                f"{one['seconds']:,} s of one core"
            )
    if "frames" in facts:
        one = facts["frames"]
        told = ", ".join(f"{n:,} {name}" for name, n in one["outcomes"].items())
        lines.append(f"damaged frames: {one['frames']:,} ({told}), {one['seconds']:,} s")
    if "files" in facts:
        one = facts["files"]
        told = ", ".join(f"{n:,} {name}" for name, n in sorted(one["counts"].items()))
        lines.append(f"hostile files: {one['files']:,} ({told}), {one['seconds']:,} s of one core")
    lines.append(f"wrong: {facts['wrong']}")
    lines += [f"  {case['kind']}: {case['again']}" for case in facts["cases"][:20]]
    return lines


def keep_cases(out: Path, found: Sequence[Mapping[str, Any]]) -> None:
    """Each case that failed as a file: the hostile one itself, and what was wrong with it."""
    for case in found:
        name = f"{case['kind']}-{case['again'].rpartition(' ')[2].replace(':', '-')}"
        written: dict[str, str | bytes] = {f"{name}.json": json.dumps(dict(case), indent=1) + "\n"}
        if case["kind"] in TARGETS:
            kind, seed, number = case["again"].rpartition(" ")[2].split(":")
            data = files.hostile_file(kind, int(seed), int(number))
            written[f"{name}{TARGETS[kind].suffix}"] = data
        write_files(out / "cases", written)


def main(arguments: list[str] | None = None) -> int:
    """Run a soak; returns the exit code: 2 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="default 60")
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn (default 1)")
    kinds = f"parts: {', '.join(PARTS_OF)}, files:KIND ({', '.join(TARGETS)})"
    parser.add_argument("--only", default="", metavar="PART,..", help=kinds)
    parser.add_argument("--count", type=int, metavar="N", help="cases of each part")
    add_workers(parser)
    parser.add_argument("--out", type=Path, default=Path("build") / "soak", metavar="FOLDER")
    parser.add_argument("--replay", metavar="CASE", help="one case again, as a report names it")
    args = parser.parse_args(arguments)
    return guarded("soak", "what was done", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    if args.replay:
        print(json.dumps(replayed(args.replay), indent=1))
        return 0
    can_write(args.out / "report.json")
    soak = Soak(
        out=args.out,
        minutes=args.minutes,
        seed=args.seed,
        only=tuple(part for part in args.only.split(",") if part),
        count=args.count,
        workers=args.workers,
        scheduler=args.scheduler,
    )
    started = time.monotonic()
    done = soak.run(teller(say, sys.stderr))
    settings = {"seed": args.seed, "minutes": args.minutes, "only": [*soak.only]}
    facts = report(done, settings | {"took": round(time.monotonic() - started, 1)})
    write_json(args.out / "report.json", facts)
    keep_cases(args.out, facts["cases"])
    print("\n".join(lines_of(facts)))
    print(f"wrote {args.out / 'report.json'}")
    return 2 if facts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
