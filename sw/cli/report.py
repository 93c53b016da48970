"""The command that makes a page of what a run left: `sterna report`."""

import argparse
import webbrowser
from pathlib import Path
from typing import Any

from hw.contract.files import can_write, read_json
from hw.contract.text import table
from hw.system.progress import Progress, under_way
from sw.cli.options import BUILD, Result

__all__ = ["add_report_command", "render", "report_or_none"]


def do_report(args: argparse.Namespace) -> Result:
    where = Path(args.folder) if args.folder else last_run()
    out = Path(args.out) if args.out else None
    if out is not None:
        can_write(out)
    page = render(where, args.say, out)
    if args.open:
        webbrowser.open(page.resolve().as_uri())
    size = page.stat().st_size
    rows = [("report of", where), ("page", page), ("size", f"{size:,} bytes, in one file")]
    return {"folder": str(where), "page": str(page), "bytes": size}, table(rows), 0


def render(where: Path, progress: Progress, out: Path | None = None) -> Path:
    """Write the page of a run; returns its path."""
    from sw.report.page import write_report

    with under_way(progress, "drawing the report"):
        return write_report(where, BUILD, out)


def report_or_none(where: Path, progress: Progress) -> Path | None:
    """The page of a run, where the packages of the extra `report` are there."""
    try:
        return render(where, progress)
    except ModuleNotFoundError:
        return None


def last_run() -> Path:
    """The folder of the last simulation."""
    from sw.report.run import ReportError

    file = BUILD / "sim" / "report.json"
    try:
        name = read_json(file, {"network": str})["network"]
    except (OSError, ValueError, RecursionError):
        raise ReportError(
            f"Folder {BUILD} has no simulation that has ended: sterna sim makes one"
        ) from None
    return BUILD / "sim" / name


def add_report_command(commands: Any) -> None:
    """Add the parser."""
    text = "make one page to look at of what sim, golden, bitstream, learn or explore left"
    sub = commands.add_parser("report", help=text, description=text)
    sub.set_defaults(handler=do_report)
    sub.add_argument(
        "folder",
        nargs="?",
        metavar="FOLDER",
        help="of sterna sim (default: of the last run), golden, bitstream, learn or explore, or "
        "the file NETWORK.json of sterna learn",
    )
    sub.add_argument("--open", action="store_true", help="show it in the browser")
    sub.add_argument("--out", metavar="FILE", help="page (default report.html in the folder)")
    sub.add_argument("--json", action="store_true", help="print the answer as JSON")
