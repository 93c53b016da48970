"""Waveforms: Verilator writes a VCD; an FST is some twenty times smaller.

(Verilator writes FST itself only where the headers of zlib and LZ4 are installed, which a fresh
machine's are not.)
"""

from pathlib import Path

from hw.contract.text import to_install
from sim.bench.verilator import SimulationError

__all__ = ["vcd_to_fst"]


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
