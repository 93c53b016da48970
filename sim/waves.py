"""Waveforms: Verilator writes a VCD; an FST is some twenty times smaller.

(Verilator writes FST itself only where the headers of zlib and LZ4 are installed, which a fresh
machine's are not.)
"""

import io
from pathlib import Path

from sim.verilator import SimulationError

__all__ = ["vcd_to_fst"]


def vcd_to_fst(vcd: Path, fst: Path) -> Path:
    """Convert a waveform file; values, names and times stay the same.

    Raises
    ------
    SimulationError
        When the package pylibfst is missing, or there is no VCD to convert.
    """
    try:
        from pylibfst import lib
    except ModuleNotFoundError:
        raise SimulationError("Waveforms need the package 'pylibfst' (the Makefile has it)") from None
    from vcd.reader import TokenKind, tokenize

    if not vcd.exists():
        raise SimulationError(f"The simulation left no waveform {vcd}")
    context = lib.fstWriterCreate(str(fst).encode(), 1)
    handles: dict[str, tuple[int, int]] = {}
    # Verilator's root scope has a name that VCD does not allow.
    text = vcd.read_bytes().replace(b" $rootio ", b" rootio ")
    with io.BytesIO(text) as file:
        for token in tokenize(file):
            if token.kind is TokenKind.TIMESCALE:
                scale = f"{token.timescale.magnitude.value}{token.timescale.unit.value}"
                lib.fstWriterSetTimescaleFromString(context, scale.encode())
            elif token.kind is TokenKind.SCOPE:
                lib.fstWriterSetScope(context, 0, token.scope.ident.encode(), b"")
            elif token.kind is TokenKind.UPSCOPE:
                lib.fstWriterSetUpscope(context)
            elif token.kind is TokenKind.VAR:
                var = token.var
                known = handles.get(var.id_code, (0, 0))[0]
                handle = lib.fstWriterCreateVar(
                    context, 16, 0, var.size, var.reference.encode(), known
                )
                handles.setdefault(var.id_code, (handle, var.size))
            elif token.kind is TokenKind.CHANGE_TIME:
                lib.fstWriterEmitTimeChange(context, token.time_change)
            elif token.kind in (TokenKind.CHANGE_SCALAR, TokenKind.CHANGE_VECTOR):
                change = (
                    token.scalar_change
                    if token.kind is TokenKind.CHANGE_SCALAR
                    else token.vector_change
                )
                handle, size = handles[change.id_code]
                value = change.value
                bits = value if isinstance(value, str) else f"{value:b}"
                lib.fstWriterEmitValueChange(context, handle, bits.zfill(size).encode())
    lib.fstWriterClose(context)
    vcd.unlink()
    return fst
