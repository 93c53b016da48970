"""A board as the learner of a session; the images on its chip are a lesson of their own."""

import numpy as np
import numpy.typing as npt

from gen.learn.stage import learning_stage, plan_learning
from hw.contract.checks import SternaError
from hw.learn.masters import Masters
from sw.host.board import Board
from sw.host.learning import MasterState
from sw.host.protocol import Result

__all__ = ["BoardLearner"]


class BoardLearner:
    """What a session asks of a learner (`sw.spide.session.Learns`), of a board.

    Parameters
    ----------
    board
        Open; left open.
    built
        The beginning that its bitstream was built of.

    Raises
    ------
    SternaError
        When the board has another network.
    HostError
        When it does not learn, or does not answer soundly.
    """

    def __init__(self, board: Board, built: Masters) -> None:
        self._board, self._built = board, built
        identity, self._state = board.wait_ready(), board.learning()
        plan = plan_learning(built, identity.lanes)
        if identity.digest != plan.network.digest:
            raise SternaError(
                f"The board was built of the network {identity.digest[:16]}, not "
                f"{plan.network.digest[:16]} of {built.spec.name}"
            )
        self._rows = learning_stage(plan).rows

    @property
    def samples(self) -> int:
        """Labelled images on the chip."""
        return self._state.samples

    @property
    def rates(self) -> list[int]:
        """k of each learned edge; it may be set."""
        return list(self._state.rates)

    @rates.setter
    def rates(self, rates: list[int]) -> None:
        self._state = self._board.rate(rates=rates)

    @property
    def margin(self) -> int:
        """mu; it may be set."""
        return self._state.margin

    @margin.setter
    def margin(self, margin: int) -> None:
        self._state = self._board.rate(margin=margin)

    def learn_all(self, images: npt.ArrayLike, labels: npt.ArrayLike) -> list[Result]:
        """Learn from images (n, pixels) with labels (n,), in their order."""
        return self._board.learn(images, labels)

    def classify(self, images: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Classes (n,) of images (n, pixels); nothing is learned."""
        return self._board.classify(images)

    def masters(self) -> Masters:
        """What the board has learned."""
        state = self._board.masters()
        shapes = [(edge.rows, edge.targets) for edge in self._built.edges]
        return Masters(
            network=self._built.network,
            arrays=self._rows.unpack(state.rows, shapes),
            random=state.random,
            learned=state.count,
        )

    def load(self, masters: Masters) -> None:
        """Let the board go on from there.

        Raises
        ------
        SternaError
            When those are of another network.
        """
        if masters.spec != self._built.spec:
            raise SternaError(
                f"Masters to go on from must be of the network {self._built.spec.name} that the "
                f"board was built of, with the same specification, not of {masters.spec.name}"
            )
        rows = self._rows.pack(masters.arrays)
        self._board.load_masters(
            MasterState(rows=rows, random=masters.random, count=masters.learned)
        )

    def train(self) -> tuple[int, int, int]:
        """A lesson (`sw.spide.session.Lesson`): a pass over the images on the chip, in the order in
        which they lie there."""
        (trained,) = self._board.train()
        return trained.samples, trained.hits, trained.learned
