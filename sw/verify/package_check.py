"""A package of a core, linted and simulated by FuseSoC, as whoever gets it would."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from hw.contract.text import to_install
from hw.system.process import claimed, ends_with_us
from hw.system.progress import Progress, announced, silent
from sim.bench.verilator import SimulationError, toolchain

__all__ = ["check_package", "work_folder"]

HOMES = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
"""Where FuseSoC looks for settings, and leaves them: it gets a folder of its own."""

QUICKLY = " OPT_GLOBAL=-O0"
"""Verilator's runtime, half of what is compiled, has little to do in a run of some images."""


LOGS = {"lint": "lint.log", "sim": "sim.log"}
"""What each target said, by target, in their order."""


def work_folder(folder: Path) -> Path:
    """Where the package in a folder is checked: beside it, in `NAME-fusesoc`.

    Raises
    ------
    SimulationError
        When the folder has no name, or what lies there is no earlier check's.
    """
    folder = folder.resolve()
    if not folder.name:
        raise SimulationError(
            f"Folder of a package to be checked must have a name, and a folder above it: {folder} "
            "has none"
        )
    work = folder.with_name(f"{folder.name}-fusesoc")
    if work.exists():
        # The first log is there before all else, and goes last.
        held = {path.name for path in work.iterdir()}
        ours = {"build", *LOGS.values()} if LOGS["lint"] in held else set()
        if foreign := sorted(held - ours):
            raise SimulationError(
                f"Folder {work}, where the package is checked, must be empty or an earlier "
                f"check's: it has {foreign[0]}"
            )
    return work


def check_package(folder: Path, vlnv: str, *, progress: Progress = silent) -> dict[str, str]:
    """Run the targets `lint` and `sim` of a package with this Sterna's Verilator.

    What they leave lies beside the package, in `NAME-fusesoc`: `build`, and a log of each. Of that
    folder, nothing else is touched. Both folders are claimed meanwhile.

    Parameters
    ----------
    folder, vlnv
        The package, made with examples, and its name for FuseSoC.
    progress
        Told of each target.

    Returns
    -------
    dict
        `lint`: `clean`; `sim`: what the test bench said.

    Raises
    ------
    SimulationError
        When there is no place for the work (`work_folder`), FuseSoC is missing, or a target fails;
        with the place of the log.
    FolderInUse
        When another run packages or checks there.
    """
    folder = folder.resolve()
    work = work_folder(folder)
    with claimed(folder), claimed(work), toolchain():
        work_folder(folder)  # again, now that no other run can change it
        tool = shutil.which("fusesoc")
        if tool is None:
            raise SimulationError(f"FuseSoC is missing: {to_install('fusesoc')}")
        return _check(tool, folder, vlnv, work, progress)


def _check(tool: str, folder: Path, vlnv: str, work: Path, progress: Progress) -> dict[str, str]:
    build = work / "build"
    home = build / "home"
    if build.exists():
        shutil.rmtree(build)
    for name in reversed(LOGS.values()):
        (work / name).unlink(missing_ok=True)
    (work / LOGS["lint"]).touch()
    home.mkdir(parents=True)
    environment = {**os.environ, **dict.fromkeys(HOMES, str(home))}
    environment["MAKEFLAGS"] += QUICKLY
    told = {}
    for target, name in LOGS.items():
        log = work / name
        arguments = ["--cores-root", str(folder), "run", "--build-root", str(build)]
        with log.open("wb") as file, announced(progress, f"FuseSoC: {target}"):
            done = subprocess.run(
                [tool, *arguments, f"--target={target}", vlnv],
                cwd=home,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
                preexec_fn=ends_with_us(),
            )
        passed = re.search(r"^PASS: .*", log.read_text(errors="replace"), re.M)
        if done.returncode or (target == "sim" and passed is None):
            raise SimulationError(f"The package fails FuseSoC's target {target}: see {log}")
        told[target] = "clean" if passed is None else passed[0]
    return told
