"""A whole board that learns, in Verilog, taught through its RX pin: results, counters and every
master are the golden model's."""

import numpy as np

from gen.board.boards import find_board
from gen.board.estimate import estimate
from gen.board.planner import BoardPlan, board_spec, default_hz
from gen.learn.stage import plan_learning
from hw.learn.masters import Masters
from sim.board.around import simulate_board
from sw.host.board import Board
from sw.host.golden import LearningGolden
from sw.host.link import LinkBackend
from tests.learning import learning_network


def facts(result):
    return result.label, result.logits.tolist(), result.counters, result.learned, result.count


def test_a_board_is_taught_through_its_pins(tmp_path):
    rng = np.random.default_rng(4)
    core = plan_learning(Masters.of(learning_network(rng, feedback=True)), 8)
    board = find_board("ulx3s_85f")
    spec = board_spec(board, default_hz(board, core), loaded=False)
    used = estimate(board, core, spec, 0)
    plan = BoardPlan(board=board, core=core, spec=spec, estimate=used, cycles=0.0)
    images, labels = rng.integers(0, 16, (6, 9)), rng.integers(0, 3, 6)
    golden = Board(LearningGolden(core))
    with simulate_board(plan, tmp_path) as line:
        taught = Board(LinkBackend(line, baud=line.baud, timeout=0.05), lambda: line.time)
        identity = taught.wait_ready()
        assert (identity.learns, identity.changed) == (True, False)
        for result, expected in zip(
            taught.learn(images, labels), golden.learn(images, labels), strict=True
        ):
            assert facts(result) == facts(expected)
        assert facts(taught.infer(images[0])) == facts(golden.infer(images[0]))
        assert taught.identify().changed
        state, wanted = taught.masters(), golden.masters()
        assert (state.rows == wanted.rows).all()
        assert (state.random, state.count) == (wanted.random, wanted.count)
        assert taught.learning() == golden.learning()
