"""`sterna study cost`: synaptic operations and estimated energy, against a ReLU network's MACs.

The energies are of arithmetic alone, in one technology, from one source: an estimate that compares
two ways to count, not a measurement of any chip. Fetching weights costs more than adding them, on
both sides; it is left out on both.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from hw.contract.network import Network
from hw.contract.text import markdown
from hw.system.jobs import InTurn, Jobs, Result, RunJobs
from hw.system.progress import Progress, silent
from sim.golden.activity import Activity
from sim.golden.edges import fan_out
from sw.data.evaluate import Accuracy, evaluate
from sw.data.split import Split
from sw.report.energy import NEURON_ADDS, PICOJOULES

__all__ = ["Cost", "cost", "cost_job", "cost_table", "study"]


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

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "Cost":
        """Of all that `dataclasses.asdict` gives, as JSON may have given it back."""
        activity: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields["activity"].items()
        }
        whole = {"accuracy": Accuracy(**fields["accuracy"]), "activity": Activity(**activity)}
        return cls(**{**fields, **whole})


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


def study(
    networks: Mapping[str, tuple[Network, Split]],
    *,
    run: RunJobs | None = None,
    progress: Progress = silent,
) -> list[Cost]:
    """The costs of networks, by name, on their data sets.

    Parameters
    ----------
    run
        Who counts, each network a job; None: one after the other.

    Raises
    ------
    EvaluateError
        When a data set does not fit its network.
    """
    # A data set of several networks is there once.
    data = {split.digest: split for _, split in networks.values()}
    calls = {name: {"name": name, "data": split.digest} for name, (_, split) in networks.items()}
    sent = {"networks": {name: network for name, (network, _) in networks.items()}, "data": data}
    sha = hashlib.sha256(" ".join(data).encode())
    for name, (network, _) in networks.items():
        sha.update(f"{name} {network.spec.name} {network.digest}".encode())
    found = (run or InTurn(progress))(
        Jobs("networks", cost_job, calls, shared={"sent": (sha.hexdigest(), sent)})
    )
    return [Cost.from_fields(fields) for fields in found]


def cost_job(name: str, data: str, sent: Mapping[str, Any], progress: Progress = silent) -> Result:
    """A job: the fields of the cost of a network.

    Parameters
    ----------
    data
        Digest of its data set.
    sent
        `networks` by name, `data` by digest.

    Raises
    ------
    EvaluateError
        As of `study`.
    """
    split = sent["data"][data]
    progress(f"{name}: the test images of {split.title}")
    return asdict(cost(sent["networks"][name], split))


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
