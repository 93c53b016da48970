"""`sterna study bitstreams`: the bitstreams that boards get by default, under a lock.

`bitstreams.json`, beside this file, has for each board what goes into its default bitstream, by
hash, and what came of it after routing. Whatever changes the one must renew the other: a test
compares the hashes, without running a tool.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gen.board.bitstream import is_tight
from gen.board.boards import BOARDS, Board, BoardError, constraints, find_board
from gen.board.build import FINISHED, SYNTHESIS, build_board
from gen.board.files import generate_board
from gen.board.planner import BoardPlan, plan_board
from gen.family.tools import YOSYS, ToolError, package_version
from hw.contract.checks import SternaError
from hw.contract.files import write_json
from hw.contract.network import Network
from hw.contract.text import markdown, none_of
from hw.system.jobs import InTurn, Jobs, Result, RunJobs
from hw.system.process import fills_folder
from hw.system.progress import Progress, silent, under_way
from sw.data.evaluate import flowing_speed
from sw.data.shipped import model_path

__all__ = [
    "LOCK",
    "bitstreams_table",
    "build_job",
    "default_plan",
    "inputs",
    "own_lock",
    "read_lock",
    "study",
]

LOCK = Path(__file__).with_name("bitstreams.json")
"""{board: {"inputs": see `inputs`, "routed": what came of them}}."""

ROUTED = (
    "network",
    "layout",
    "asked_mhz",
    "fmax_mhz",
    "seed",
    "fmax_by_seed",
    "planned",
    "used",
    "cycles_per_image",
    "images_per_second",
    "bitstream_sha256",
    "seconds",
)
"""Of a build's report, what the lock keeps."""

INPUTS = "inputs"
"""Folder of a board's design, by which it is compared with the lock."""

OWNED = (
    *FINISHED,
    *(f"{SYNTHESIS}/{name}" for name in FINISHED),
    "rom/*.hex",
    "placeholder/rom/*.hex",
)
"""What a build removes that an earlier one left: a board that is refused has no bitstream."""

Facts = dict[str, Any]


def default_plan(board: Board) -> BoardPlan:
    """What `sterna bitstream --board NAME` builds."""
    return plan_board(board, Network.load(model_path(board.model)))


def inputs(plan: BoardPlan, folder: Path) -> dict[str, str]:
    """What goes into a board's bitstream, each part as SHA-256 or as text; the design is written
    to `folder`, and no tool is run.

    `verilog`, `contents` (of memories and flash), `constraints`, `flags` of the tools, with the
    clock asked, and `tools`: the packages of PyPI that this version names.

    Raises
    ------
    ToolError
        When one of them is missing.
    """
    tools = _tools(plan.board)
    facts = generate_board(plan.core, plan.spec, plan.board, folder)
    return _described(plan, facts, folder) | tools


def _tools(board: Board) -> dict[str, str]:
    flow = board.family.flow
    programs = {p.package: p for p in (YOSYS, flow.router, flow.packer)}
    tools = [f"{name} {package_version(programs[name])}" for name in sorted(programs)]
    return {"tools": ", ".join(tools)}


def _described(plan: BoardPlan, facts: Facts, folder: Path) -> dict[str, str]:
    """`inputs` but for tools, of a design that lies in the folder, by its manifest."""
    board, flow = plan.board, plan.board.family.flow
    contents = hashlib.sha256()
    for name in sorted(set(facts["files"]) - set(facts["sources"])):
        contents.update(name.encode() + (folder / name).read_bytes())
    tight = is_tight(board, plan.estimate.luts)
    synthesis = flow.tight if tight else flow.synthesis
    flags = [synthesis, *board.flags, *flow.router_flags, *flow.rip_up]
    flags += [*board.pack, *flow.pack_flags]
    if plan.finished and flow.finish is not None:
        flags.append(flow.finish.__name__)
    return {
        "verilog": facts["hardware"],
        "contents": contents.hexdigest(),
        "constraints": _sha(constraints(board)[1]),
        "flags": _sha(json.dumps([*flags, plan.spec.clock_hz])),
    }


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def own_lock(folder: Path) -> Path:
    """The lock to renew: of a checkout, the one that is part of it; of an installed package, which
    nobody writes to, one of its own in `folder`."""
    return LOCK if LOCK.parents[2].joinpath("pyproject.toml").is_file() else folder / LOCK.name


