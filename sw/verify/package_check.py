"""A package of a core, linted and simulated by FuseSoC, as whoever gets it would."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from hw.contract.text import to_install
from hw.system.process import ends_with_us
from hw.system.progress import Progress, silent
from sim.bench.verilator import SimulationError, toolchain

__all__ = ["check_package"]

HOMES = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
"""Where FuseSoC looks for settings, and leaves them: it gets a folder of its own."""

QUICKLY = " OPT_GLOBAL=-O0"
"""Verilator's runtime, half of what is compiled, has little to do in a run of some images."""


def check_package(folder: Path, vlnv: str, *, progress: Progress = silent) -> dict[str, str]:
    """Run the targets `lint` and `sim` of a package with this Sterna's Verilator.

    What they leave lies beside the package, in `NAME-fusesoc`, with a log of each.

    Parameters
    ----------
    folder, vlnv
        The package, made with examples, and its name for FuseSoC.

    Returns
    -------
    dict
        `lint`: `clean`; `sim`: what the test bench said.

    Raises
    ------
    SimulationError
        When FuseSoC is missing, or a target fails; with the place of the log.
    """
    folder = folder.resolve()
    work = folder.with_name(f"{folder.name}-fusesoc")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    told = {}
    with toolchain():
        tool = shutil.which("fusesoc")
        if tool is None:
            raise SimulationError(f"FuseSoC is missing: {to_install('fusesoc')}")
        environment = {**os.environ, **dict.fromkeys(HOMES, str(work))}
        environment["MAKEFLAGS"] += QUICKLY
        for target in ("lint", "sim"):
            progress(f"FuseSoC: {target}")
            log = work / f"{target}.log"
            arguments = ["--cores-root", str(folder), "run", "--build-root", str(work / "build")]
            with log.open("wb") as file:
                done = subprocess.run(
                    [tool, *arguments, f"--target={target}", vlnv],
                    cwd=work,
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
