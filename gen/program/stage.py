"""Layers of any kind as a stage: the program of one set of hardware that runs them in turn."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.program.cycles import ProgramTimes, operation_cycles, updates
from gen.program.expectation import expected, network_rates
from gen.program.memory_map import MemoryMap, memory_rows
from gen.program.writer import write_program
from gen.stage.rom import pack_bits
from gen.stage.stage import Memory, PlanError, Rom, StagePlan, StageTimes, WordFormat
from gen.stage.taps import Swept, Tap, WordTap
from hw.contract.edge import INPUT
from hw.contract.layout import MapLayout, map_layout
from hw.contract.network import Network
from hw.neuron.decay import adder_bits
from hw.program.code import Sweep
from hw.program.program import Program
from hw.program.stage import ProgramStage, RomFiles
from hw.program.sweeper import Sweeper

__all__ = ["LANES", "PROGRAM_LANES", "ProgramStagePlan", "kept_sizes", "plan_program"]

PROGRAM_LANES = 16
LANES = (2, 4, 8, 16, 32, 64, 128)
PARTS = ("program", "weights", "biases", "thetas", "steps", "factors")


@dataclass(frozen=True, eq=False)
class ProgramStagePlan(StagePlan):
    """A program that runs a network, or some of its layers.

    Parameters
    ----------
    network, lanes
        The network; channels per cycle.
    program, memory_map
        What the stage does; what lies where.
    layers, weight_rows
        The layers it runs, and how many rows of weights each has.
    source
        What it receives: `input`, or the layer whose spikes come from the stage before.
    mark
        What the names of its files end with, where a core has several stages.
    changes
        Layers whose spikes it plays as what changes from step to step.
    """

    network: Network
    lanes: int
    program: Program
    memory_map: MemoryMap
    layers: range
    weight_rows: dict[str, int]
    source: str = INPUT
    mark: str = ""
    changes: tuple[str, ...] = ()
    banks = 1
    sizes_of = "programs"
    law_images = 100

    @property
    def input(self) -> WordFormat:
        p = self.program
        return WordFormat(p.lanes, p.input_bits, p.input_sign)

    @property
    def vectors(self) -> int:
        spec = self.network.spec
        return spec.recorded_steps if self.source == INPUT else spec.steps

    @property
    def words(self) -> int:
        return self.program.input_words // self.vectors

    @property
    def layout(self) -> MapLayout:
        return map_layout(self.network.spec, self.source, self.lanes)

    @property
    def output(self) -> MapLayout:
        """How the spikes of the last layer lie in the words that the stage sends."""
        return self.words_of(self.network.spec.layers[self.layers[-1]].name)

    def words_of(self, name: str) -> MapLayout:
        """How the spikes of a layer lie in the stage's words."""
        return map_layout(self.network.spec, name, self.lanes)

    def how(self, count: int) -> str:
        return "one program core" if count == 1 else f"{count} stage(s)"

    @property
    def _files(self) -> RomFiles:
        return RomFiles(**{part: f"rom/{part}{self.mark}.hex" for part in PARTS})

    def component(
        self, *, files: bool = True, events: bool = False, taps: bool = False
    ) -> ProgramStage:
        paths = self._files if files else None
        return ProgramStage(self.program, paths, events=events, taps=taps)

    def roms(self) -> dict[str, Rom]:
        p, files, network = self.program, self._files, f"network {self.network.digest[:16]}"
        head, code = f"{len(p.operations)} operations of {p.code.bits} bit", p.code_table
        made = {
            files.program: Rom(
                head=f"{head}; {network}", rows=code.words, bits=code.width, swappable=True
            )
        }
        for name, table in (
            (files.weights, p.weight_table if len(p.weights) else None),
            *((getattr(files, name), table) for name, table in p.tables.items()),
        ):
            if table is not None:
                head = f"{len(table.words)} rows of {table.lanes} x {table.bits} bit; {network}"
                made[name] = Rom(head=head, rows=table.words, bits=table.width, swappable=True)
        return made

    def flash_rows(self) -> list[tuple[int, list[int]]]:
        return []

    def times(self, after: StageTimes | None, lead: int) -> ProgramTimes:
        return ProgramTimes(self, after, lead)

    def expected_cycles(self) -> float:
        return expected(self, network_rates(self.network)).cycles

    def operation_cycles(
        self, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]
    ) -> list[int]:
        """Cycles of each operation but the last (`gen.program.cycles`)."""
        return operation_cycles(self, pixels, spikes)

    def additions(self, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]) -> int:
        return updates(self, pixels, spikes)

    def taps(self) -> list[Tap]:
        spec, p = self.network.spec, self.program
        names = [layer.name for layer in spec.layers]
        sweeps: list[Swept] = []
        swept = dict.fromkeys(names, 0)
        for op in p.operations:
            if isinstance(op, Sweep) and op.fires:
                layout, number = self.words_of(op.name), names.index(op.name)
                step, rest = divmod(swept[op.name], layout.words)
                swept[op.name] += op.last_word + 1
                if not rest:  # its words may take several sweeps
                    sweeps.append(Swept(layer=op.name, number=number, step=step, layout=layout))
        return [
            WordTap(
                name="words",
                lanes=p.word,
                planes=p.spike_planes,
                sign=p.spike_sign,
                bits=p.membrane_bits,
                sweeps=tuple(sweeps),
            )
        ]

    def clock_hz(self, clocks: Any) -> int:
        return clocks.shared_clock

    def sizes(self) -> dict[str, float]:
        p = self.program
        return {"stage": 1, "lane": p.lanes * p.membrane_bits, **kept_sizes(p)}

    def weight_memories(self) -> dict[str, list[Memory]]:
        bits = self.program.memories["weights"][1]
        return {name: [Memory(bits, rows, True)] for name, rows in self.weight_rows.items()}

    def memories(self) -> dict[str, Memory]:
        """What is a ROM in a file is in block RAM whatever its size."""
        p = self.program
        found = {
            name: Memory(bits, words, name in ("weights", "program"))
            for name, (words, bits) in p.memories.items()
        }
        names = {"thetas": "thresholds", "steps": "reset steps"}
        for name, table in p.tables.items():
            found[names.get(name, name)] = Memory(table.width, len(table.words), True)
        return found

    def facts(self) -> dict[str, Any]:
        return {
            "layers": [self.network.spec.layers[n].name for n in self.layers],
            "lanes": self.lanes,
            "banks": self.banks,
            "operations": len(self.program.operations),
            "memory": self.memory_map.to_dict(),
        }

    def rows_for_people(self) -> list[tuple[str, object]]:
        return [*memory_rows(self.program, self.memory_map)]

    def pack(self, pixels: npt.NDArray[np.integer]) -> list[int]:
        spec = self.network.spec
        images = pixels.astype(np.uint8).reshape(-1, spec.input_size)
        return pack_bits(self.layout.pack(images).reshape(-1, self.lanes), spec.input_bits)


