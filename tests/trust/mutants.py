"""`make mutants`: the campaign of mutants from the command line, and its report."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hw.contract.files import can_write, write_files, write_json
from hw.system.progress import teller
from tests.trust.campaign import ROOT, Campaign, Outcome, equivalents
from tests.trust.command import add_workers, guarded, say
from tests.trust.mutation import KINDS, Mutant
from tests.trust.own_tests import LEFT_OUT, own_tests

__all__ = ["main", "report"]

LISTED = Path(__file__).parent / "equivalents.toml"
OUTCOMES: tuple[str, ...] = ("killed", "hang", "memory", "survived", "equivalent")
AIM = 98.0
"""Per cent."""


def report(
    every: Sequence[Mutant],
    outcomes: Sequence[Outcome],
    listed: dict[str, str],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """What came of a campaign, as plain data; by file, by kind, and each survivor."""

    def figures(found: Sequence[Outcome], there: int) -> dict[str, Any]:
        counts = dict.fromkeys(OUTCOMES, 0)
        for outcome in found:
            counts[outcome.outcome] += 1
        tried = len(found) - counts["equivalent"]
        killed = sum(outcome.killed for outcome in found)
        rate = round(100 * killed / tried, 2) if tried else None
        return {"mutants": there, "tried": tried, "noticed": killed, **counts, "per_cent": rate}

    def part(key: str, value: str) -> dict[str, Any]:
        found = [o for o in outcomes if getattr(o.mutant, key) == value]
        return figures(found, sum(getattr(m, key) == value for m in every))

    files = sorted({mutant.path for mutant in every})
    by_line = sorted(outcomes, key=lambda o: (o.mutant.path, o.mutant.line, o.mutant.change))
    return {
        "settings": settings,
        "left_out": LEFT_OUT,
        "all": figures(outcomes, len(every)),
        "cpu_seconds": round(sum(o.seconds for o in outcomes), 1),
        "files": {name: part("path", name) for name in files},
        "tests": {name: [*own_tests(ROOT, name)] for name in files},
        "kinds": {kind: part("kind", kind) for kind in KINDS},
        "survivors": [
            {
                "at": f"{o.mutant.path}:{o.mutant.line}",
                "change": o.mutant.change,
                "kind": o.mutant.kind,
                "name": o.mutant.name,
                "by": o.by,
            }
            for o in by_line
            if o.outcome == "survived"
        ],
        "equivalents": [
            {
                "at": f"{o.mutant.path}:{o.mutant.line}",
                "change": o.mutant.change,
                "why": listed[o.mutant.name],
            }
            for o in by_line
            if o.outcome == "equivalent"
        ],
    }


def markdown(facts: dict[str, Any]) -> str:
    """The report for people."""
    total = facts["all"]
    rate = "none tried" if total["per_cent"] is None else f"{total['per_cent']} %"
    lines = [
        "# Mutants",
        "",
        f"{total['noticed']:,} of {total['tried']:,} mutants killed ({rate}), of "
        f"{total['mutants']:,} there are; {total['hang']} of them by a test that did not end, "
        f"{total['memory']} by memory. {total['survived']} survived, {total['equivalent']} are "
        "equivalent (below, with the reason) and were not tried.",
        "",
        "| file | mutants | tried | killed | survived | equivalent | killed, % |",
        "|---|---|---|---|---|---|---|",
    ]

    def row(name: str, part: dict[str, Any]) -> str:
        cells = (part["mutants"], part["tried"], part["noticed"], part["survived"])
        rate = "" if part["per_cent"] is None else part["per_cent"]
        return f"| {name} | {' | '.join(map(str, cells))} | {part['equivalent']} | {rate} |"

    lines += [row(name, part) for name, part in facts["files"].items()]
    lines += ["", "| kind | mutants | tried | killed | survived | equivalent | killed, % |"]
    lines += ["|---|---|---|---|---|---|---|"]
    lines += [row(name, part) for name, part in facts["kinds"].items()]
    lines += ["", "## Survivors", ""]
    lines += [f"- {s['at']}: `{s['change']}` ({s['kind']})" for s in facts["survivors"]]
    lines += ["" if facts["survivors"] else "None.", "## Equivalent", ""]
    lines += [f"- {e['at']}: `{e['change']}`: {e['why']}" for e in facts["equivalents"]]
    lines += ["", "## Left out", ""]
    lines += [f"- {name}: {why}" for name, why in facts["left_out"].items()]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run a campaign; returns the exit code: 0 where the aim is reached, 2 where it is not."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--minutes", type=float, help="for trying mutants; what is kept is free")
    parser.add_argument("--count", type=int, metavar="N", help="mutants to try")
    parser.add_argument("--seed", type=int, default=1, help="of their order (default 1)")
    parser.add_argument("--only", default="", metavar="PATH,..", help="beginnings of files")
    parser.add_argument("--without", default="", metavar="PATH,..", help="those left out")
    add_workers(parser)
    parser.add_argument("--out", type=Path, default=Path("build") / "mutants", metavar="FOLDER")
    args = parser.parse_args(arguments)
    return guarded("mutants", "what was tried", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    can_write(args.out / "report.json")
    listed = equivalents(LISTED)
    campaign = Campaign(
        out=args.out,
        seed=args.seed,
        only=_names(args.only),
        without=_names(args.without),
        count=args.count,
        minutes=args.minutes,
        workers=args.workers,
        scheduler=args.scheduler,
        listed=listed,
    )
    started = time.monotonic()
    every, outcomes = campaign.run(teller(say, sys.stderr))
    settings = {"seed": args.seed, "only": [*campaign.only], "without": [*campaign.without]}
    settings |= {"count": args.count}
    settings |= {"minutes": args.minutes, "seconds": round(time.monotonic() - started, 1)}
    facts = report(every, outcomes, listed, settings)
    write_json(args.out / "report.json", facts)
    text = markdown(facts)
    write_files(args.out, {"report.md": text})
    print(text.split("\n\n")[1])
    print(f"wrote {args.out / 'report.md'}, report.json")
    rate = facts["all"]["per_cent"]
    return 0 if rate is not None and rate >= AIM else 2


def _names(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


if __name__ == "__main__":
    sys.exit(main())
