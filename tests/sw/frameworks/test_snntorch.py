"""Networks of snnTorch: what is read is what they compute; each of their conventions; refusals."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

from sw.data.dataset import load_split
from sw.frameworks.architecture import Architecture, Module
from sw.frameworks.importing import import_foreign
from sw.frameworks.proof import report_table
from sw.frameworks.registry import importer_for
from sw.frameworks.snntorch import ACTIVATION, SnnNetwork, import_network, is_file, open_file
from sw.importers.affine import ConvertError
from tests.membranes import require_same_membranes

snntorch: Any = pytest.importorskip("snntorch", reason="the package snntorch is not installed")
TernaryLeaky: Any = pytest.importorskip(
    "snntorch_ternary", reason="the package snntorch-ternary is not installed"
).TernaryLeaky

STEPS, INPUTS, PIXEL_MAX = 9, 12, 15


def pixels(shape: tuple[int, ...] = (INPUTS,), n: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, PIXEL_MAX + 1, (n, *shape), generator=generator).double()


class Loop(nn.Module):
    """The form in which snnTorch's tutorials write a network."""

    def __init__(self, neuron: nn.Module, outputs: nn.Module | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(INPUTS, 16)
        self.lif1 = neuron
        self.fc2 = nn.Linear(16, 5)
        self.lif2 = outputs if outputs is not None else snntorch.Leaky(beta=0.5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for node in (self.lif1, self.lif2):
            cast(Any, node).reset_mem()
        spikes, potentials = [], []
        for _ in range(STEPS):
            out = self.lif2(self.fc2(self.lif1(self.fc1(x))[0]))
            spikes.append(out[0])
            potentials.append(out[1])
        return torch.stack(spikes), torch.stack(potentials)


def loop(neuron: nn.Module, outputs: nn.Module | None = None, gain: float = 4.0) -> Loop:
    torch.manual_seed(3)
    network = Loop(neuron, outputs)
    with torch.no_grad():
        for layer in (network.fc1, network.fc2):
            layer.weight *= gain
    return network


def require_equal(network: nn.Module, shape: tuple[int, ...] = (INPUTS,)) -> SnnNetwork:
    """Every spike of every layer, and the outputs."""
    foreign = SnnNetwork(network)
    folded = foreign.read(shape, steps=STEPS, pixel_max=PIXEL_MAX).require()
    given = pixels(shape)
    theirs, ours = foreign.run(given / PIXEL_MAX, STEPS), folded(given.flatten(1))
    assert len(theirs.spikes) > 0
    for mine, other in zip(ours.spikes, theirs.spikes, strict=False):
        assert other is not None
        assert mine.abs().sum() > 0
        assert torch.equal(mine, other.reshape(mine.shape))
    assert theirs.outputs.abs().sum() > 0
    assert torch.allclose(ours.logits, theirs.outputs, atol=1e-9)
    require_same_membranes(theirs, ours, folded)
    return foreign


def refused(network: nn.Module, shape: tuple[int, ...] = (INPUTS,)) -> str:
    reading = SnnNetwork(network).read(shape, steps=STEPS, pixel_max=PIXEL_MAX)
    with pytest.raises(ConvertError) as error:
        reading.require()
    return str(error.value)


NEURONS = {
    "subtract": lambda: snntorch.Leaky(beta=0.75),
    "keeps-all": lambda: snntorch.Leaky(beta=1.0, threshold=2.0),
    "clamped": lambda: snntorch.Leaky(beta=1.25),
    "zero": lambda: snntorch.Leaky(beta=0.5, reset_mechanism="zero"),
    "zero-at-once": lambda: snntorch.Leaky(beta=0.5, reset_mechanism="zero", reset_delay=False),
    "thresholds": lambda: snntorch.Leaky(beta=0.75, threshold=torch.linspace(0.5, 2, 16)),
    "betas": lambda: snntorch.Leaky(beta=torch.linspace(0.5, 1.25, 16)),
    "betas-zero": lambda: snntorch.Leaky(
        beta=torch.linspace(0, 0.9, 16),
        threshold=torch.linspace(2, 0.5, 16),
        reset_mechanism="zero",
    ),
    "betas-and-thresholds": lambda: snntorch.Leaky(
        beta=torch.linspace(0.5, 0.95, 16), threshold=torch.linspace(2, 0.5, 16)
    ),
    "betas-recurrent": lambda: snntorch.RLeaky(
        beta=torch.linspace(0.5, 0.9, 16), linear_features=16
    ),
    "ternary-betas": lambda: TernaryLeaky(beta=torch.linspace(0.5, 0.9, 16)),
    "graded": lambda: snntorch.Leaky(beta=0.75, graded_spikes_factor=0.5),
    "lapicque": lambda: snntorch.Lapicque(R=2.0, C=4.0, time_step=2.0),
    "recurrent": lambda: snntorch.RLeaky(beta=0.5, linear_features=16),
    "one-to-one": lambda: snntorch.RLeaky(beta=0.5, all_to_all=False, V=-0.25),
    "one-to-one-each": lambda: snntorch.RLeaky(
        beta=0.5, all_to_all=False, V=torch.linspace(-1, 1, 16)
    ),
    "recurrent-graded": lambda: snntorch.RLeaky(
        beta=0.5, linear_features=16, reset_mechanism="zero", reset_delay=False
    ),
    "synaptic": lambda: snntorch.Synaptic(alpha=0.5, beta=0.75, threshold=2.0),
    "synaptic-clamped": lambda: snntorch.Synaptic(alpha=1.5, beta=0.5, threshold=4.0),
    "synaptic-without": lambda: snntorch.Synaptic(alpha=0.0, beta=0.75),
    "synaptic-zero-at-once": lambda: snntorch.Synaptic(
        alpha=0.6, beta=0.7, reset_mechanism="zero", reset_delay=False
    ),
    "synaptic-recurrent": lambda: snntorch.RSynaptic(alpha=0.5, beta=0.5, linear_features=16),
    "synaptic-one-to-one": lambda: snntorch.RSynaptic(
        alpha=0.9, beta=0.8, threshold=3.0, all_to_all=False, V=torch.linspace(-1, 1, 16)
    ),
    "ternary": lambda: TernaryLeaky(beta=0.75),
    "ternary-of-one": lambda: TernaryLeaky(beta=0.75, surrogate_disable=True),
}


@pytest.mark.parametrize("name", NEURONS)
def test_every_neuron_spikes_as_it_does_there(name: str) -> None:
    require_equal(loop(NEURONS[name]()))


def test_spikes_of_a_ternary_neuron_are_worth_two() -> None:
    """Its surrogate is a sign, +1 or -1 on both sides of both thresholds."""
    reading = SnnNetwork(loop(TernaryLeaky(beta=0.5))).read(
        (INPUTS,), steps=STEPS, pixel_max=PIXEL_MAX
    )
    told = {finding.node: str(finding) for finding in reading.findings}
    assert "spikes of 2" in told["lif1 (TernaryLeaky)"]
    step = reading.require().layers[0].neuron
    assert step is not None
    assert step.step == 2 / 0.5  # twice the threshold, and before the decay


def test_both_decays_of_a_synaptic_neuron_are_told() -> None:
    network = loop(snntorch.Synaptic(alpha=0.9, beta=0.75))
    reading = SnnNetwork(network).read((INPUTS,), steps=STEPS, pixel_max=PIXEL_MAX)
    told = {finding.node: str(finding) for finding in reading.findings}["lif1 (Synaptic)"]
    assert "keeps 1 - 1/4, keeps 0.9 of its synaptic current" in told
    assert "keeps 0.899902 (1843/2048) of a synaptic current per step, not 0.9: -9.8e-05" in told


def test_a_network_that_ends_in_a_ternary_neuron() -> None:
    require_equal(loop(snntorch.Leaky(beta=0.5), TernaryLeaky(beta=0.5, threshold=0.5)))


def sequential() -> nn.Sequential:
    torch.manual_seed(5)
    network: Any = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        snntorch.Leaky(beta=0.5, init_hidden=True),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 3, 3),
        snntorch.Leaky(beta=0.75, init_hidden=True, threshold=0.3),
        nn.Flatten(),
        nn.Linear(3, 5),
    )
    with torch.no_grad():
        network[0].weight *= 3
        network[3].weight *= 3
    return network


