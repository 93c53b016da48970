"""`sterna study importers`: a small network of each framework, trained there, imported, simulated.

All are trained on the 8x8 digits that ship, in the framework's own way, with the same optimiser and
epochs; then imported at several widths of weights, each compared with the original spike by spike,
and one of them run as hardware.
"""

import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from gen.core.plan import plan_network
from hw.contract.checks import SternaError
from hw.contract.files import write_json
from hw.contract.text import markdown, none_of
from hw.system.jobs import InTurn, Jobs, Result, RunJobs
from hw.system.progress import Progress, announced, silent
from sim.bench.run import simulate
from sw.data.dataset import load_split
from sw.data.split import Split
from sw.frameworks.importing import import_foreign
from sw.frameworks.proof import ImportReport
from sw.importers.affine import ConvertError
from sw.reading.conventions import Conventions
from sw.reading.network import Foreign

__all__ = ["TRAINED", "Trained", "importers_table", "study"]

PIXEL_BITS, HIDDEN, LANES = 4, 32, 16
BATCH, RATE, EPOCHS, IMAGES = 64, 5e-3, 30, 20
BITS = (4, 8, 16)
HARDWARE_BITS = 8
STEPS = 8
LEAKY_TAU = 10.0
"""Of Norse's and sinabs's neurons, in time steps."""

Logits = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network in a framework.

    Parameters
    ----------
    title, packages
        In words; without which it is not there.
    make
        The module, and what gives its logits (n, classes) of images (n, 64), 0 to 1.
    open
        The module, trained, as what is imported; a folder may be used.
    steps
        T.
    fine_biases
        How it is imported.
    install
        What brings the packages.
    """

    title: str
    packages: tuple[str, ...]
    make: Callable[[], tuple[nn.Module, Logits]]
    open: Callable[[nn.Module, Path], Foreign]
    steps: int = STEPS
    fine_biases: bool = True
    install: str = "make .venv/stamp-importers"

    @property
    def missing(self) -> list[str]:
        """Packages that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]

    @property
    def versions(self) -> list[str]:
        """Packages by which its figures come about, as they are installed."""
        return [_release(name) for name in ("torch", *self.packages)]