def kept_sizes(p: Program) -> dict[str, float]:
    """What is kept of potentials and of synaptic currents: a choice where there are several laws,
    additions of factors; a current is a sum more, and begins at 0. And of a readout that leaks, and
    of neurons that count: a difference for each bit of the quotient, and a choice between
    thresholds, where channels have their own."""
    laws, bits = (*p.decays, *p.currents), p.membrane_bits
    more = 2 * bits + p.second_bits if p.currents else 0
    choices = len(p.decays) - 1 + max(0, len(p.currents) - 1)
    readout = divided = 0
    if Sweeper.counts(p):
        thresholds = 0 if p.theta_table is None else p.theta_table.width // p.lanes
        divided = bits * p.spike_planes + thresholds
    if p.leak is not None:
        own = 2 * p.m_bits + p.logit_bits * p.leak.keeps_answers
        readout = min(p.lanes, p.classes) * (own + adder_bits([p.leak.decay_law], p.m_bits))
    return {
        "decay": p.word * bits * choices,
        "adders": p.word * (adder_bits(laws, bits) + more + divided) + readout,
    }


def plan_program(
    network: Network,
    lanes: int = PROGRAM_LANES,
    layers: range | None = None,
    source: str = INPUT,
    mark: str = "",
    changes: Collection[str] = (),
) -> ProgramStagePlan:
    """Write the program of a network, or of some of its layers, as a stage that receives the
    spikes of `source` and hands on those of its last layer. Those of the layers `changes` are
    played as what changes from step to step.

    Raises
    ------
    PlanError
        When lanes is not a power of two from 2 to 128, the readout is one of maps, or nothing
        receives the input.
    """
    if lanes not in LANES:
        raise PlanError(f"Lanes of a program core must be one of {LANES}, not {lanes!r}")
    spec = network.spec
    chosen = range(len(spec.layers)) if layers is None else layers
    sources = {edge.source for n in range(len(spec.layers)) for edge in spec.edges(n)}
    if INPUT not in sources:
        raise PlanError(f"Network {spec.name} must have an edge from its input")
    readout = spec.layers[-1]
    if readout.map_shape[1:] != (1, 1):
        raise PlanError(
            f"Readout {readout.name} must be a row of logits, not maps of "
            f"{readout.map_shape[1]}x{readout.map_shape[2]}"
        )
    mine = {edge.source for n in chosen for edge in spec.edges(n)}
    those = tuple(layer.name for layer in spec.layers if layer.name in mine & set(changes))
    program, memory_map, rows = write_program(network, lanes, chosen, source, those)
    return ProgramStagePlan(network, lanes, program, memory_map, chosen, rows, source, mark, those)