def test_a_sequential_of_maps_that_ends_in_weights() -> None:
    require_equal(sequential(), (1, 6, 6))


class Maps(nn.Module):
    """Takes all steps at once, and reshapes on its own."""

    def __init__(self, between: Any = None) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.conv = nn.Conv2d(1, 3, 3)
        self.lif1 = snntorch.RLeaky(
            beta=0.5, conv2d_channels=3, kernel_size=3, threshold=0.2, init_hidden=True
        )
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(48, 5)
        self.lif2 = snntorch.Leaky(beta=0.5, threshold=0.1, init_hidden=True)
        self.between = between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        cast(Any, self.lif1).reset_mem()
        cast(Any, self.lif2).reset_mem()
        out = []
        for step in x:
            spikes = self.lif1(self.conv(step))
            spikes = spikes if self.between is None else self.between(spikes)
            out.append(self.lif2(self.fc(self.drop(spikes.flatten(1)))))
        return torch.stack(out)


def test_a_forward_over_time_with_recurrent_maps() -> None:
    require_equal(Maps(), (1, 6, 6))


def test_what_a_forward_computes_between_its_modules() -> None:
    sentence = refused(Maps(lambda spikes: 1 - spikes), (1, 6, 6))
    assert sentence == (
        "Network cannot be converted: drop (Dropout) gets something else than what lif1 (RLeaky) "
        "made: what a forward computes between its modules must be a module of it (Flatten, "
        "AvgPool2d, a Linear)"
    )