def _release(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:  # a folder on the path
        return f"{package} of no version"


def _loop(hidden: nn.Module, outputs: nn.Module) -> nn.Module:
    """A network of snnTorch, as its tutorials have it."""

    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.lif1 = nn.Linear(64, HIDDEN), hidden
            self.fc2, self.lif2 = nn.Linear(HIDDEN, 10), outputs

        def forward(self, x: Tensor) -> Tensor:
            spikes = []
            for node in (self.lif1, self.lif2):
                node.reset_mem()  # type: ignore[operator]
            for _ in range(STEPS):
                out = self.lif1(self.fc1(x))[0]
                spikes.append(self.lif2(self.fc2(out))[0])
            return torch.stack(spikes)

    return Loop()


def _snntorch(kind: str, **options: Any) -> Callable[[], tuple[nn.Module, Logits]]:
    def make() -> tuple[nn.Module, Logits]:
        import snntorch

        module = snntorch
        if kind == "TernaryLeaky":
            import snntorch_ternary as module
        given = {"beta": 0.9, **options}
        network = _loop(getattr(module, kind)(**given), snntorch.Leaky(beta=0.9))
        return network, lambda x: network(x).sum(0)

    return make


def _own_constants() -> tuple[nn.Module, Logits]:
    """A decay and a threshold of each hidden neuron, learned."""
    one: Any = torch.ones(HIDDEN)
    learned = {"learn_beta": True, "learn_threshold": True}
    return _snntorch("Leaky", beta=0.9 * one, threshold=one, **learned)()


def _leaky_readout() -> tuple[nn.Module, Logits]:
    """Its class is that of the largest sum of potentials that never reset."""
    import snntorch

    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.lif1 = nn.Linear(64, HIDDEN), snntorch.Leaky(beta=0.9)
            self.fc2 = nn.Linear(HIDDEN, 10)
            self.lif2 = snntorch.Leaky(beta=0.9, reset_mechanism="none")

        def forward(self, x: Tensor) -> Tensor:
            one, two, said = self.lif1.reset_mem(), self.lif2.reset_mem(), []
            for _ in range(STEPS):
                spikes, one = self.lif1(self.fc1(x), one)
                _, two = self.lif2(self.fc2(spikes), two)
                said.append(two)
            return torch.stack(said).sum(0)

    network = Loop()
    return network, network


def _leaky_chain() -> tuple[nn.Module, Logits]:
    """Of snnTorch, too, in the form that it writes as NIR: neurons that keep their potentials."""
    import snntorch

    def node(neurons: int) -> Any:
        one: Any = torch.ones(neurons)  # a file must say how many there are
        return snntorch.Leaky(beta=0.9 * one, threshold=one, init_hidden=True)

    first, last = nn.Linear(64, HIDDEN), nn.Linear(HIDDEN, 10)
    network = nn.Sequential(first, node(HIDDEN), last, node(10))

    def logits(x: Tensor) -> Tensor:
        for place in (1, 3):
            network[place].reset_mem()  # type: ignore[operator]
        return sum((network(x) for _ in range(STEPS)), torch.zeros(()))

    return network, logits


def _open_snntorch(network: nn.Module, folder: Path) -> Foreign:
    from sw.frameworks.snntorch import SnnNetwork

    return SnnNetwork(network)


def _open_state(network: nn.Module, folder: Path) -> Foreign:
    from sw.frameworks.snntorch import open_file

    torch.save(network.state_dict(), folder / "net.pt")
    return open_file(folder / "net.pt")


def _written(graph: Any, folder: Path, conventions: Conventions) -> Foreign:
    """A NIR graph, by way of a file."""
    import nir

    from sw.nir.network import open_file

    nir.write(folder / "net.nir", graph)
    return open_file(folder / "net.nir", conventions)


def _open_nir(network: nn.Module, folder: Path) -> Foreign:
    from snntorch.export_nir import export_to_nir

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # snnTorch 1.0 calls what nirtorch 2.6 is about to drop
        graph = export_to_nir(network, torch.zeros(1, 64), ignore_dims=[0])
    return _written(graph, folder, Conventions(reset="subtract-later"))


def _norse() -> tuple[nn.Module, Logits]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Norse 1.1 compiles with what torch is about to drop
        import norse.torch as norse

    one: Any = torch.ones(1)  # nir writes no scalars

    def node() -> nn.Module:
        # A tenth of an input counts. The surrogate's usual width, 1 / 100, trains little.
        return norse.LIFBoxCell(
            norse.LIFBoxParameters(
                tau_mem_inv=1000 / LEAKY_TAU * one,
                v_leak=0 * one,
                v_th=one / LEAKY_TAU,
                v_reset=0 * one,
                alpha=10 * one,
            )
        )

    first, last = nn.Linear(64, HIDDEN), nn.Linear(HIDDEN, 10)
    network = norse.SequentialState(first, node(), last, node())

    def logits(x: Tensor) -> Tensor:
        counts, state = torch.zeros(()), None
        for _ in range(STEPS):
            spikes, state = network(x, state)
            counts = counts + spikes
        return counts

    return network, logits


def _open_norse(network: nn.Module, folder: Path) -> Foreign:
    from norse.torch.utils.export_nir import to_nir

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls what nirtorch 2.6 is about to drop
        graph = to_nir(network, torch.zeros(64))
    # It writes tau times its time step, which is 0.001 s.
    return _written(graph, folder, Conventions(dt=1e-6))


def _sinabs() -> tuple[nn.Module, Logits]:
    import sinabs.layers as layers  # pyright: ignore[reportMissingImports]
    from sinabs.activation import SingleSpike  # pyright: ignore[reportMissingImports]

    def node() -> nn.Module:
        made = layers.LIFSqueeze(
            tau_mem=torch.full((1,), LEAKY_TAU),
            spike_threshold=torch.full((1,), 1 / LEAKY_TAU),  # nir writes no scalars
            spike_fn=SingleSpike,
            num_timesteps=STEPS,
        )
        made.tau_mem.requires_grad_(False)  # one for all layers, as the time step is
        return made

    network = nn.Sequential(nn.Linear(64, HIDDEN), node(), nn.Linear(HIDDEN, 10), node())

    def logits(x: Tensor) -> Tensor:
        for place in (1, 3):
            network[place].reset_states()  # type: ignore[operator]
        return network(x.repeat_interleave(STEPS, 0)).unflatten(0, (len(x), STEPS)).sum(1)

    return network, logits


def _open_sinabs(network: nn.Module, folder: Path) -> Foreign:
    from sinabs.nir import to_nir  # pyright: ignore[reportMissingImports]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        graph = to_nir(network, torch.zeros(STEPS, 64))
    # A potential keeps exp(-1 / tau): Euler's method does with this time step.
    dt = LEAKY_TAU * (1 - math.exp(-1 / LEAKY_TAU))
    return _written(graph, folder, Conventions(dt=dt, fires_at="ge", reset="subtract"))


def _spikingjelly() -> tuple[nn.Module, Logits]:
    from spikingjelly.activation_based import functional as jelly
    from spikingjelly.activation_based import layer, neuron

    def node() -> nn.Module:
        return neuron.TernaryLIFNode(tau=4 / 3, decay_input=False, v_threshold=1.0)

    network = nn.Sequential(
        layer.Flatten(), layer.Linear(64, HIDDEN), node(), layer.Linear(HIDDEN, 10)
    )

    def logits(x: Tensor) -> Tensor:
        jelly.reset_net(network)
        return sum((network(x) for _ in range(STEPS)), torch.zeros(()))

    return network, logits


def _open_spikingjelly(network: nn.Module, folder: Path) -> Foreign:
    from sw.frameworks.spikingjelly import open_file

    torch.save(network, folder / "net.pt")
    return open_file(folder / "net.pt")


def _brevitas() -> tuple[nn.Module, Logits]:
    import brevitas.nn as layers

    network = nn.Sequential(
        layers.QuantLinear(64, HIDDEN, bias=True, weight_bit_width=4),
        layers.QuantReLU(bit_width=3, return_quant_tensor=True),
        layers.QuantLinear(HIDDEN, 10, bias=True, weight_bit_width=4),
    )
    return network, network


def _open_brevitas(network: nn.Module, folder: Path) -> Foreign:
    from sw.frameworks.brevitas import BrevitasNetwork

    return BrevitasNetwork(network)


def _open_onnx(network: nn.Module, folder: Path) -> Foreign:
    """The same network as QONNX: its weights and scales, Quant behind each."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    from sw.onnx.network import open_file

    first, act, last = (cast(Any, module) for module in network.children())
    constants = {"zero": 0.0, "bits": 4.0, "act_bits": float(act.act_quant.bit_width())}
    arrays = {name: np.float32(value) for name, value in constants.items()}
    arrays["scale"] = act.act_quant.scale().detach().numpy().astype(np.float32).reshape(())
    nodes = []

    def quant(given: str, scale: str, bits: str, made: str, signed: int) -> Any:
        return helper.make_node(
            "Quant", [given, scale, "zero", bits], [made], domain="qonnx.custom_op.general",
            signed=signed, narrow=signed, rounding_mode="ROUND",
        )  # fmt: skip

    for name, layer, before, after in (("a", first, "x", "drive"), ("b", last, "counts", "y")):
        weights = layer.quant_weight()
        arrays |= {
            f"w{name}": weights.value.detach().numpy(),
            f"s{name}": weights.scale.detach().numpy().reshape(()),
            f"bias{name}": layer.bias.detach().numpy(),
        }
        nodes.append(quant(f"w{name}", f"s{name}", "bits", f"q{name}", 1))
        inputs = [before, f"q{name}", f"bias{name}"]
        nodes.append(helper.make_node("Gemm", inputs, [after], transB=1))
        if name == "a":
            nodes.append(helper.make_node("Relu", ["drive"], ["positive"]))
            nodes.append(quant("positive", "scale", "act_bits", "counts", 0))
    kept = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    real = onnx.TensorProto.FLOAT
    ends = [
        [helper.make_tensor_value_info(name, real, ["n", size])]
        for name, size in (("x", 64), ("y", 10))
    ]
    inputs, outputs = ends
    graph = helper.make_graph(nodes, "network", inputs, outputs, kept)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("qonnx.custom_op.general", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), folder / "net.onnx")
    return open_file(folder / "net.onnx")


TRAINED = {
    "snntorch": Trained(
        title="snnTorch, `Leaky(beta=0.9)`, its state_dict",
        packages=("snntorch",),
        make=_snntorch("Leaky"),
        open=_open_state,
    ),
    "snntorch-recurrent": Trained(
        title="snnTorch, `RLeaky(beta=0.9)`",
        packages=("snntorch",),
        make=_snntorch("RLeaky", linear_features=HIDDEN),
        open=_open_snntorch,
    ),
    "snntorch-synaptic": Trained(
        title="snnTorch, `Synaptic(alpha=0.8, beta=0.9)`",
        packages=("snntorch",),
        make=_snntorch("Synaptic", alpha=0.8),
        open=_open_snntorch,
    ),
    "snntorch-own": Trained(
        title="snnTorch, `Leaky`, a `beta` and a threshold learned for each neuron",
        packages=("snntorch",),
        make=_own_constants,
        open=_open_state,
    ),
    "snntorch-readout": Trained(
        title="snnTorch, `Leaky(beta=0.9)`, potentials of the last added up",
        packages=("snntorch",),
        make=_leaky_readout,
        open=_open_snntorch,
    ),
    "snntorch-ternary": Trained(
        title="snntorch-ternary, `TernaryLeaky(beta=0.9)`",
        packages=("snntorch", "snntorch_ternary"),
        make=_snntorch("TernaryLeaky"),
        open=_open_state,
    ),
    "nir": Trained(
        title="NIR, of snnTorch's `Leaky(beta=0.9)`",
        packages=("snntorch", "nir", "nirtorch"),
        make=_leaky_chain,
        open=_open_nir,
    ),
    "norse": Trained(
        title="NIR, of Norse's `LIFBoxCell`, tau of 10 steps",
        packages=("norse", "nir", "nirtorch"),
        make=_norse,
        open=_open_norse,
    ),
    "sinabs": Trained(
        title="NIR, of sinabs's `LIFSqueeze`, tau of 10 steps",
        packages=("sinabs", "pbr", "nir", "nirtorch"),
        make=_sinabs,
        open=_open_sinabs,
        install="pip install --no-deps sinabs==3.1.3 pbr==7.1.3",
    ),
    "spikingjelly": Trained(
        title="SpikingJelly, `TernaryLIFNode(tau=4/3)`",
        packages=("spikingjelly",),
        make=_spikingjelly,
        open=_open_spikingjelly,
    ),
    "brevitas": Trained(
        title="Brevitas, 4-bit weights, `QuantReLU` of 3 bits",
        packages=("brevitas",),
        make=_brevitas,
        open=_open_brevitas,
        steps=1,
    ),
    "brevitas-whole": Trained(
        title="the same, `--whole-biases`",
        packages=("brevitas",),
        make=_brevitas,
        open=_open_brevitas,
        steps=1,
        fine_biases=False,
    ),
    "onnx": Trained(
        title="QONNX, the same network",
        packages=("brevitas", "onnx"),
        make=_brevitas,
        open=_open_onnx,
        steps=1,
    ),
}
"""By name."""


def trained(spec: Trained, data: Split, epochs: int, seed: int) -> nn.Module:
    """A network, trained: Adam, cross-entropy of its logits."""
    torch.manual_seed(seed)
    network, logits = spec.make()
    images = torch.from_numpy(data.images).float() / data.images.max()
    labels = torch.from_numpy(data.labels).long()
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(images))
        for some in order.split(BATCH)[: len(order) // BATCH]:
            optimiser.zero_grad()
            functional.cross_entropy(logits(images[some]), labels[some]).backward()
            optimiser.step()
    return network.eval()


def _row(report: ImportReport) -> dict[str, Any]:
    return {
        "original": report.float_accuracy.hits,
        "integer": report.integer_accuracy.hits,
        "same": report.agreement.hits,
        "images": report.agreement.n,
        "nodes": len(report.findings),
        "before": [layer.equal / layer.compared for layer in report.before],
        "equal": [layer.equal / layer.compared for layer in report.after],
        "jaccard": [layer.jaccard for layer in report.after],
    }


def study(
    out: Path,
    names: Sequence[str] = (),
    *,
    bits: Sequence[int] = BITS,
    epochs: int = EPOCHS,
    images: int = IMAGES,
    seed: int = 0,
    run: RunJobs | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train, import and simulate; leaves `importers.json` in a folder.

    Parameters
    ----------
    names
        Of `TRAINED`; by default all whose packages are there.
    images
        Test images for the hardware; 0: it is not simulated.
    run
        Who does it, each framework a job; None: one after the other.

    Raises
    ------
    SternaError
        For an unknown name, or packages that are not installed.
    """
    for name in names:
        if name not in TRAINED:
            raise SternaError(none_of("Framework", name, TRAINED))
        if TRAINED[name].missing:
            lacking = " and ".join(TRAINED[name].missing)
            raise SternaError(f"Networks of {name} need {lacking}: {TRAINED[name].install}")
    chosen = [*names] or [name for name, spec in TRAINED.items() if not spec.missing]
    how = {"bits": list(bits), "epochs": epochs, "images": images, "seed": seed}
    calls = {name: {"name": name, "versions": TRAINED[name].versions, **how} for name in chosen}
    found = (run or InTurn(progress))(
        Jobs("networks trained, imported, simulated", measure_job, calls)
    )
    rows = dict(zip(calls, found, strict=True))
    skipped = {name: spec.missing for name, spec in TRAINED.items() if spec.missing}
    facts = {"rows": rows, "epochs": epochs, "hidden": HIDDEN, "not_installed": skipped}
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "importers.json", facts)
    return facts