def read_lock(path: Path = LOCK) -> dict[str, Facts]:
    """The lock; empty when there is none.

    Raises
    ------
    SternaError
        When the file is not a lock.
    """
    if not path.is_file():
        return {}
    try:
        return {
            name: {k: dict(facts[k]) for k in ("inputs", "routed")}
            for name, facts in json.loads(path.read_text()).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SternaError(f"File {path} must be a lock of bitstreams, and is none") from None


@fills_folder
def study(
    folder: Path,
    boards: Sequence[str] = (),
    data: str | None = None,
    *,
    again: bool = False,
    lock: Path = LOCK,
    run: RunJobs | None = None,
    progress: Progress = silent,
) -> dict[str, Facts]:
    """Build the default bitstreams whose inputs are not those of the lock, and renew it after each.

    Parameters
    ----------
    folder
        A folder in it for each board.
    boards
        By name; all.
    data
        Where the data sets lie by which cycles an image are counted.
    again
        Build also what is as the lock has it.
    run
        Who builds, each board a job; None: one after the other. The lock is renewed here.

    Returns
    -------
    dict
        The lock.

    Raises
    ------
    BoardError, ToolError, TimingError
        As `gen.board.build.build_board`.
    """
    locked, run = read_lock(lock), run or InTurn(progress)
    names = boards or (*BOARDS,)
    for name in names:
        if name not in BOARDS:
            raise BoardError(none_of("Board", name, BOARDS, " to be under the lock"))
    plans, calls = dict[str, BoardPlan](), dict[str, Facts]()
    with under_way(progress, "boards compared with the lock", total=len(names)) as at:
        for n, name in enumerate(names, 1):
            plan = default_plan(find_board(name))
            now = inputs(plan, folder / name / INPUTS)
            if not again and name in locked and locked[name]["inputs"] == now:
                progress(f"{name}: as the lock has it")
            else:
                plans[name], calls[name] = plan, {"board": name, "now": now}
            at(n)

    def renew(name: str, routed: Result) -> None:
        nonlocal locked
        plan = plans[name]
        report = routed | flowing_speed(plan.core, plan.spec.clock_hz, data)
        routed = {key: report[key] for key in ROUTED if key in report}
        # Another may be new.
        locked = read_lock(lock) | {name: {"inputs": calls[name]["now"], "routed": routed}}
        write_json(lock, {board: locked[board] for board in BOARDS if board in locked})

    own = {name: folder / name for name in calls}
    run(Jobs("boards", build_job, calls, each=renew, folders=own, owned=OWNED))
    return locked


def build_job(board: str, now: Facts, folder: Path, progress: Progress = silent) -> Result:
    """A job: a board's default bitstream, built in a folder; of the report what the lock keeps.

    Parameters
    ----------
    now
        Its `inputs`, which must be the same here.

    Raises
    ------
    BoardError, ToolError, TimingError
        As of `study`, and for other inputs.
    """
    plan = default_plan(find_board(board))
    _require_same(board, _tools(plan.board), now)
    progress(f"{board}: {plan.core.facts()['layout']}, {plan.core.network.spec.name}")
    report = build_board(plan, folder, progress=progress)
    facts = json.loads((folder / "board.json").read_text())
    _require_same(board, _described(plan, facts, folder), now)
    return {key: report[key] for key in ROUTED if key in report}


def _require_same(board: str, mine: Facts, now: Facts) -> None:
    """What a worker builds must be what the lock is to have."""
    for key, value in mine.items():
        if value != now[key]:
            raise ToolError(f"A worker must make {board} with {key} {now[key]}, not {value}")


def bitstreams_table(locked: Mapping[str, Facts]) -> str:
    """Markdown, as docs/results.md has it: a column for each board."""
    columns = {name: facts["routed"] for name, facts in locked.items()}
    rows = {
        "network": lambda r: r["network"],
        "layout": lambda r: r["layout"],
        "look-up tables (iCE40: logic cells)": lambda r: _used(r, "luts"),
        "... as planned": lambda r: _planned(r, "luts"),
        "flip-flops": lambda r: f"{r['used']['ffs'][0]:,}",
        "block RAM": lambda r: _used(r, "brams"),
        "single-port RAM": lambda r: _used(r, "sprams"),
        "clock asked / after routing, MHz": lambda r: (
            f"{r['asked_mhz']:g} / **{r['fmax_mhz']:.2f}** (seed {r['seed']})"
        ),
        "cycles an image": lambda r: _counted(r, "cycles_per_image"),
        "images/s at the clock asked": lambda r: _counted(r, "images_per_second"),
        "synthesis / place and route / pack, s": lambda r: " / ".join(
            f"{seconds:.0f}" for seconds in r["seconds"].values()
        ),
    }
    return markdown(
        ("", *columns),
        ((what, *(told(routed) for routed in columns.values())) for what, told in rows.items()),
    )


def _counted(routed: Facts, what: str) -> str:
    """A figure over test images, which are not everywhere."""
    return f"{routed[what]:,}" if what in routed else "not counted: no data set"


def _used(routed: Facts, kind: str) -> str:
    there = routed["planned"][kind][1]
    return f"{routed['used'][kind]:,} of {there:,}" if there else "-"


def _planned(routed: Facts, kind: str) -> str:
    planned, used = routed["planned"][kind][0], routed["used"][kind]
    return f"{planned:,} ({100 * (planned - used) / used:+.0f} %)"