@pytest.mark.parametrize(
    ("neuron", "sentence"),
    [
        (
            lambda: snntorch.Alpha(alpha=0.9, beta=0.8),
            "has more states than a potential and a synaptic current, which no neuron of the "
            f"contract has: train with {ACTIVATION}",
        ),
        (
            lambda: snntorch.Synaptic(alpha=torch.linspace(0.5, 0.75, 16), beta=0.5),
            "must have one alpha for all its neurons, not 0.5 to 0.75: train one for the layer",
        ),
        (
            lambda: snntorch.Synaptic(alpha=0.5, beta=0.5, reset_mechanism="zero"),
            "resets to zero a step late, and that step's input with it: use reset_delay=False, or "
            'reset_mechanism="subtract"',
        ),
        (
            lambda: snntorch.Leaky(beta=torch.linspace(0, 0.75, 16)),
            "subtracts a step late from what is not kept (beta = 0): use beta > 0",
        ),
        (
            lambda: snntorch.Leaky(beta=torch.tensor([0.5] * 15 + [float("inf")])),
            "must have a finite beta, not inf",
        ),
        (
            lambda: snntorch.Leaky(beta=0.5, reset_mechanism="none"),
            "must reset by subtraction or to zero, not go on as it is, unless it comes last and "
            "its potentials are returned",
        ),
        (
            lambda: snntorch.Lapicque(R=2.0, C=4.0, reset_mechanism="zero"),
            "resets to zero a step late, and that step's input with it: use reset_delay=False, or "
            'reset_mechanism="subtract"',
        ),
        (
            lambda: snntorch.Leaky(beta=0.0),
            "subtracts a step late from what is not kept (beta = 0): use beta > 0",
        ),
        (lambda: snntorch.Leaky(beta=0.5, threshold=0.0), "must have a positive threshold, not 0"),
        (
            lambda: snntorch.Leaky(beta=0.5, spike_grad=torch.sigmoid),
            "must send spikes of 1, not 0.731059 and 0.268941: its spike_grad does",
        ),
        (
            lambda: snntorch.Leaky(beta=0.5, spike_grad=lambda x: (x > 0.5).to(x.dtype)),
            "must fire wherever its potential is above its threshold, only there",
        ),
        (
            lambda: snntorch.Leaky(beta=0.5, spike_grad=lambda x: ((x > 0) & (x < 9)).to(x.dtype)),
            "must fire wherever its potential is above its threshold, only there",
        ),
        (
            lambda: snntorch.Leaky(beta=0.5, state_quant=lambda x: x),
            "must not round its states (state_quant): Sterna rounds by itself",
        ),
        (
            lambda: TernaryLeaky(beta=0.5, reset_mechanism="zero"),
            "resets negative potentials to something else than zero, or the wrong way (of "
            'snntorch-ternary 0.1.3): use reset_mechanism="subtract" with reset_delay=True',
        ),
        (
            lambda: TernaryLeaky(beta=0.5, neg_threshold=0.5, symmetric_threshold=False),
            "must have the same threshold on both sides, not 1 and 0.5: a spike subtracts one of "
            "them, and of the contract's neurons, the same on both sides",
        ),
        (
            lambda: TernaryLeaky(beta=0.5, symmetric_threshold=False),
            "must have a positive negative threshold, not 0",
        ),
    ],
)
def test_refusals(neuron: Any, sentence: str) -> None:
    node = neuron()
    said = refused(loop(node))
    assert said == f"Network cannot be converted: lif1 ({type(node).__name__}) {sentence}"