def measure_job(
    name: str,
    versions: Sequence[str],
    bits: Sequence[int],
    epochs: int,
    images: int,
    seed: int,
    progress: Progress = silent,
) -> Result:
    """A job: the row of a framework.

    Parameters
    ----------
    versions
        `Trained.versions` of who asks: figures of one table are of the same ones, kept or not.

    Raises
    ------
    SternaError
        For other versions, and as of `study`.
    """
    mine = TRAINED[name].versions
    if mine != [*versions]:
        raise SternaError(
            f"A worker must have {', '.join(versions)} for {name}, not {', '.join(mine)}"
        )
    with announced(progress, f"training, importing, simulating: {name}"):
        train, test = (load_split("digits", part, PIXEL_BITS) for part in ("train", "test"))
        return _measured(TRAINED[name], train, test, bits, epochs, images, seed)


def _measured(
    spec: Trained,
    train: Split,
    test: Split,
    bits: Sequence[int],
    epochs: int,
    images: int,
    seed: int,
) -> dict[str, Any]:
    row: dict[str, Any] = {"title": spec.title, "steps": spec.steps, "bits": {}}
    network = trained(spec, train, epochs, seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        foreign = spec.open(network, folder)
        for width in bits:
            try:
                made, report = import_foreign(
                    foreign,
                    test,
                    name="imported",
                    steps=spec.steps,
                    weight_bits=width,
                    fine_biases=spec.fine_biases,
                )
            except ConvertError:
                raise
            except SternaError as error:  # sums may be too wide
                row["bits"][str(width)] = {"refused": str(error)}
                continue
            row["bits"][str(width)] = _row(report)
            if images and (width == HARDWARE_BITS or len(bits) == 1):
                run = simulate(
                    plan_network(made, lanes=LANES),
                    test.images[:images],
                    test.labels[:images],
                    folder / "core",
                )
                keys = ("values_compared", "mismatches", "cycle_law_violations")
                row["hardware"] = {key: run[key] for key in keys} | {
                    "images": images,
                    "cycles": run["cycles_per_image"]["mean"],
                }
    return row


def _shares(values: Sequence[float]) -> str:
    return ", ".join(f"{100 * value:.2f}" for value in values)


def _cells(row: dict[str, Any], bits: Sequence[str]) -> Iterator[str]:
    first = next(iter(found for found in row["bits"].values() if "refused" not in found))
    yield row["title"]
    yield f"{first['nodes']}; {row['steps']}"
    yield f"{first['original']}"
    yield _shares(first["before"])
    for width in bits:
        found = row["bits"][width]
        if "refused" in found:
            yield "refused: sums too wide"
            continue
        jaccard = ", ".join(f"{value:.3f}" for value in found["jaccard"])
        yield f"{_shares(found['equal'])} ({jaccard}); {found['same']}, {found['integer']}"
    hardware = row.get("hardware")
    if hardware is None:
        yield "-"
        return
    yield (
        f"{hardware['values_compared']:,}, {hardware['mismatches']}, "
        f"{hardware['cycle_law_violations']}; {hardware['cycles']:.1f}"
    )


def importers_table(facts: dict[str, Any]) -> str:
    """Markdown: a row per framework."""
    rows = facts["rows"].values()
    bits = list(dict.fromkeys(width for row in rows for width in row["bits"]))
    head = (
        "network, 64-32-10",
        "nodes; T",
        "original",
        "float twin: equal spikes, %",
        *(f"{width} bits: equal, % (Jaccard); same class, correct" for width in bits),
        "hardware: values, mismatches, violations; cycles",
    )
    return markdown(head, (tuple(_cells(row, bits)) for row in rows))
