"""Layouts as points: those that the planner would make again; the front against its definition."""

import numpy as np
import pytest

from gen.board.boards import find_board
from gen.board.planner import plan_board
from gen.explore.points import front, plan_points
from hw.contract.network import Network
from sw.data.shipped import model_path


@pytest.mark.parametrize(
    ("model", "board"), [("digits-dense", "icebreaker"), ("digits-conv", "ulx3s_85f")]
)
def test_points_are_plans(model: str, board: str) -> None:
    """What a point says is what the planner says of its options; the fastest is its choice."""
    network, where = Network.load(model_path(model)), find_board(board)
    points = plan_points(where, network)
    assert len(points) >= 5
    assert len({str(point["layout"]) for point in points}) == len(points)
    for point in (points[0], points[len(points) // 2], points[-1]):
        plan = plan_board(where, network, **point["layout"])
        assert point["luts"] == plan.estimate.luts
        assert point["brams"] == plan.estimate.brams
        assert point["images_per_second"] == round(1 / plan.seconds, 1)
    best = plan_board(where, network)
    assert points[0]["images_per_second"] == round(1 / best.seconds, 1)


def dominated(mine: tuple[float, ...], others: list[tuple[float, ...]]) -> bool:
    return any(
        all(a >= b for a, b in zip(other, mine, strict=True)) and other != mine for other in others
    )


@pytest.mark.parametrize("seed", range(5))
def test_front(seed: int) -> None:
    """By its definition, over random points with many ties."""
    rng = np.random.default_rng(seed)
    values = [tuple(map(float, row)) for row in rng.integers(0, 6, (80, 3))]
    points = [{"n": n, "values": value} for n, value in enumerate(values)]
    found = front(points, lambda point: point["values"])
    kept = [point["values"] for point in found]
    assert len(set(kept)) == len(kept)
    assert set(kept) == {value for value in values if not dominated(value, values)}
    assert [point["n"] for point in found] == sorted(point["n"] for point in found)
    firsts = {value: n for n, value in reversed(list(enumerate(values)))}
    assert all(firsts[point["values"]] == point["n"] for point in found)


def test_front_of_nothing() -> None:
    assert front([], lambda point: (0.0,)) == []
