"""The window stage: a program stage whose scans add to a window of positions at once."""

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Module, Value
from amaranth.lib import wiring

from hw.program.program import Program
from hw.program.scanner import Scanner
from hw.program.stage import Learns, ProgramStage
from hw.window.cursor import Cursor
from hw.window.sums import WindowSums

__all__ = ["WindowStage"]


class WindowStage(ProgramStage):
    """Words of pictures in; words of spikes out: layer after layer, as `ProgramStage` does it.

        program -> scanner -> cursor -> accumulators -> potentials, drives
                     ^ spikes, pixels                        `-> spikes

    Words of spikes have `Program.parts` rows or groups of channels, of `lanes` each, side by side.
    """

    def _sums(self, program: Program, files: Mapping[str, str] | None) -> Any:
        return WindowSums(program, files)

    def _add(self, m: Module, word: Value, scanner: Scanner) -> tuple[Value, Value, Learns | None]:
        m.submodules.cursor = cursor = Cursor(self._program)
        wiring.connect(m, scanner.o, cursor.i)
        m.d.comb += [
            cursor.word.eq(word),
            cursor.drain.eq(~scanner.busy),
            self._potentials.i.eq(cursor.o),
        ]
        return cursor.o.add, cursor.busy | self._potentials.busy, None