@pytest.mark.parametrize("at", [False, True])
def test_what_it_does_at_its_threshold_is_read(at: bool) -> None:
    """Drives that meet the threshold exactly, at the first step: with a spike_grad of one's own,
    they may fire."""
    fires = (lambda x: (x >= 0).to(x.dtype)) if at else None
    network = loop(snntorch.Leaky(beta=0.5, spike_grad=fires))
    with torch.no_grad():
        network.fc1.bias.fill_(1.0)
    foreign, dark = SnnNetwork(network), torch.zeros(2, INPUTS)
    ours = foreign.read((INPUTS,), steps=STEPS, pixel_max=PIXEL_MAX).require()(dark)
    theirs = foreign.run(dark.double(), STEPS).spikes[0]
    assert theirs is not None
    assert bool(theirs[0].all()) == bool(theirs[0].any()) == at
    assert torch.equal(ours.spikes[0], theirs)


def test_inhibition_is_refused() -> None:
    with pytest.warns(UserWarning, match="unstable feature"):
        node = snntorch.Leaky(beta=0.5, inhibition=True)
    assert refused(loop(node)).endswith(
        "must not let only its largest potential fire: without inhibition"
    )


class Returns(Loop):
    """A forward that returns something else."""

    def __init__(self, returns: Any) -> None:
        torch.manual_seed(3)
        super().__init__(snntorch.Leaky(beta=0.9))
        self.returns = returns
        with torch.no_grad():
            self.fc1.weight *= 4
            self.fc2.weight *= 4
            self.fc2.bias.add_(torch.linspace(0, 0.5, 5))

    def forward(self, x: torch.Tensor) -> Any:
        return self.returns(*super().forward(x))


RETURNS: dict[str, Any] = {
    "spikes": lambda spikes, _: spikes,
    "batch-first": lambda spikes, _: spikes.transpose(0, 1),
    "a-list": lambda spikes, _: list(spikes),
    "pairs": lambda spikes, mem: list(zip(mem, spikes, strict=True)),
    "a-dict": lambda spikes, mem: {"mem": mem, "spikes": spikes},
    "sum": lambda spikes, _: spikes.sum(dim=0),
    "mean": lambda spikes, _: spikes.mean(dim=0).float(),
    "softmax": lambda spikes, _: spikes.sum(dim=0).log_softmax(dim=1),
}


@pytest.mark.parametrize("name", RETURNS)
def test_what_a_forward_may_return(name: str) -> None:
    require_equal(Returns(RETURNS[name]))


@pytest.mark.parametrize(
    "returns",
    [
        lambda _, mem: mem,
        lambda _, mem: mem[-1],
        lambda _, mem: mem.amax(dim=0),
        lambda spikes, _: spikes.sum(dim=0).flip(1),
        lambda spikes, _: -spikes.sum(dim=0),
        lambda *_: None,
        lambda spikes, _: spikes.sum(dim=0) + 0.01 * spikes[-1],  # with the same largest ones
    ],
    ids=["potentials", "last-potential", "largest-potential", "turned", "negative", "nothing"]
    + ["weighted"],
)
def test_a_forward_that_returns_something_else(returns: Any) -> None:
    """Its own classes are others than those of what is read."""
    foreign = SnnNetwork(Returns(returns))
    with pytest.raises(ConvertError) as error:
        foreign.read((INPUTS,), steps=STEPS, pixel_max=PIXEL_MAX)
    assert str(error.value) == (
        "Network cannot be converted: lif2 (Leaky) comes last, and the forward returns neither "
        "what it makes, nor the sum or mean over all time steps: of neurons that reset, spikes are "
        "read, not potentials"
    )


