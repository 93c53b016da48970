"""The numeric contract of a network: its layers, and how they are put together.

`hw/contract/neuron.py` has the neuron, `hw/contract/edge.py` the edge. Like them, this module
imports neither Amaranth nor torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hw.contract.checks import (
    SpecError,
    former_name,
    only_known,
    require,
    require_int,
    require_name,
    safe_name,
)
from hw.contract.edge import CONSTANT_BITS, INPUT, EdgeSpec, Shape, sides_text
from hw.contract.encoding import Encoding
from hw.contract.learning import LearningSpec, check_learning
from hw.contract.neuron import NeuronSpec, ReadoutSpec

__all__ = ["WEIGHT_BITS", "LayerSpec", "NetworkSpec"]

WEIGHT_BITS = range(2, 17)
"""Widths that weights may have."""

MAX_SIZE = 1 << 20
"""Most neurons of a layer that has edges."""


@dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """Neurons (or logits) and what they receive.

    Parameters
    ----------
    name
        ASCII letters, digits and `_`, a letter first, at most 64 of them; not `input`. (Names in
        files of before this rule are taken as they are; see `file_name`.)
    inputs
        Values received, over all edges, before pooling.
    neurons
        How many: channels x rows x columns of `shape`.
    weight_bits
        Width of the weights, 2 to 16, of all edges. (An identity's constant always has 16.)
    neuron
        None for the readout, which never fires.
    shape
        Channels, rows, columns. None: a plain row of neurons, (neurons, 1, 1).
    edges
        What is received. Empty: one dense edge from the layer before, or from the input.
    channel_thresholds
        Each channel has a threshold of its own (`Network.thetas`), none above `neuron.theta`, and
        under soft reset a step of its own (`Network.reset_steps`), none above `neuron.step`.
    channel_decays
        Each channel has a decay factor of its own (`Network.factors`), 0 to 2^k; the neuron's
        `decay` is `factor`, its `decay_factor` 0, its `decay_shift` k.
    readout
        Of the readout: the leaky integrator that it is. None: it adds up its drive over all steps
        (so does one that keeps all and is read at the last step, which becomes None).
    """

    name: str
    inputs: int
    neurons: int
    weight_bits: int
    neuron: NeuronSpec | None = None
    shape: Shape | None = None
    edges: tuple[EdgeSpec, ...] = ()
    channel_thresholds: bool = False
    channel_decays: bool = False
    readout: ReadoutSpec | None = None

    def __post_init__(self) -> None:
        require_name("Layer name", self.name)
        require(self.name != INPUT, f"Layer name must not be {INPUT!r}")
        most = MAX_SIZE if self.edges else 65536
        require_int(f"Inputs of layer {self.name}", self.inputs, 1, most)
        require_int(f"Neurons of layer {self.name}", self.neurons, 1, most)
        require_int(
            f"Weight width of layer {self.name}",
            self.weight_bits,
            WEIGHT_BITS.start,
            WEIGHT_BITS.stop - 1,
        )
        require(
            self.neuron is None or isinstance(self.neuron, NeuronSpec),
            f"Neuron of layer {self.name} must be a NeuronSpec or None, not {self.neuron!r}",
        )
        require(
            isinstance(self.edges, tuple) and all(isinstance(e, EdgeSpec) for e in self.edges),
            f"Edges of layer {self.name} must be a tuple of EdgeSpec, not {self.edges!r}",
        )
        if self.shape is not None:
            self._check_shape(self.shape)
        if self.readout is not None:
            self._check_readout(self.readout)
        if self.channel_thresholds:
            n = self.neuron
            require(
                n is not None,
                f"Thresholds of layer {self.name} must not be by channel: it is a readout",
            )
            # Every channel has units of its own: a common u0 would mean nothing.
            require(
                n is not None and n.u0 == 0 and n.theta_negative is None,
                f"Thresholds of layer {self.name} must not be by channel: that goes with an "
                "initial potential of 0 and equal thresholds on both sides",
            )
        self._check_decays()

    def _check_decays(self) -> None:
        n = self.neuron
        require(
            isinstance(self.channel_decays, bool),
            f"Decays by channel of layer {self.name} must be true or false, not "
            f"{self.channel_decays!r}",
        )
        many = n is not None and n.many_factors
        require(
            self.channel_decays or not many,
            f"Decay factor of layer {self.name} must not be 0: of layers with channel_decays alone "
            "has each channel its own",
        )
        require(
            not self.channel_decays or (many and n is not None and n.u0 == 0),
            f"Decays of layer {self.name} must not be by channel: that goes with decay factor, a "
            "decay_factor of 0 and an initial potential of 0",
        )

    @property
    def channel_resets(self) -> bool:
        """Whether each channel has a reset step of its own."""
        return self.channel_thresholds and self.neuron is not None and self.neuron.reset == "soft"

    @property
    def by_channel(self) -> bool:
        """Whether any constant of its neurons is each channel's own."""
        return self.channel_thresholds or self.channel_decays

    def _check_readout(self, readout: ReadoutSpec) -> None:
        require(
            isinstance(readout, ReadoutSpec),
            f"Readout of layer {self.name} must be a ReadoutSpec or None, not {readout!r}",
        )
        require(
            self.neuron is None, f"Readout of layer {self.name} must not be given: its neurons fire"
        )
        if readout.is_sum:  # one way to write one network
            object.__setattr__(self, "readout", None)

    def _check_shape(self, shape: Shape) -> None:
        require(
            bool(self.edges) and isinstance(shape, tuple) and len(shape) == 3,
            f"Shape of layer {self.name} must be (channels, rows, columns), of a layer with edges, "
            f"not {shape!r}",
        )
        for side in shape:
            require_int(f"Sides of layer {self.name}", side, 1, 65536)
        require(
            shape[0] * shape[1] * shape[2] == self.neurons,
            f"Layer {self.name} must have {sides_text(shape)} neurons, not {self.neurons}",
        )

    @property
    def file_name(self) -> str:
        """The name, safe in the names of files."""
        return safe_name(self.name)

    @property
    def w_max(self) -> int:
        """Largest weight; the grid is symmetric, so a spike of either sign costs the same."""
        return 2 ** (self.weight_bits - 1) - 1

    def largest(self, edge: EdgeSpec) -> int:
        """Largest weight of one of its edges."""
        return 2 ** (CONSTANT_BITS - 1) - 1 if edge.kind == "identity" else self.w_max

    @property
    def map_shape(self) -> Shape:
        """Channels, rows, columns."""
        return self.shape or (self.neurons, 1, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data. What dense chains do not have is left out: they have the digests they
        had before there were edges."""
        values: dict[str, Any] = {
            "name": self.name,
            "inputs": self.inputs,
            "neurons": self.neurons,
            "weight_bits": self.weight_bits,
            "neuron": self.neuron and self.neuron.to_dict(),
        }
        if self.edges:
            values["edges"] = [edge.to_dict() for edge in self.edges]
        if self.shape is not None:
            values["shape"] = list(self.shape)
        if self.channel_thresholds:
            values["channel_thresholds"] = True
        if self.channel_decays:
            values["channel_decays"] = True
        if self.readout is not None:
            values["readout"] = self.readout.to_dict()
        return values

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "LayerSpec":
        """Inverse of `to_dict`; raises SpecError, or TypeError for what is missing."""
        entry = only_known(cls, data)
        if "name" in entry:
            entry["name"] = former_name(entry["name"])
        if entry.get("neuron") is not None:
            entry["neuron"] = NeuronSpec(**only_known(NeuronSpec, entry["neuron"]))
        if entry.get("readout") is not None:
            entry["readout"] = ReadoutSpec(**only_known(ReadoutSpec, entry["readout"]))
        if entry.get("shape") is not None:
            entry["shape"] = tuple(entry["shape"])
        edges = (EdgeSpec(**only_known(EdgeSpec, edge)) for edge in entry.get("edges", ()))
        return cls(**{**entry, "edges": tuple(edges)})


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A graph of layers run for `steps` time steps on a directly coded image, or a recording.

    Parameters
    ----------
    name
        As of a layer, with inner `-`; names generated files.
    input_size, input_bits
        The image: `input_size` unsigned pixels of `input_bits` bits. The drive that comes from the
        input is computed once from the pixels' bit planes and added at every step (direct coding).
    steps
        Time steps T.
    layers
        At least one; all but the last fire, the last is the readout. In the order in which they
        are computed: an edge without delay comes from an earlier layer.
    input_shape
        Channels, rows, columns of the image. None: a plain row of pixels.
    timed_input
        The input is a recording: `steps` images one after the other, each seen at its own step
        alone (the binned events of an event camera).
    learning
        How the network learns; None: it does not.
    encoding
        How raw examples become pixels, and names of the classes; None: it is fed pixels.
    """

    name: str
    input_size: int
    input_bits: int
    steps: int
    layers: tuple[LayerSpec, ...]
    input_shape: Shape | None = None
    timed_input: bool = False
    learning: LearningSpec | None = None
    encoding: Encoding | None = None

    def __post_init__(self) -> None:
        require(
            isinstance(self.timed_input, bool),
            f"Timed input must be true or false, not {self.timed_input!r}",
        )
        require_name("Network name", self.name, "-")
        require_int("Input size", self.input_size, 1, MAX_SIZE if self.input_shape else 65536)
        require_int("Input width", self.input_bits, 1, 8)
        require_int("Time steps", self.steps, 1, 1024)
        if self.input_shape is not None:
            self._check_input_shape(self.input_shape)
        require(
            isinstance(self.layers, tuple) and len(self.layers) > 0,
            "Network must have at least one layer",
        )
        names = [layer.name for layer in self.layers]
        require(len(set(names)) == len(names), f"Layer names must be distinct, not {names}")
        readout = self.layers[len(self.layers) - 1]
        for layer in self.layers[: len(self.layers) - 1]:
            require(
                layer.neuron is not None,
                f"Layer {layer.name} must have a neuron: only the last layer is a readout",
            )
        require(
            readout.neuron is None,
            f"Layer {readout.name} must be a readout (no neuron): it is the last",
        )
        for n in range(len(self.layers)):
            self._check_edges(n)
        require(
            self.learning is None or isinstance(self.learning, LearningSpec),
            f"Learning must be a LearningSpec or None, not {self.learning!r}",
        )
        if self.learning is not None:
            check_learning(self)
        if self.encoding is not None:
            self._check_encoding(self.encoding)

    def _check_encoding(self, encoding: Encoding) -> None:
        """Whether it makes what the network takes."""
        require(
            isinstance(encoding, Encoding),
            f"Encoding must be an Encoding or None, not {encoding!r}",
        )
        require(
            encoding.size == self.input_size
            and (self.input_shape in (None, encoding.map_shape) or self._takes_rows)
            and encoding.timed == self.timed_input
            and encoding.steps == self.recorded_steps,
            f"Encoding must make {self.recorded_steps} image(s) of {self.input_size} pixels, not "
            f"{encoding.steps} of {sides_text(encoding.map_shape)}",
        )
        require(
            len(encoding.labels) in (0, self.classes),
            f"Encoding must have {self.classes} labels, not {len(encoding.labels)}",
        )

    @property
    def _takes_rows(self) -> bool:
        """Whether the input is a row of values, or signals of one row, whatever the pixels show."""
        return self.input_shape is not None and self.input_shape[1] == 1

    def _check_input_shape(self, shape: Shape) -> None:
        require(
            isinstance(shape, tuple) and len(shape) == 3,
            f"Input shape must be (channels, rows, columns), not {shape!r}",
        )
        for side in shape:
            require_int("Sides of the input", side, 1, 65536)
        require(
            shape[0] * shape[1] * shape[2] == self.input_size,
            f"Input must have {sides_text(shape)} pixels, not {self.input_size}",
        )

    def _check_edges(self, n: int) -> None:
        """Sources, order, shapes and number of inputs of a layer."""
        layer, known = self.layers[n], {other.name: k for k, other in enumerate(self.layers)}
        for edge in self.edges(n):
            require(
                edge.source == INPUT or edge.source in known,
                f"Layer {layer.name} has an edge from {edge.source}, which is no layer",
            )
            place = -1 if edge.source == INPUT else known[edge.source]
            require(
                edge.delay == 1 or place < n,
                f"Layer {layer.name} has an edge from {edge.source} that closes a cycle within a "
                "time step: it needs a delay of 1",
            )
            require(
                place < len(self.layers) - 1,
                f"Layer {layer.name} has an edge from {edge.source}, which is the readout and "
                "never fires",
            )
        size = sum(self.source_size(edge.source) for edge in self.edges(n))
        require(
            layer.inputs == size,
            f"Layer {layer.name} must have {size} inputs to fit what precedes it, not "
            f"{layer.inputs}",
        )
        self.weight_shapes(n)

    @property
    def file_name(self) -> str:
        """The name, safe in the names of files and packages."""
        return safe_name(self.name, "-")

    @property
    def is_chain(self) -> bool:
        """Whether every layer is dense and receives from the one before alone: what the pipelined
        core takes."""
        return not (self.timed_input or self.input_shape) and not any(
            layer.edges for layer in self.layers
        )

    @property
    def recorded_steps(self) -> int:
        """Images in a recording: T, or one where the input is an image."""
        return self.steps if self.timed_input else 1

    @property
    def image_size(self) -> int:
        """Pixels of an image, or of a recording's images together."""
        return self.input_size * self.recorded_steps

    def edges(self, layer: int) -> tuple[EdgeSpec, ...]:
        """What layer number `layer` receives; a layer without edges, one from the layer before."""
        before = INPUT if layer == 0 else self.layers[layer - 1].name
        return self.layers[layer].edges or (EdgeSpec(source=before),)

    def shape_of(self, source: str) -> Shape:
        """Channels, rows, columns of a layer, or of the input."""
        if source == INPUT:
            return self.input_shape or (self.input_size, 1, 1)
        return self._layer(source).map_shape

    def source_size(self, source: str) -> int:
        """Values that a source sends at each step."""
        return self.input_size if source == INPUT else self._layer(source).neurons

    def _layer(self, name: str) -> LayerSpec:
        return next(layer for layer in self.layers if layer.name == name)

    def weight_shapes(self, layer: int) -> list[tuple[int, ...]]:
        """Shape of the weights of each edge of a layer."""
        target = self.layers[layer]
        return [
            edge.weight_shape(self.shape_of(edge.source), target.map_shape, target.name)
            for edge in self.edges(layer)
        ]

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.layers[-1].neurons

    @property
    def pixel_max(self) -> int:
        """Largest input pixel."""
        return 2**self.input_bits - 1

    def source_max(self, source: str) -> int:
        """Largest `|coefficient|` that a source sends."""
        if source == INPUT:
            return self.pixel_max
        neuron = self._layer(source).neuron
        assert neuron is not None
        return neuron.limit

    def coefficient_max(self, layer: int) -> int:
        """Largest `|coefficient|` that layer number `layer` receives over any edge."""
        return max(self.source_max(edge.source) for edge in self.edges(layer))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; `from_dict` is its inverse."""
        values: dict[str, Any] = {
            "name": self.name,
            "input_size": self.input_size,
            "input_bits": self.input_bits,
            "steps": self.steps,
            "layers": [layer.to_dict() for layer in self.layers],
        }
        if self.input_shape is not None:
            values["input_shape"] = list(self.input_shape)
        if self.timed_input:
            values["timed_input"] = True
        if self.learning is not None:
            values["learning"] = self.learning.to_dict()
        if self.encoding is not None:
            values["encoding"] = self.encoding.to_dict()
        return values

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "NetworkSpec":
        """Rebuild and check a specification.

        Raises
        ------
        SpecError
            For unknown or missing fields and for every value the constructors refuse.
        """
        try:
            network = only_known(cls, data)
            if "name" in network:
                network["name"] = former_name(network["name"], "-")
            layers = tuple(LayerSpec.from_dict(entry) for entry in network.get("layers", ()))
            if network.get("input_shape") is not None:
                network["input_shape"] = tuple(network["input_shape"])
            if network.get("learning") is not None:
                learning = only_known(LearningSpec, network["learning"])
                rates = tuple(learning.get("rates", ()))
                network["learning"] = LearningSpec(**{**learning, "rates": rates})
            if network.get("encoding") is not None:
                network["encoding"] = Encoding.from_dict(network["encoding"])
            return cls(**{**network, "layers": layers})
        except TypeError as error:
            raise SpecError(f"Network specification is incomplete: {error}") from None
