"""Waveforms: Verilator writes a VCD; an FST is some twenty times smaller. What GTKWave is to show.

(Verilator writes FST itself only where the headers of zlib and LZ4 are installed, which a fresh
machine's are not.)
"""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from vcd.gtkw import GTKWSave

from hw.contract.text import to_install
from sim.bench.harness import BENCH_TOP
from sim.bench.neurons import Watch
from sim.bench.verilator import SimulationError

__all__ = ["save_file", "vcd_names", "vcd_to_fst"]

OPEN = 16
"""A group of so many signals is open when GTKWave starts; a larger one is closed."""


def vcd_to_fst(vcd: Path, fst: Path) -> Path:
    """Convert a Verilator VCD (one item per line); values, names and times stay the same.

    Raises
    ------
    SimulationError
        When the package pylibfst is missing, or there is no VCD to convert.
    """
    try:
        from pylibfst import lib
    except ModuleNotFoundError:
        raise SimulationError(
            f"Waveforms need the package pylibfst: {to_install('pylibfst')}"
        ) from None
    if not vcd.exists():
        raise SimulationError(f"The simulation left no waveform {vcd}")
    context = lib.fstWriterCreate(str(fst).encode(), 1)
    handles: dict[bytes, tuple[int, int]] = {}
    with vcd.open("rb") as file:
        for line in file:
            words = line.split()
            match words:
                case [b"$timescale", scale, *_]:
                    lib.fstWriterSetTimescaleFromString(context, scale)
                case [b"$scope", _, name, *_]:
                    lib.fstWriterSetScope(context, 0, name, b"")
                case [b"$upscope", *_]:
                    lib.fstWriterSetUpscope(context)
                case [b"$var", _, size, code, *name, b"$end"]:
                    known = handles.get(code, (0, 0))[0]
                    handle = lib.fstWriterCreateVar(
                        context, 16, 0, int(size), b" ".join(name), known
                    )
                    handles.setdefault(code, (handle, int(size)))
                case [word] if word[:1] == b"#":
                    lib.fstWriterEmitTimeChange(context, int(word[1:]))
                case [value, code] if value[:1] == b"b":
                    handle, size = handles[code]
                    lib.fstWriterEmitValueChange(context, handle, value[1:].zfill(size))
                case [word] if word[:1] in b"01xz":
                    lib.fstWriterEmitValueChange(context, handles[word[1:]][0], word[:1])
    lib.fstWriterClose(context)
    vcd.unlink()
    return fst


def vcd_names(vcd: Path) -> list[str]:
    """The signals of a VCD, scope by scope, as viewers call them: `top.core.word[7:0]`."""
    scopes, found = [], []
    with vcd.open() as file:
        for line in file:
            match line.split():
                case ["$scope", _, name, *_]:
                    scopes.append(name)
                case ["$upscope", *_]:
                    scopes.pop()
                case ["$var", _, _, _, *name, "$end"]:
                    found.append(".".join([*scopes, "".join(name)]))
                case ["$enddefinitions", *_]:
                    break
    return found


def save_file(names: Sequence[str], waves: str, watched: Sequence[Watch]) -> str:
    """A save file for GTKWave: streams, neurons by name, events and state machines, in groups.

    Parameters
    ----------
    names
        All signals (`vcd_names`); what is not among them is left out.
    waves
        The waveform's file, beside this one.
    watched
        Taps whose neurons the bench names.
    """
    file = io.StringIO()
    save = GTKWSave(file)
    save.comment("sterna sim --waves: open this file in GTKWave")
    save.dumpfile(waves, abspath=False)
    save.timestart(0)
    save.zoom_markers(-14)
    save.treeopen(f"{BENCH_TOP}.")
    start = f"{BENCH_TOP}."
    inside = [name.partition(start) for name in names]
    # By the name within the bench, without the range of its bits.
    known = {name.partition("[")[0]: head + top + name for head, top, name in inside if top}

    def show(title: str, signals: Iterable[tuple[str, str]], alias: bool = False) -> None:
        """Signals and their formats, if they are there; `alias`: called without their scope."""
        there = [(name, form) for name, form in signals if name in known]
        if there:
            with save.group(title, closed=len(there) > OPEN):
                for name, form in there:
                    short = name.rpartition(".")[2].replace("_", " ") if alias else None
                    save.trace(known[name], alias=short, datafmt=form)

    show("time", [("cycle", "dec"), ("clk", "bin"), ("core_rst", "bin")])
    show("words in", [("i__valid", "bin"), ("i__ready", "bin"), ("i__payload", "hex")])
    fields = [("logit", "signed"), ("best", "dec"), ("last", "bin")]
    show("logits out", [("o__valid", "bin"), ("o__ready", "bin"), *fields])
    for watch in watched:
        scope, layers = f"{watch.module}.", ", ".join(watch.layers)
        where = {"valid": "bin", "layer": "ascii"}
        where |= dict.fromkeys(("step", "word", *watch.places), "dec")
        show(f"{layers}: what fires", [(scope + name, form) for name, form in where.items()])
        for kind in ("spike", "potential"):
            for layer, places in watch.named.items():
                signals = [(f"{scope}{layer}_{place}_{kind}", "signed") for place in places]
                show(f"{layer}: {kind}s", signals, alias=True)
            signals = [(f"{scope}lane{k}_{kind}", "signed") for k in range(watch.lanes)]
            show(f"{layers}: {kind}s by lane", signals, alias=True)
    taps = [name for name in known if name.startswith("tap_") and "_events" in name]
    show("events", [(name, "bin" if name.endswith("_valid") else "hex") for name in taps])
    states = [name for name in known if name.rpartition(".")[2].startswith("fsm_state")]
    show("state machines", [(name, "hex") for name in states])
    return file.getvalue()