class Bounded(Loop):
    """A forward with a bound that no image reaches, so that nothing differs there."""

    def __init__(self, bound: Any) -> None:
        torch.manual_seed(3)
        super().__init__(snntorch.Leaky(beta=0.9))
        self.bound = bound

    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(self.bound(x))


@pytest.mark.parametrize(
    ("bound", "name"),
    [
        (lambda x: x.clamp(min=-9.0), "clamp"),
        (lambda x: torch.where(x > 9, 9.0, x), "where"),
        (lambda x: torch.nn.functional.hardtanh(x, -9.0, 9.0), "hardtanh"),
    ],
)
def test_a_bound_that_does_nothing_yet_is_named(bound: Any, name: str) -> None:
    foreign = SnnNetwork(Bounded(bound))
    with pytest.raises(ConvertError) as error:
        foreign.read((INPUTS,), steps=STEPS, pixel_max=PIXEL_MAX)
    said = f"Network must not bound values ({name}) between its modules: on images that do not"
    assert str(error.value) == f"{said} reach the bound, nothing would tell"


class Deeper(Loop):
    """More layers, of which the way is told."""

    def __init__(self, way: Any) -> None:
        torch.manual_seed(3)
        super().__init__(snntorch.Leaky(beta=0.9))
        self.fc, self.lif = nn.Linear(16, 16), snntorch.Leaky(beta=0.9)
        self.fc3, self.lif3 = nn.Linear(5, 5), snntorch.Leaky(beta=0.9)
        self.way = way

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for node in self.modules():
            if isinstance(node, snntorch.Leaky):
                cast(Any, node).mem = torch.zeros(0, dtype=torch.float64)
        return torch.stack(self.way(self, x))


def layer_by_layer(net: Any, x: torch.Tensor) -> list[torch.Tensor]:
    hidden = [net.lif1(net.fc1(x))[0] for _ in range(STEPS)]
    return [net.lif2(net.fc2(spikes))[0] for spikes in hidden]


def shared(net: Any, x: torch.Tensor) -> list[torch.Tensor]:
    made = []
    for _ in range(STEPS):
        spikes = net.lif(net.fc(net.lif1(net.fc1(x))[0]))[0]
        made.append(net.lif2(net.fc2(net.fc(spikes)))[0])
    return made


def same_neurons(net: Any, x: torch.Tensor) -> list[torch.Tensor]:
    return [net.lif1(net.fc(net.lif1(net.fc1(x))[0]))[0] for _ in range(STEPS)]


def later(net: Any, x: torch.Tensor) -> list[torch.Tensor]:
    made = []
    for n in range(STEPS):
        spikes = net.lif2(net.fc2(net.lif1(net.fc1(x))[0]))[0]
        made.append(net.lif3(net.fc3(spikes))[0] if n else spikes)
    return made


def once_at_the_end(net: Any, x: torch.Tensor) -> list[torch.Tensor]:
    return [net.fc2(sum(net.lif1(net.fc1(x))[0] for _ in range(STEPS)))]


@pytest.mark.parametrize(
    ("way", "sentence"),
    [
        (
            layer_by_layer,
            "fc2 (Linear) first runs when other modules have begun their next time step; lif2 "
            "(Leaky) first runs when other modules have begun their next time step",
        ),
        (shared, "fc (Linear) runs 18x in 9 time steps: each module must run once in each"),
        (same_neurons, "lif1 (Leaky) runs 18x in 9 time steps: each module must run once in each"),
        (
            later,
            "fc3 (Linear) runs 8x in 9 time steps: each module must run once in each; lif3 (Leaky) "
            "runs 8x in 9 time steps: each module must run once in each",
        ),
        (
            once_at_the_end,
            "fc2 (Linear) runs 1x in 9 time steps: each module must run once in each",
        ),
    ],
)
def test_modules_that_do_not_run_once_in_each_step(way: Any, sentence: str) -> None:
    """None is left out without a word."""
    with pytest.raises(ConvertError) as error:
        SnnNetwork(Deeper(way)).read((INPUTS,), steps=STEPS, pixel_max=PIXEL_MAX)
    assert str(error.value) == f"Network cannot be converted: {sentence}"


