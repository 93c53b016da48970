"""Several seeds at once: which is kept, and what is said where none is (nextpnr: the tests of
`gen.board.bitstream`, and `tests/sw/spread/test_kinds.py`)."""

from pathlib import Path

import pytest

from gen.board.bitstream import SPARE_SEEDS, PlacementError
from gen.board.boards import BOARDS
from gen.board.seeds import Design, route_seed, route_seeds
from gen.family.tools import ToolError
from hw.system.jobs import Jobs
from hw.system.progress import silent

BOARD = BOARDS["tang_nano_9k"]


def facts(megahertz: float) -> dict:
    return {"fmax": {"clk": {"achieved": megahertz, "constraint": 27.0}}}


def routed(folder: Path, answers: dict, seeds: range = range(1, 4)):
    """`route_seeds` with a runner that has the answers; and the seeds that it was asked for."""
    folder.mkdir(exist_ok=True)
    (folder / "netlist.json").write_text("{}")
    asked = []

    def run(jobs: Jobs):
        assert jobs.function is route_seed
        assert isinstance(jobs.shared["design"][1], Design)
        assert jobs.shared["design"][1].files["netlist.json"] == b"{}"
        asked.extend(call["seed"] for call in jobs.calls.values())
        return [answers.get(call["seed"], unplaced()) for call in jobs.calls.values()]

    found = route_seeds(BOARD, BOARD.family.flow, folder, 27.0, seeds, 0, silent, run=run)
    return found, asked


def placed(megahertz: float, text: bytes = b"") -> dict:
    more = {"routed": text, "log": b"log of " + text}
    return {"facts": facts(megahertz), "refused": "", "placed": True, **more}


def unplaced() -> dict:
    return {"facts": None, "refused": "no place", "placed": False, "log": b""}


def test_the_fastest_is_kept(tmp_path: Path) -> None:
    answers = {1: placed(30, b"one"), 2: placed(50, b"two"), 3: placed(40, b"three")}
    (best, seed, every), asked = routed(tmp_path, answers)
    assert (best, seed, asked) == (facts(50), 2, [1, 2, 3])
    assert every == {1: facts(30), 2: facts(50), 3: facts(40)}
    assert (tmp_path / BOARD.family.flow.routed).read_bytes() == b"two"
    assert (tmp_path / "nextpnr.log").read_bytes() == b"log of two"


def test_where_there_is_no_place_others_are_tried(tmp_path: Path) -> None:
    (_, seed, every), asked = routed(tmp_path, {2: placed(30)})
    assert (seed, [*every], asked) == (2, [2], [1, 2, 3])
    (_, seed, every), asked = routed(tmp_path, {5: placed(30), 7: placed(31)})
    assert (seed, [*every]) == (7, [5, 7])
    assert asked == [*range(1, 4 + SPARE_SEEDS)]
    with pytest.raises(PlacementError, match="no place"):
        routed(tmp_path, {})


def test_a_design_that_is_refused(tmp_path: Path) -> None:
    no = {"facts": None, "refused": "too large (see nextpnr.log)", "placed": True, "log": b"why"}
    with pytest.raises(ToolError) as refused:
        routed(tmp_path, {1: placed(30), 2: no})
    assert str(refused.value) == f"too large (see {tmp_path / 'nextpnr.log'})"
    assert (tmp_path / "nextpnr.log").read_bytes() == b"why"


def test_a_worker_with_another_router(tmp_path: Path) -> None:
    design = Design(board=BOARD.name, flow=BOARD.family.flow, arguments=(), files={})
    with pytest.raises(ToolError, match=r"^A worker must have nextpnr 0\.1, not nextpnr"):
        route_seed(1, 27.0, "nextpnr 0.1", design)
