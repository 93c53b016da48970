"""Whether a shared core's memories fit a chip's block RAM."""

from gen.board.boards import Board
from gen.board.estimate import block_rams, shared_rams
from gen.core.plan import PlanError
from gen.core.program_files import AnyShared

__all__ = ["memory_shares", "require_memory"]


def require_memory(plan: AnyShared, board: Board) -> None:
    """Refuse a network whose memories are too many for the board's chip.

    Raises
    ------
    PlanError
        With what is needed and there, and the layer that needs the most.
    """
    totals = [shared_rams(stage.program, board.family) for stage in plan.stages]
    needed = sum(sum(rams.values()) for rams in totals)
    if needed <= board.brams:
        return
    raise PlanError(
        f"Network {plan.network.spec.name} needs {needed:,} block RAMs, and {board.name} has "
        f"{board.brams:,}: {memory_shares(plan, board)}"
    )


def memory_shares(plan: AnyShared, board: Board) -> str:
    """What needs the block RAM, the largest layer by name."""
    totals = [shared_rams(stage.program, board.family) for stage in plan.stages]
    rows, name, program = max(
        (
            (rows, name, stage.program)
            for stage in plan.stages
            for name, rows in stage.weight_rows.items()
        ),
        key=lambda entry: entry[0],
    )
    weights = block_rams(board.family, program.memories["weights"][1], rows, True)
    return (
        f"the weights of layer {name} alone need {weights:,}, all weights "
        f"{sum(rams['weights'] for rams in totals):,}, potentials "
        f"{sum(rams['potentials'] for rams in totals):,}"
    )