def test_weights_in_front_of_the_loop() -> None:
    """The same at every step, computed once."""

    def way(net: Any, x: torch.Tensor) -> list[torch.Tensor]:
        drive = net.fc1(x)
        return [net.lif2(net.fc2(net.lif1(drive)[0]))[0] for _ in range(STEPS)]

    network = Deeper(way)
    with torch.no_grad():
        network.fc1.weight *= 4
        network.fc2.weight *= 4
    require_equal(network)


def test_one_image_of_a_forward_over_time() -> None:
    """Its axis of images is not one of time."""
    foreign, given = SnnNetwork(Maps()), pixels((1, 6, 6), n=3) / PIXEL_MAX
    assert torch.equal(foreign.run(given[:1], STEPS).outputs, foreign.run(given, STEPS).outputs[:1])


def test_a_linear_over_all_steps_at_once() -> None:
    """The number of images is none of steps."""

    class Together(Deeper):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.lif1(drive)[0] for drive in self.fc1(x)])

    assert "fc1 (Linear) gets something else than the image" in refused(Together(None))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(value: float) -> None:
    network = loop(snntorch.Leaky(beta=0.5))
    network.fc2.weight.data[0, 0] = value
    assert refused(network) == (
        "Network cannot be converted: fc2 (Linear) must have finite weights, not NaN or infinite "
        "ones"
    )
    with torch.no_grad():
        node = snntorch.Leaky(beta=0.5, reset_mechanism="zero")
        node.beta.fill_(float("nan"))
    assert refused(loop(node)).endswith("lif1 (Leaky) must have a finite beta, not nan")


