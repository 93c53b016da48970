"""Hostile files through the command line's own readers, each under a limit of time and of memory,
in a child that may die of it.

What is looked for: a traceback, a hang, a crash, more memory than the file is worth, a refusal that
is no sentence, a warning, and anything accepted that is not sound.
"""

import json
import os
import random
import resource
import select
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from sw.spread.store import Result
from tests.trust.hostile import EDITS, bent
from tests.trust.targets import TARGETS, judged

__all__ = ["FAULTS", "block", "hostile_file", "one"]

CPU = 20.0
"""Seconds of the processor for a file."""
WALL = 300.0
"""Seconds on the wall."""
MEMORY = 2 << 30
"""Bytes that reading a file may take beside what the process has."""
PREVIOUS = 200
"""Files that one child reads at most."""
FAULTS = ("traceback", "wrong", "hang", "crash")


def hostile_file(kind: str, seed: int, number: int) -> bytes:
    """The file of that number: two of three are edits that keep its form, if it has one."""
    target = TARGETS[kind]
    rng = random.Random(f"{kind} {seed} {number}")
    seeds = target.seeds()
    name = rng.choice(sorted(seeds))
    others = [data for key, data in seeds.items() if key != name]
    if target.form and rng.random() < 2 / 3:
        edit = EDITS["zip" if target.form == "torch" and rng.random() < 0.4 else target.form]
        return edit(seeds[name], rng, others)
    return bent(seeds[name], rng, others)


def one(kind: str, data: bytes) -> tuple[str, str]:
    """What becomes of a file, and why it must not: `accepted`, `refused`, or one of `FAULTS`."""
    target = TARGETS[kind]
    with tempfile.TemporaryDirectory(prefix="sterna-hostile-") as folder:
        try:
            return judged(target, target.put(Path(folder), data)), ""
        except Exception as error:
            fault = "wrong" if type(error).__name__ == "Wrong" else "traceback"
            where = _where(error)
            return fault, f"{type(error).__name__}: {error} ({where})"[:600]


def _where(error: BaseException) -> str:
    frames, here = [], error.__traceback__
    while here is not None:
        code = here.tb_frame.f_code
        frames.append(f"{'/'.join(Path(code.co_filename).parts[-3:])}:{here.tb_lineno}")
        here = here.tb_next
    return " < ".join(reversed(frames[-5:]))


def _child(kind: str, seed: int, numbers: range, out: int) -> None:
    """Reads files, and tells of each before and after."""
    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silent, stream)
    with open("/proc/self/statm") as file:
        have = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (have + MEMORY, have + MEMORY))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # it ends the child, whatever it is in
    for number in numbers:
        # The mutator may choke on what it has made itself, too: then there is no file.
        try:
            data = hostile_file(kind, seed, number)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            os.write(out, json.dumps([number, "none", text[:300]]).encode() + b"\n")
            continue
        signal.setitimer(signal.ITIMER_PROF, CPU)
        outcome, why = one(kind, data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.write(out, json.dumps([number, outcome, why]).encode() + b"\n")


def block(kind: str, seed: int, first: int, count: int, tested_by: str) -> Result:
    """So many files from one on; `tested_by` only tells versions of the sources apart."""
    del tested_by
    torch.set_num_threads(1)  # threads do not come along into a child
    TARGETS[kind].seeds()  # once, not in every child
    TARGETS[kind].beside()
    started = time.monotonic()
    counts: dict[str, int] = {}
    faults: list[dict[str, Any]] = []
    at, end, cpu = first, first + count, 0.0
    while at < end:
        numbers = range(at, min(end, at + PREVIOUS))
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reader)
                _child(kind, seed, numbers, writer)
            finally:
                os._exit(0)
        os.close(writer)
        lines, hung = _lines(reader, child, len(numbers))
        os.close(reader)
        _, status, usage = os.wait4(child, 0)
        cpu += usage.ru_utime + usage.ru_stime
        for number, outcome, why in lines:
            counts[outcome] = counts.get(outcome, 0) + 1
            if outcome in FAULTS:
                faults.append({"number": number, "fault": outcome, "why": why})
        at += len(lines)
        if len(lines) < len(numbers):
            ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            fault = "hang" if hung or ended == signal.SIGPROF else "crash"
            counts[fault] = counts.get(fault, 0) + 1
            faults.append({"number": at, "fault": fault, "why": f"wait status {status}"})
            at += 1
    return {
        "files": count,
        "counts": counts,
        "faults": faults,
        "seconds": round(cpu, 2),
        "wall": round(time.monotonic() - started, 2),
    }


def _lines(reader: int, child: int, count: int) -> tuple[list[Any], bool]:
    """What a child says, until it has ended, or says nothing for too long."""
    told = b""
    while told.count(b"\n") < count:
        ready, _, _ = select.select([reader], [], [], WALL)
        if not ready:
            os.kill(child, signal.SIGKILL)
            return [json.loads(line) for line in told.splitlines()], True
        piece = os.read(reader, 1 << 16)
        if not piece:
            break
        told += piece
    whole = told[: told.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], False
