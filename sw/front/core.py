"""A core, and a core on a board, as things that can be written, verified and built."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gen.board.bitstream import SEEDS
from gen.board.build import build_board
from gen.board.planner import BoardPlan as GenPlan
from gen.core.plan import CorePlan
from gen.core.verilog import generate
from hw.contract.checks import SternaError, require_int
from hw.system.progress import Progress, silent
from sw.data.arrays import Dataset
from sw.data.shipped import load_test_images

__all__ = ["BoardPlan", "Core", "path_of", "writing"]

Folder = str | os.PathLike[str]


def path_of(what: str, path: object) -> Path:
    """A path that was given.

    Raises
    ------
    SternaError
        When it is none.
    """
    if not isinstance(path, (str, os.PathLike)) or "\0" in str(path) or not str(path):
        raise SternaError(f"{what} must be a path, not {path!r}")
    return Path(path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What cannot be written is a sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise SternaError(f"Cannot write {error.filename or path}: {reason}") from None


class Core:
    """Hardware for a network.

    Parameters
    ----------
    plan
        Its stages (`gen.core.plan`).
    """

    def __init__(self, plan: CorePlan) -> None:
        self.plan = plan

    def write(self, folder: Folder) -> dict[str, Any]:
        """Write Verilog and ROM files; returns the manifest, which lies there as `core.json`."""
        path = path_of("Folder", folder)
        with writing(path):
            return generate(self.plan, path)

    def verify(
        self,
        data: Dataset | str | None = None,
        images: int | None = 100,
        *,
        folder: Folder | None = None,
        progress: Progress = silent,
    ) -> dict[str, Any]:
        """Run test images through the Verilog, under Verilator, and the golden model; compare
        every spike, potential, logit and class, and the cycles with the cycle law.

        Parameters
        ----------
        data
            A data set, or where the one lies that the network names.
        images
            How many, the first ones; None: all.
        folder
            Where Verilog, logs and report are left; by default nothing is.
        progress
            Receives a line now and then.

        Returns
        -------
        dict
            The report (docs/simulation.md): `values_compared`, `mismatches`,
            `cycle_law_violations` and more; `passed`: whether the latter two are 0.

        Raises
        ------
        DataError, EvaluateError
            When there are no such data, or they do not fit.
        SimulationError
            When the simulation cannot be built or breaks off.
        """
        from sim.bench.run import simulate

        if images is not None:
            require_int("Images", images, 1, 1 << 31)
        count = "all" if images is None else str(images)
        where = None if folder is None else path_of("Folder", folder)
        if data is not None and not isinstance(data, Dataset):
            data = str(path_of("Data", data))
        split = load_test_images(self.plan.network, count, folder=data)
        with tempfile.TemporaryDirectory() as temporary:
            report = simulate(
                self.plan,
                split.images,
                split.labels,
                where or Path(temporary) / "core",
                progress=progress,
            )
        passed = not (report["mismatches"] or report["cycle_law_violations"])
        return {**report, "passed": passed}

    def __repr__(self) -> str:
        return f"Core({self.plan.network.spec.name!r}: {self.plan.facts()['layout']})"


class BoardPlan:
    """A network on a board, planned.

    Parameters
    ----------
    plan
        As `gen.board.planner` has it.
    """

    def __init__(self, plan: GenPlan) -> None:
        self.plan = plan

    @property
    def facts(self) -> dict[str, Any]:
        """Layout, clock, resources, expected images a second: plain data (docs/boards.md)."""
        return self.plan.to_dict()

    @property
    def core(self) -> Core:
        """The core that is planned."""
        return Core(self.plan.core)

    def build(
        self, folder: Folder, *, seed: int = 1, seeds: int = SEEDS, progress: Progress = silent
    ) -> dict[str, Any]:
        """Synthesise, place and route, pack: minutes. The report is there, as `report.json`, and
        the bitstream, only when all went well.

        Parameters
        ----------
        seed, seeds
            The placer's first seed, and how many are tried.
        progress
            Receives a line before each step.

        Raises
        ------
        ToolError, TimingError
            When a tool fails, or no seed meets the clock.
        """
        path = path_of("Folder", folder)
        require_int("Seed", seed, 0, (1 << 31) - 1)
        require_int("Seeds", seeds, 1, 1000)
        with writing(path):
            return build_board(self.plan, path, seed=seed, seeds=seeds, progress=progress)

    def __repr__(self) -> str:
        plan, facts = self.plan, self.facts
        used, there = facts["estimate"]["luts"]
        return (
            f"BoardPlan({plan.board.name!r}: {plan.core.facts()['layout']}, "
            f"{plan.spec.clock_hz / 1e6:g} MHz, about {used:,} of {there:,} look-up tables, about "
            f"{facts['expected_images_per_second']:,.0f} images/s)"
        )