def test_a_reset_at_once_that_is_not_enough() -> None:
    """Of potentials of twice the threshold: said, not read."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(64, 32),
        snntorch.Leaky(beta=0.95, init_hidden=True, reset_delay=False),
        nn.Linear(32, 10),
        snntorch.Leaky(beta=0.95, init_hidden=True, reset_delay=False),
    )
    with torch.no_grad():
        cast(Any, network[0]).weight *= 3
        cast(Any, network[2]).weight *= 3
    data = load_split("digits", "test", bits=4)
    with pytest.raises(ConvertError, match="with reset_delay=False, potentials reach twice"):
        import_network(network, data, name="x", steps=STEPS)


def test_a_report_says_what_a_state_dict_leaves_open(tmp_path: Path) -> None:
    data = load_split("digits", "test", bits=4)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(64, 16), snntorch.Leaky(beta=0.5, init_hidden=True), nn.Linear(16, 10)
    )
    torch.save(network.state_dict(), tmp_path / "net.pt")
    made, report = import_foreign(open_file(tmp_path / "net.pt"), data, name="x", steps=4)
    assert "a state_dict does not say the order of its modules" in report_table(made, report)


def test_steps_that_a_forward_has_by_itself() -> None:
    with pytest.raises(ConvertError) as error:
        SnnNetwork(loop(snntorch.Leaky(beta=0.5))).read((INPUTS,), steps=4, pixel_max=15)
    assert str(error.value) == f"Network runs {STEPS} time steps by itself, not 4: give --steps 9"


def test_what_cannot_be_run_is_said() -> None:
    with pytest.raises(ConvertError) as error:
        SnnNetwork(loop(snntorch.Leaky(beta=0.5))).read((5,), steps=STEPS, pixel_max=15)
    assert str(error.value).startswith(
        "Network cannot be run on images of (5,), nor on all steps of them: RuntimeError: mat1"
    )


def test_without_neurons() -> None:
    with pytest.raises(ConvertError) as error:
        SnnNetwork(nn.Linear(INPUTS, 5)).read((INPUTS,), steps=STEPS, pixel_max=15)
    assert str(error.value) == (f"Network has no neurons: it needs {ACTIVATION}")


# Files


UNSAID = {"zero-at-once", "synaptic-zero-at-once", "recurrent-graded", "ternary-of-one"}
"""A state_dict does not say when a neuron resets, nor that its surrogate is left out."""


@pytest.mark.parametrize("name", sorted(set(NEURONS) - UNSAID))
def test_a_state_dict_is_a_network(name: str, tmp_path: Path) -> None:
    """What every tutorial saves; names and order of modules are those of the class."""
    network = loop(NEURONS[name]())
    torch.save(network.state_dict(), tmp_path / "net.pt")
    assert is_file(tmp_path / "net.pt")
    given, kept = pixels() / PIXEL_MAX, SnnNetwork(network)
    theirs, ours = kept.run(given, STEPS), open_file(tmp_path / "net.pt").run(given, STEPS)
    assert torch.equal(theirs.outputs, ours.outputs)


def described(tmp_path: Path, text: str, network: nn.Module) -> Path:
    torch.save(network.state_dict(), tmp_path / "net.pt")
    (tmp_path / "net.toml").write_text(text)
    return tmp_path / "net.toml"


MODULES = """
framework = "snntorch"
weights = "net.pt"
[[module]]
name = "0"
padding = 1
[[module]]
name = "1"
[[module]]
kind = "AvgPool2d"
kernel_size = 2
[[module]]
name = "3"
[[module]]
name = "4"
[[module]]
kind = "Flatten"
[[module]]
name = "6"
"""


def test_a_file_says_what_a_state_dict_leaves_open(tmp_path: Path) -> None:
    network = sequential()
    path = described(tmp_path, MODULES, network)
    assert is_file(path)
    given = pixels((1, 6, 6)) / PIXEL_MAX
    theirs, ours = SnnNetwork(network).run(given, STEPS), open_file(path).run(given, STEPS)
    assert torch.equal(theirs.outputs, ours.outputs)
    require_equal(open_file(path).module, (1, 6, 6))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("framework = ", "is no TOML: Invalid value (at end of document)"),
        (
            'framework = "snntorch"\ncolour = 1',
            "has no key 'colour': it has framework, weights and [[module]]",
        ),
        ('framework = "snntorch"', 'must name a state_dict: weights = "net.pt"'),
        (
            'framework = "snntorch"\nweights = "net.pt"',
            "must have a [[module]] for each module, in the order in which they run",
        ),
        (MODULES.replace("net.pt", "gone.pt"), "names gone.pt, which does not exist beside it"),
        (
            MODULES.replace("net.pt", "net.toml"),
            "names net.toml, which is no state_dict: torch.save(net.state_dict(), path)",
        ),
        (MODULES.replace('"6"', '"7"'), "has no state of 7"),
        (
            MODULES.replace("AvgPool2d", "MaxPool2d"),
            "cannot make a module: its kind must be one of",
        ),
        (MODULES.replace('[[module]]\nname = "6"\n', ""), "has no module for the state of 6.bias"),
        (
            MODULES.replace("padding = 1", "paddling = 1"),
            "cannot make 0 (Conv2d): Conv2d.__init__() got an unexpected keyword argument "
            "'paddling'",
        ),
        (MODULES.replace('name = "1"', "padding = 1"), "must have a name, or a kind, for each"),
        (
            MODULES.replace("net.pt", "../net.pt"),
            "must name a state_dict beside it, or in a folder there, not ../net.pt",
        ),
        (
            MODULES.replace("net.pt", "/net.pt"),
            "must name a state_dict beside it, or in a folder there, not /net.pt",
        ),
        (
            'framework = "snntorch"\nweights = "net.pt"\nmodule = ["a"]',
            "must have a [[module]] for each module, in the order in which they run",
        ),
        ("x = " + "[" * 20000 + "]" * 20000, "is no TOML: maximum recursion depth exceeded"),
        ("#" * (1 << 20) + MODULES, "must be a TOML file of at most 1 MiB"),
        (MODULES + '[[module]]\nname = "6"\n', "names 6 twice: a module runs once in a time step"),
        (
            MODULES.replace('name = "1"', 'name = "1"\nbeta = 0.75'),
            "cannot make 1: its state says beta already",
        ),
    ],
)
def test_files_that_cannot_be_followed(text: str, sentence: str, tmp_path: Path) -> None:
    path = described(tmp_path, text, sequential())
    with pytest.raises(ConvertError) as error:
        open_file(path)
    assert str(error.value).startswith(f"Network {path} {sentence}")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (
            "0.weight",
            torch.full((4, 1, 3, 3), float("nan")),
            "must have finite numbers as 0.weight, not NaN or infinite ones",
        ),
        (
            "1.beta",
            torch.tensor(float("inf")),
            "must have finite numbers as 1.beta, not NaN or infinite ones",
        ),
        ("0.bias", torch.ones(4, dtype=torch.complex64), "must have plain numbers as 0.bias"),
        ("0.bias", torch.ones(4, device="meta"), "must have plain numbers as 0.bias"),
        ("alpha", torch.ones(()), "has no module for the state of alpha"),
    ],
)
def test_state_that_is_no_weights(
    key: str, value: torch.Tensor, sentence: str, tmp_path: Path
) -> None:
    network = sequential()
    path = described(tmp_path, MODULES, network)
    torch.save({**network.state_dict(), key: value}, tmp_path / "net.pt")
    with pytest.raises(ConvertError) as error:
        open_file(path)
    assert str(error.value) == f"Network {path} {sentence}"


def test_modules_without_a_name_run_each() -> None:
    """Titles that would be the same."""
    modules = (Module(kind="Flatten"), Module(name="flatten0"))
    state = {"flatten0.weight": torch.ones(2, 2), "flatten0.bias": torch.zeros(2)}
    built = Architecture(path=Path("x"), state=state, modules=modules, stated=True, mark="").build(
        lambda *_: None
    )
    assert [type(module) for module in built] == [nn.Flatten, nn.Linear]


def test_a_state_dict_of_maps_asks_for_a_file(tmp_path: Path) -> None:
    torch.save(sequential().state_dict(), tmp_path / "net.pt")
    with pytest.raises(ConvertError) as error:
        open_file(tmp_path / "net.pt")
    assert str(error.value) == (
        f"Network {tmp_path / 'net.pt'} does not say stride and padding of 0, nor what pools: "
        "write a TOML file that says it (docs/import.md)"
    )


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x00\x01", "ä".encode()])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(content)
    assert not is_file(path)
    with pytest.raises(ConvertError) as error:
        open_file(path)
    assert str(error.value) == (
        f"Network {path} must be a state_dict of snnTorch, torch.save(net.state_dict(), path), or "
        "a TOML file that names one: snnTorch's modules cannot be saved themselves"
    )


def test_damage_that_torch_wonders_at_is_no_network(tmp_path: Path) -> None:
    """Another protocol of pickle: torch warns of it (found by `make soak`)."""
    path = tmp_path / "net.pt"
    torch.save({"a.weight": torch.zeros(2)}, path)
    path.write_bytes(path.read_bytes().replace(b"\x80\x02", b"\x80\x00"))
    assert not is_file(path)


def test_a_checkpoint_has_a_state_dict_within(tmp_path: Path) -> None:
    network = loop(snntorch.Leaky(beta=0.5))
    optimiser = torch.optim.Adam(network.parameters())
    for key in ("state_dict", "model_state_dict"):
        whole = {key: network.state_dict(), "epoch": 3, "optimizer": optimiser.state_dict()}
        torch.save(whole, tmp_path / "net.pt")
        given = pixels() / PIXEL_MAX
        ours = open_file(tmp_path / "net.pt").run(given, STEPS)
        assert torch.equal(ours.outputs, SnnNetwork(network).run(given, STEPS).outputs)


@pytest.mark.parametrize("text", ["", 'framework = "lava"', 'weights = "net.pt"'])
def test_a_description_says_whose_it_is(text: str, tmp_path: Path) -> None:
    (tmp_path / "net.toml").write_text(text)
    with pytest.raises(ConvertError) as error:
        importer_for(tmp_path / "net.toml")
    assert str(error.value) == (
        f'Network {tmp_path / "net.toml"} must say whose it is: framework = "snntorch" or '
        '"brevitas"'
    )
