"""`sterna study cost`: synaptic operations and estimated energy, against a ReLU network's MACs.

The energies are of arithmetic alone, in one technology, from one source: an estimate that compares
two ways to count, not a measurement of any chip. Fetching weights costs more than adding them, on
both sides; it is left out on both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hw.contract.network import Network
from hw.contract.text import markdown
from sim.golden.activity import Activity
from sim.golden.edges import fan_out
from sw.data.evaluate import Accuracy, evaluate
from sw.data.split import Split
from sw.report.energy import NEURON_ADDS, PICOJOULES

__all__ = ["Cost", "cost", "cost_table"]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Operations of an image on average, and what they would cost.

    Parameters
    ----------
    name, accuracy, activity
        Of the network, on a whole test set.
    macs
        Multiply-accumulates of a ReLU network of the same topology: one per weight.
    neuron_steps
        Firing neurons times T.
    """

    name: str
    accuracy: Accuracy
    activity: Activity
    macs: int
    neuron_steps: int

    def energy(self, add: str, multiply: str, total: str) -> tuple[float, float]:
        """(spiking, ReLU) network in nJ: `add` per synaptic operation and three per neuron and
        step; a `multiply` and an add of `total` per MAC."""
        additions = self.activity.sops + NEURON_ADDS * self.neuron_steps
        spiking = additions * PICOJOULES[add]
        relu = self.macs * (PICOJOULES[multiply] + PICOJOULES[total])
        return spiking / 1000, relu / 1000

    @property
    def float_energy(self) -> tuple[float, float]:
        """Both in float32, as most papers count: 0.9 pJ an addition, 4.6 pJ a MAC."""
        return self.energy("float32 add", "float32 multiply", "float32 add")

    @property
    def integer_energy(self) -> tuple[float, float]:
        """Both in integers, as this hardware and quantised ReLU networks compute: 0.1 pJ an
        addition of 32 bits, 0.3 pJ a MAC of 8 bits."""
        return self.energy("int32 add", "int8 multiply", "int32 add")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "network": self.name,
            "accuracy": self.accuracy.to_dict(),
            "activity": self.activity.to_dict(),
            "macs": self.macs,
            "neuron_steps": self.neuron_steps,
            "nanojoules_float32": [round(e, 2) for e in self.float_energy],
            "nanojoules_integer": [round(e, 3) for e in self.integer_energy],
        }


def macs(network: Network) -> int:
    """Multiply-accumulates of one pass over the network's topology, were it a ReLU network: those
    of its matrices and kernels, borders left out."""
    spec = network.spec
    total = 0
    for n, layer in enumerate(spec.layers):
        for edge in spec.edges(n):
            shape = spec.shape_of(edge.source)
            channels, rows, columns = edge.pooled(shape)
            reached = fan_out(replace(edge, pool=1), (channels, rows, columns), layer.map_shape)
            total += channels * int(reached.sum())
    return total


def cost(network: Network, data: Split) -> Cost:
    """Operations of a network on a data set.

    Raises
    ------
    EvaluateError
        When the data set does not fit the network.
    """
    accuracy, activity = evaluate(network, data)
    layers = network.spec.layers
    return Cost(
        name=network.spec.name,
        accuracy=accuracy,
        activity=activity,
        macs=macs(network),
        neuron_steps=network.spec.steps * sum(layer.neurons for layer in layers[:-1]),
    )


def cost_table(costs: Sequence[Cost]) -> str:
    """Markdown: a row per network."""
    head = (
        "network",
        "accuracy",
        "events",
        "SOPs",
        "MACs",
        "SOPs / MACs",
        "nJ, float32: spiking / ReLU",
        "nJ, integers: spiking / ReLU",
    )
    return markdown(
        head,
        (
            (
                c.name,
                f"{100 * c.accuracy.share:.2f} %",
                f"{c.activity.events:,.0f}",
                f"{c.activity.sops:,.0f}",
                f"{c.macs:,}",
                f"{c.activity.sops / c.macs:.2f}",
                "{:,.1f} / {:,.1f}".format(*c.float_energy),
                "{:,.2f} / {:,.2f}".format(*c.integer_energy),
            )
            for c in costs
        ),
    )
