"""Runs tests again and again in a copy of the repository, each run in a child of its own that has
the large packages imported already. A program: `campaign.Workshop` starts it in the copy, and talks
to it in lines of JSON.

A request names tests, what each of them took before, and limits; the answer says which test failed
first. A test that takes too much time of the processor ends its run (`hang`): a clock on the wall
would say more of the machine than of the test.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from typing import Any

PRELOADED = (
    "hypothesis",
    "numpy",
    "numpy.testing",
    "pytest",
    "hypothesis.strategies",
    "amaranth.hdl",
    "amaranth.lib.data",
    "amaranth.lib.enum",
    "amaranth.lib.memory",
    "amaranth.lib.stream",
    "amaranth.lib.wiring",
    "amaranth.sim",
    "amaranth.back.rtlil",
    "amaranth.back.verilog",
)
MORE_WALL = 15.0, 60.0
"""The same of a whole run, on the wall: for programs that tests start and that do not end."""
MOST_MEMORY = 3 << 30
"""Bytes that a run may hold."""
PR_SET_PDEATHSIG = 1


class Plugin:
    """Quick tests first; the first failure; a limit for each test; durations."""

    def __init__(self, before: dict[str, float], limited: bool, more: list[float]) -> None:
        self.before, self.limited, self.more = before, limited, more
        self.failed = ""
        self.seconds: dict[str, float] = {}
        self.ran = 0
        self.running = ""

    def pytest_configure(self, config: Any) -> None:
        """Hypothesis: the same examples at every run, none kept, none made smaller."""
        from hypothesis import HealthCheck, Phase, settings

        settings.register_profile(
            "mutants",
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
        )
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """In order of what they took. A refutation would fail of any mutant whose place it changes
        itself, and says nothing of the component: it is left out."""
        items[:] = [item for item in items if not item.get_closest_marker("refutation")]
        items.sort(key=lambda item: self.before.get(item.nodeid, 0.0))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """The test's clock starts."""
        self.running = nodeid
        self.seconds[nodeid] = -_cpu()
        if self.limited:
            times, more = self.more
            limit = times * self.before.get(nodeid, 0.0) + more
            signal.setitimer(signal.ITIMER_PROF, limit)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """The test's clock stops."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        self.seconds[nodeid] += _cpu()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Failures, of whatever phase."""
        self.ran += report.when == "call" and report.passed
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        """A module that cannot be imported any more."""
        if report.failed and not self.failed:
            self.failed = f"import of {report.nodeid}"


def _cpu() -> float:
    """Seconds of the processor, of this process and of its children that have ended."""
    mine, theirs = (resource.getrusage(who) for who in (0, resource.RUSAGE_CHILDREN))
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime


def child(request: dict[str, Any], out: int) -> None:
    """One run; does not return."""
    import pytest

    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    silent = os.open(request.get("log") or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(silent, stream)
    plugin = Plugin(request["before"], request["limited"], request["more"])

    def answer(outcome: str, by: str) -> None:
        facts = {"outcome": outcome, "by": by, "ran": plugin.ran}
        if not request["limited"]:
            facts["tests"] = {name: round(s, 4) for name, s in plugin.seconds.items()}
        os.write(out, json.dumps(facts).encode() + b"\n")

    def too_long(*_: object) -> None:
        answer("hang", plugin.running)
        os._exit(0)

    signal.signal(signal.SIGPROF, too_long)
    sys.dont_write_bytecode = request["limited"]
    options = ["-q", "--no-header", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist"]
    more = [] if request.get("log") else ["--tb=no"]
    code = pytest.main([*request["tests"], "-x", *options, *more], plugins=[plugin])
    if plugin.failed:
        answer("killed", plugin.failed)
    elif code == 0:
        answer("survived", "")
    else:  # no test, or pytest itself gave up
        answer("killed" if request["limited"] else "broken", f"pytest, exit code {int(code)}")
    os._exit(0)


def serve(request: dict[str, Any]) -> dict[str, Any]:
    """One run, watched from outside."""
    reader, writer = os.pipe()
    started = time.monotonic()
    number = os.fork()
    if number == 0:
        try:
            os.close(reader)
            child(request, writer)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(1)
    os.close(writer)
    times, more = MORE_WALL
    limit = times * sum(request["before"].values()) + more if request["limited"] else 3600.0
    told, why = b"", ""
    while not told.endswith(b"\n"):
        ready, _, _ = select.select([reader], [], [], 0.25)
        if ready:
            piece = os.read(reader, 1 << 20)
            if not piece:
                break
            told += piece
        elif time.monotonic() - started > limit:
            why = "hang"
        elif _held(number) > MOST_MEMORY:
            why = "memory"
        if why:
            break
    # What the tests have started and not ended, too: they are a group of their own.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(number, signal.SIGKILL)
    os.close(reader)
    _, status, usage = os.wait4(number, 0)
    facts = json.loads(told) if told.endswith(b"\n") else {"by": "", "ran": 0}
    if not told.endswith(b"\n"):
        facts["outcome"] = why or "killed"
        facts["by"] = f"the process ended with {status}" if not why else ""
    return facts | {"seconds": round(usage.ru_utime + usage.ru_stime, 3)}


def _held(number: int) -> int:
    """Bytes of memory that a process holds."""
    try:
        with open(f"/proc/{number}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def main() -> None:
    """Answer requests until there are none."""
    sys.path[0] = os.getcwd()
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        out.write(json.dumps(serve(json.loads(line))) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
