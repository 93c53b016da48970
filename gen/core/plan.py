"""From a network to the layout of its hardware."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from hw.contract.network import Network
from hw.contract.spec import SternaError
from hw.layer.geometry import LayerGeometry
from hw.layer.stage import LayerPlan
from hw.memory.ram import SPRAM_ROWS

__all__ = ["DEFAULT_LANES", "MAX_CHUNK", "CorePlan", "PlanError", "plan_core"]

DEFAULT_LANES = 128
MAX_CHUNK = 16
MEMORIES = ("rom", "ram", "spram")


class PlanError(SternaError, ValueError):
    """Hardware that cannot be built for this network."""


@dataclass(frozen=True, kw_only=True)
class CorePlan:
    """A network and the layout of each of its layers.

    Parameters
    ----------
    image
        The network.
    lanes, banks
        As asked for: neurons per cycle at most, events per cycle at most.
    geometries
        One per layer.
    memories
        Weight memory of each layer: all `rom`, or each `ram` or `spram`, loaded at power-up.
    fire_lanes, lean, repeat
        As asked for: see `LayerGeometry`.
    """

    network: Network
    lanes: int
    banks: int
    geometries: tuple[LayerGeometry, ...]
    memories: tuple[str, ...]
    fire_lanes: int = 0
    lean: bool = False
    repeat: bool = False
    schedule = "pipelined"

    @property
    def loaded(self) -> bool:
        """The weights come from a flash image, not with the design."""
        return self.memories[0] != "rom"

    def rom_file(self, layer: int, bank: int, part: int) -> str:
        """Path of a ROM image (slice `part` of a bank), relative to the folder of the Verilog."""
        name = self.network.spec.layers[layer].name
        return str(PurePosixPath("rom") / f"{layer}_{name}_bank{bank}_slice{part}.hex")

    def layer_plans(self, *, with_files: bool) -> list[LayerPlan]:
        """The arguments of `hw.core.Core`; with ROM files for Verilog, without for simulation by
        Amaranth."""
        plans = []
        for n, layer in enumerate(self.network.layers):
            geometry = self.geometries[n]
            last = n == len(self.geometries) - 1
            files = tuple(
                tuple(self.rom_file(n, b, part) for part in range(len(geometry.slices)))
                for b in range(geometry.banks)
            )
            plans.append(
                LayerPlan(
                    image=layer,
                    geometry=geometry,
                    constant_input=n == 0,
                    out_word=0 if last else self.geometries[n + 1].word,
                    memory=self.memories[n],
                    files=files if with_files else None,
                )
            )
        return plans


def plan_core(
    network: Network,
    lanes: int = DEFAULT_LANES,
    banks: int = 1,
    memories: Sequence[str] | None = None,
    *,
    fire_lanes: int = 0,
    lean: bool = False,
    repeat: bool = False,
) -> CorePlan:
    """Lay out every layer with at most `lanes` neurons and `banks` events per cycle.

    A layer of n neurons runs in `ceil(n / lanes)` groups of equal size. The chunk, coefficients
    per bank and word, is 16, or the power of two that holds a narrower input. Without `memories`,
    weights are in ROM. `fire_lanes` (a power of two, 0 for all lanes) and `lean` save logic on
    small chips; `repeat` plays augmented spikes as ternary ones: see `LayerGeometry`.

    Raises
    ------
    PlanError
        When lanes is not in 1..1024, or banks not 1, 2, 4, 8 or 16.
    """
    if not 1 <= lanes <= 1024:
        raise PlanError(f"Lanes must be an integer from 1 to 1024, not {lanes!r}")
    if banks not in (1, 2, 4, 8, 16):
        raise PlanError(f"Banks must be 1, 2, 4, 8 or 16, not {banks!r}")
    if fire_lanes and (fire_lanes & (fire_lanes - 1) or fire_lanes < banks):
        raise PlanError(
            f"Lanes that fire must be a power of two, and at least the banks, not {fire_lanes!r}"
        )
    if not network.spec.is_chain:
        raise PlanError(
            f"Network {network.spec.name} must be a chain of dense layers for this core: "
            "convolution, pooling, shortcuts, recurrence and recordings run on shared cores"
        )
    geometries: list[LayerGeometry] = []
    for memory in memories or ():
        if memory not in MEMORIES:
            raise PlanError(f"Weight memory must be one of {MEMORIES}, not {memory!r}")
    source_lanes, source_word = network.spec.input_size, MAX_CHUNK * banks
    for n, layer in enumerate(network.spec.layers):
        readout = layer.neuron is None
        sender = network.spec.layers[n - 1].neuron if n else None
        groups = -(-layer.neurons // lanes)
        layer_lanes = -(-layer.neurons // groups)
        fire = fire_lanes if 0 < fire_lanes < layer_lanes else 0
        if fire and groups > 1:
            if readout:
                fire = 0  # its last group may be a partial one
            else:
                layer_lanes = layer_lanes // fire * fire
        per_bank = -(-min(source_lanes, source_word) // banks)
        geometry = LayerGeometry(
            inputs=layer.inputs,
            neurons=layer.neurons,
            lanes=layer_lanes,
            banks=banks,
            chunk=min(MAX_CHUNK, 1 << (per_bank - 1).bit_length()),
            planes=sender.magnitude_bits if sender else network.spec.input_bits,
            signed=sender is not None and sender.signed,
            source_lanes=source_lanes,
            bias_rows=network.layers[n].bias_rows,
            fire_lanes=fire,
            repeat=repeat and n > 0,
            lean=lean,
        )
        if (memories or ["rom"] * (n + 1))[n] == "spram" and geometry.depth > SPRAM_ROWS:
            raise PlanError(
                f"Layer {layer.name} must have at most {SPRAM_ROWS} rows for single-port RAM, "
                f"not {geometry.depth}"
            )
        geometries.append(geometry)
        source_lanes = geometry.lanes
        source_word = geometry.firing.lanes
    return CorePlan(
        network=network,
        lanes=lanes,
        banks=banks,
        geometries=tuple(geometries),
        memories=tuple(memories or ["rom"] * len(geometries)),
        fire_lanes=fire_lanes,
        lean=lean,
        repeat=repeat,
    )
