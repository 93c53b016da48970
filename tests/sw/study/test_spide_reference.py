"""SPIDE in floating point: stages against what they are to solve, gradients against autograd."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sw.data.split import Split
from sw.spread.runner import running
from sw.study.spide_reference import (
    Edge,
    FeedbackNetwork,
    Forward,
    ReferenceConfiguration,
    SpideError,
    Wiring,
    backward_stage,
    exact_beta,
    forward_stage,
    gradients,
)
from sw.study.spide_training import (
    CONFIGURATIONS,
    Figures,
    accuracy_table,
    agreement,
    agreement_table,
    run_reference,
    study,
    train_batch,
)

CONV = (
    Wiring(kind="conv", size=3, kernel=5, stride=2),
    Wiring(kind="conv", size=4, kernel=3, stride=2),
)
UP = Wiring(kind="transposed", size=3, kernel=3, stride=2)


def dense(size: int) -> Wiring:
    return Wiring(kind="dense", size=size)


TINY = {
    "one": ReferenceConfiguration(
        name="one", dataset="mnist", groups=(dense(9),), feedback=dense(9), feedback_gain=0.5
    ),
    "two": ReferenceConfiguration(
        name="two", dataset="mnist", groups=(dense(9), dense(7)), feedback=dense(9), norm_limit=1.0
    ),
    "conv": ReferenceConfiguration(
        name="conv", dataset="mnist", groups=CONV, feedback=UP, norm_limit=1.5, feedback_gain=1.0
    ),
}


@pytest.fixture(params=list(TINY))
def network(request) -> FeedbackNetwork:
    """A network of 1x8x8 inputs in double precision, its biases such that many neurons fire."""
    made = FeedbackNetwork(TINY[request.param], (1, 8, 8)).to(torch.float64)
    for edge in made.edges.values():
        if edge.bias is not None:
            edge.bias += 0.6
    return made


@pytest.fixture
def images() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn((5, 1, 8, 8), generator=generator, dtype=torch.float64)


def settled(network: FeedbackNetwork, images: Tensor, rates: list[Tensor]) -> list[Tensor]:
    """One round of a = clip((W a + F x + b) / theta, 0, 1), group by group."""
    found: list[Tensor] = []
    for i in range(len(rates)):
        if i:
            drive = network.between[i - 1].drive(found[-1])
        else:
            drive = network.inputs.drive(images)
            if network.feedback is not None:
                drive = drive + network.feedback.send(rates[-1])
        found.append((drive / network.theta).clamp(0, 1))
    return found


def equilibrium(network: FeedbackNetwork, images: Tensor, rounds: int = 200) -> list[Tensor]:
    rates = [images.new_zeros((len(images), *shape)) for shape in network.shapes]
    for _ in range(rounds):
        rates = settled(network, images, rates)
    return rates


def masks_of(rates: list[Tensor]) -> list[Tensor]:
    return [((a > 0) & (a < 1)).double() for a in rates]


def distance(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


# Edges


@pytest.mark.parametrize("wiring", [dense(6), *CONV, UP, replace(UP, kernel=5)], ids=repr)
def test_both_directions_are_adjoint_and_the_gradient_is_autograds(wiring: Wiring) -> None:
    edge = Edge(wiring, (4, 6, 6), limit=1.0)
    senders = torch.randn(3, 4, 6, 6)
    targets = torch.randn(3, *edge.target)
    there, back = edge.send(senders), edge.send_back(targets)
    assert there.shape == targets.shape
    assert back.shape == senders.shape
    assert torch.allclose((there * targets).sum(), (senders * back).sum(), rtol=1e-4, atol=1e-4)
    assert float(edge.weight.norm()) == pytest.approx(1.0)
    assert edge.bias is not None
    edge.weight.requires_grad_()
    edge.bias.requires_grad_()
    (edge.drive(senders) * targets).sum().backward()
    weights, bias = edge.gradient(targets, senders)
    assert edge.weight.grad is not None
    assert torch.allclose(weights, edge.quotient * edge.weight.grad, rtol=1e-3, atol=1e-4)
    assert edge.bias.grad is not None
    assert torch.allclose(bias, edge.bias.grad, rtol=1e-3, atol=1e-4)


def test_weights_below_the_limit_are_left_alone() -> None:
    edge = Edge(dense(4), (4, 1, 1), bias=False, limit=100.0)
    assert edge.quotient == 1
    assert torch.equal(edge.weight, edge.stored)


# Stages


def zeros() -> list[Any]:
    return [np.zeros(9), np.zeros(7)]


def test_stages_are_the_papers_loops(images: Tensor) -> None:
    """Neuron by neuron in NumPy: same-step spikes forward along the groups, the previous step's
    along the feedback, the mask on what is sent."""
    configuration = replace(TINY["two"], norm_limit=3.0, feedback_gain=1.0)
    network = FeedbackNetwork(configuration, (1, 8, 8)).to(torch.float64)
    for edge in (network.inputs, *network.between):
        assert edge.bias is not None
        edge.bias += 0.7
    x = images[0].flatten().numpy()
    edges = (network.inputs, network.between[0], network.feedback)
    w0, w1, back = (edge.weight.numpy() for edge in edges if edge is not None)
    u, s, n = zeros(), zeros(), zeros()
    for _ in range(30):
        for i in (0, 1):
            u[i] += 0.7 + (w1 @ s[0] if i else w0 @ x + back @ s[1])
            s[i] = (u[i] >= 1) * 1.0
            u[i] -= 2 * s[i]
            n[i] += s[i]
    forward = forward_stage(network, images[:1])
    masks = [((count > 0) & (count < 30)) * 1.0 for count in n]
    for count, mask, rate, found in zip(n, masks, forward.rates, forward.masks, strict=True):
        assert np.array_equal(count / 30, rate.flatten().numpy())
        assert np.array_equal(mask, found.flatten().numpy())
    assert 0 < masks[0].sum() < 9
    assert masks[1].sum() > 0
    g = np.linspace(-0.7, 0.9, 7)
    u, r, b = zeros(), zeros(), zeros()
    for _ in range(100):
        for i in (1, 0):
            u[i] += g + back.T @ (masks[0] * r[0]) / 2 if i else w1.T @ (masks[1] * r[1]) / 2
            r[i] = (u[i] >= 0.5) * 1.0 - (u[i] <= -0.5) * 1.0
            u[i] -= r[i]
            b[i] += r[i]
    injected = torch.from_numpy(g).view(1, 7, 1, 1)
    (backward,) = backward_stage(network, forward.masks, injected, (100,))
    for count, beta in zip(b, backward.beta, strict=True):
        assert np.allclose(count / 100, beta.flatten().numpy(), atol=1e-12)


def test_one_group_has_closed_forms() -> None:
    """With V the threshold: N = clip((T I + V) div 2V, 0, T), B = sign(g) min(T, (T |g| + V) div
    2V); numbers of few bits, so that nothing is rounded, and many reach V exactly."""
    configuration = replace(TINY["one"], feedback=None)
    network = FeedbackNetwork(configuration, (1, 8, 8)).to(torch.float64)
    drives = torch.arange(-120, 121, 3, dtype=torch.float64).view(9, 9, 1, 1) / 32
    assert network.inputs.bias is not None
    network.inputs.bias.zero_()
    network.inputs.weight = torch.eye(9, 64, dtype=torch.float64)
    padded = torch.zeros(9, 64, dtype=torch.float64)
    padded[:, :9] = drives.flatten(1)
    forward = forward_stage(network, padded.view(9, 1, 8, 8), 16)
    assert torch.equal(forward.rates[0] * 16, ((16 * drives + 1) / 2).floor().clamp(0, 16))
    (backward,) = backward_stage(network, forward.masks, drives, (16,))
    counts = drives.sign() * (16 * drives.abs() + 0.5).floor().clamp(max=16)
    assert torch.equal(backward.beta[0] * 16, counts)


@pytest.mark.parametrize("steps", [30, 300])
def test_forward_rates_settle(network: FeedbackNetwork, images: Tensor, steps: int) -> None:
    """Within one spike, of the fixed point; so the masks are not all alike."""
    forward = forward_stage(network, images, steps)
    for found, exact in zip(forward.rates, settled(network, images, forward.rates), strict=True):
        assert float((found - exact).abs().max()) <= 1 / steps + 1e-9
    assert 0.1 < float(forward.masks[0].mean()) < 0.95


def solved(network: FeedbackNetwork, masks: list[Tensor], injected: Tensor) -> list[Tensor]:
    """The linear system of one image, its matrix found by sending unit vectors, solved densely."""
    sizes = [mask[0].numel() for mask in masks]
    starts = np.cumsum([0, *sizes])
    system = torch.eye(starts[-1], dtype=torch.float64)
    leads = [(i, i + 1, edge) for i, edge in enumerate(network.between)]
    if network.feedback is not None:
        leads.append((len(masks) - 1, 0, network.feedback))
    for sender, target, edge in leads:
        units = torch.diag(masks[target].flatten()).view(-1, *masks[target].shape[1:])
        sent = edge.send_back(units).flatten(1).T / network.theta
        rows, columns = (slice(starts[i], starts[i + 1]) for i in (sender, target))
        system[rows, columns] -= sent
    right = torch.zeros(starts[-1], dtype=torch.float64)
    right[starts[-2] :] = injected.flatten()
    parts = torch.linalg.solve(system, right).split(sizes)
    return [part.view_as(mask) for part, mask in zip(parts, masks, strict=True)]


def test_iteration_solves_the_linear_system(network: FeedbackNetwork, images: Tensor) -> None:
    masks = forward_stage(network, images[:1]).masks
    injected = torch.randn_like(masks[-1])
    found = exact_beta(network, masks, injected, tolerance=1e-12)
    for beta, exact in zip(found, solved(network, masks, injected), strict=True):
        assert torch.allclose(beta, exact, rtol=1e-9, atol=1e-10)


def test_a_loop_that_grows_is_refused() -> None:
    network = FeedbackNetwork(replace(TINY["one"], norm_limit=100.0), (1, 8, 8))
    assert network.feedback is not None
    network.feedback.weight = 3 * torch.eye(9)
    with pytest.raises(SpideError, match="Backward equation must converge within 50 rounds"):
        exact_beta(network, [torch.ones(1, 9, 1, 1)], torch.ones(1, 9, 1, 1), most=50)


def test_backward_rates_converge_to_the_exact_solution(
    network: FeedbackNetwork, images: Tensor
) -> None:
    masks = forward_stage(network, images).masks
    injected = 0.3 * torch.randn_like(masks[-1])
    exact = exact_beta(network, masks, injected)
    errors = []
    for backward in backward_stage(network, masks, injected, (50, 200, 800)):
        pairs = list(zip(masks, backward.beta, exact, strict=True))
        errors.append([float((m * (b - e)).abs().max()) for m, b, e in pairs])
        assert all(0 <= share <= 1 for share in backward.activity)
    for few, more, many in zip(*errors, strict=True):
        assert many < more < few
        assert many < 3 / 800


# Gradients


def by_autograd(
    network: FeedbackNetwork, images: Tensor, value: Callable[[Tensor], Tensor]
) -> list[list[Tensor]]:
    """Gradients through a long iteration of the rates, as the network orders its edges; the norm
    of the feedback counts as a constant."""
    edges = list(network.edges.values())[:-1]
    leaves = []
    for edge in edges:
        stored = edge.stored.clone().requires_grad_()
        edge.weight = stored * edge.quotient
        leaves.append([stored])
        if edge.bias is not None:
            edge.bias = edge.bias.clone().requires_grad_()
            leaves[-1].append(edge.bias)
    value(equilibrium(network, images)[-1]).backward()
    found = []
    for edge, pair in zip(edges, leaves, strict=True):
        found.append([leaf.grad for leaf in pair])
        edge.bias = None if edge.bias is None else edge.bias.detach()
        edge.restrict()
    return found


def test_gradients_are_autograds_through_the_fixed_point(
    network: FeedbackNetwork, images: Tensor
) -> None:
    """To the last digits from exact rates; closely from rates of long stages of spikes."""
    weights = torch.randn(network.shapes[-1], dtype=torch.float64)
    true = by_autograd(network, images, lambda rates: (weights * rates).sum())
    injected = weights.expand(len(images), *weights.shape)
    rates = equilibrium(network, images)
    exact = Forward(rates, masks_of(rates))
    beta = exact_beta(network, exact.masks, injected, tolerance=1e-12)
    for found, wanted in zip(gradients(network, images, exact, beta), true, strict=True):
        for one, other in zip(found, wanted, strict=True):
            assert distance(one, other) < 1e-8
    # g is such that |beta| stays below 1, the most that spikes can say. What is left is the mask of
    # a neuron whose rate is within a spike of 0 or 1.
    forward = forward_stage(network, images, 1000)
    (backward,) = backward_stage(network, forward.masks, 0.2 * injected, (1000,))
    spiking = gradients(network, images, forward, backward.beta)
    for found, wanted in zip(spiking, true, strict=True):
        assert distance(found[0] / 0.2, wanted[0]) < 0.15


def test_agreement_rises_with_the_steps(network: FeedbackNetwork, images: Tensor) -> None:
    rows = agreement(network, images, torch.arange(5), (25, 100, 400))
    assert [row["steps_back"] for row in rows] == [25, 100, 400]
    assert list(rows[0]["gradients"]) == list(network.edges)[:-1]
    for group in range(len(network.shapes)):
        errors = [row["groups"][group]["error"] for row in rows]
        assert errors[2] < errors[0]
    assert rows[2]["groups"][-1]["cosine"] > 0.99


# Training


def patches(n: int, split: str, seed: int) -> Split:
    """Ten classes: the place of a bright patch, in noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 10
    maps = random.integers(0, 120, (n, 28, 28))
    for image, label in zip(maps, labels, strict=True):
        row, column = 5 * (label // 5) + 4, 5 * (label % 5) + 1
        image[row : row + 4, column : column + 4] += 130
    pixels = maps.reshape(n, -1).astype(np.uint8)
    return Split(name="mnist", split=split, bits=8, images=pixels, labels=labels, shape=(1, 28, 28))


SHORT = ReferenceConfiguration(
    name="short",
    dataset="mnist",
    groups=(dense(32),),
    feedback=dense(32),
    steps=10,
    steps_back=40,
    batch=20,
    chunk=10,
    norm_limit=0.5,
    epochs=3,
)


def test_a_training_lowers_the_loss_and_goes_on(tmp_path: Path) -> None:
    data, lines = (patches(200, "train", 1), patches(60, "test", 2)), []
    run = run_reference(SHORT, data, lines.append, marks=(40,))
    losses = [epoch["loss"] for epoch in run["history"]]
    assert losses[2] < losses[1] < losses[0]
    assert len(lines) == 3
    assert run["test"][0] >= 50
    assert run["images"] == 600
    checkpoint = tmp_path / "short.pt"
    run_reference(replace(SHORT, epochs=1), data, checkpoint=checkpoint, marks=(40,))
    gone_on = run_reference(SHORT, data, checkpoint=checkpoint, marks=(40,))
    for one, other in zip(run["history"], gone_on["history"], strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert gone_on["agreement"] == run["agreement"] != run["agreement_before"]
    with pytest.raises(SpideError, match="is of another configuration: remove it"):
        run_reference(replace(SHORT, rate=0.1), data, checkpoint=checkpoint)


def test_updates_are_those_of_torchs_sgd() -> None:
    """Loss times S, rate over S; the readout by autograd, the rest from the rates of both."""
    configuration = replace(SHORT, weight_decay=2.0, batch=20)
    mine, twin = (_seeded(configuration) for _ in range(2))
    momenta = [[torch.zeros_like(p) for p in edge] for edge in mine.state()]
    parameters = [p for edge in twin.state() for p in edge]
    sgd = torch.optim.SGD(parameters, lr=0.03 / 100, momentum=0.9, weight_decay=2.0)
    data, figures = patches(60, "train", 1), Figures(1)
    for start in (0, 20, 40):
        x = torch.from_numpy(data.images[start : start + 20]).float().view(-1, 1, 28, 28) / 255
        y = torch.from_numpy(data.labels[start : start + 20])
        train_batch(mine, momenta, x, y, 0.03, figures)
        forward = forward_stage(twin, x)
        leaves = [t.requires_grad_() for t in (forward.rates[-1], *twin.readout.parameters)]
        loss = functional.cross_entropy(twin.readout.drive(leaves[0]).flatten(1), y)
        injected, *readout = torch.autograd.grad(100 * loss, leaves)
        twin.readout.stored.requires_grad_(False)
        (backward,) = backward_stage(twin, forward.masks, injected, (40,))
        found = gradients(twin, x, forward, backward.beta)
        for p, gradient in zip(parameters, [*chain(*found), *readout], strict=True):
            p.grad = gradient.detach()
        sgd.step()
        for edge in twin.edges.values():
            edge.restrict()
        for p, q in zip(chain(*mine.state()), parameters, strict=True):
            assert torch.allclose(p, q, rtol=1e-4, atol=1e-5)
    assert figures.images == 60


def _seeded(configuration: ReferenceConfiguration) -> FeedbackNetwork:
    torch.manual_seed(5)
    return FeedbackNetwork(configuration, (1, 28, 28))


def test_chunks_add_up() -> None:
    data = (patches(100, "train", 1), patches(40, "test", 2))
    runs = [run_reference(replace(SHORT, chunk=n, epochs=1), data, marks=(40,)) for n in (20, 5)]
    losses = [run["history"][0]["loss"] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_study_keeps_what_is_done(tmp_path: Path, idx_folder: Path, monkeypatch) -> None:
    few = replace(SHORT, batch=10, epochs=1)
    monkeypatch.setitem(CONFIGURATIONS, "short", few)
    monkeypatch.setattr("sw.study.spide_training.MARKS", (40,))
    out, lines = tmp_path / "out", []
    (run,) = study(out, idx_folder, lines.append, names=("short",))
    assert lines[-1] == f"short: test {run['test'][0]}/10 ({10 * run['test'][0]:.2f} %)"
    assert json.loads((out / "runs.json").read_text()) == [run]
    again: list[str] = []
    assert study(out, idx_folder, again.append, names=("short",)) == [run]
    assert again == []
    (out / "runs.json").write_text('{"a": 1}')
    with pytest.raises(SpideError, match="holds no runs of this study: remove it"):
        study(out, idx_folder, names=("short",))


def test_configurations_as_jobs(tmp_path: Path, idx_folder: Path, monkeypatch) -> None:
    """The same runs, with their checkpoints; no epoch that a checkpoint has is trained again."""
    few = {
        name: replace(SHORT, name=name, batch=10, epochs=2, seed=n) for n, name in enumerate("ab")
    }
    for name, configuration in few.items():
        monkeypatch.setitem(CONFIGURATIONS, name, configuration)

    def without_times(run: dict[str, Any]) -> dict[str, Any]:
        history = [{**epoch, "seconds": 0} for epoch in run["history"]]
        return {**run, "history": history, "seconds": 0}

    plain = [without_times(run) for run in study(tmp_path / "plain", idx_folder, names="ab")]
    out, lines = tmp_path / "out", []
    monkeypatch.setitem(CONFIGURATIONS, "a", replace(few["a"], epochs=1))
    (begun,) = study(out, idx_folder, names="a")
    monkeypatch.setitem(CONFIGURATIONS, "a", few["a"])
    for _ in range(2):
        with running(0, kept=tmp_path / "kept", progress=lines.append) as run:
            found = study(out, idx_folder, names="ab", run=run)
        assert [without_times(one) for one in found] == plain
        done = len(begun["history"])
        assert found[0]["history"][:done] == begun["history"]  # seconds, too
        assert {file.name for file in out.iterdir()} == {"a.pt", "b.pt", "runs.json"}
        (begun,) = [one for one in found if one["name"] == "a"]
        (out / "runs.json").unlink()
    assert lines == ["references: 1 of 2, a", "references: 2 of 2, b"] * 2


def test_faults_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SpideError, match=r"Reference must be one of .*, not 'no'"):
        study(tmp_path, names=("no",))
    with pytest.raises(SpideError, match=r"Data set must be one of .*, not 'cats'"):
        replace(SHORT, dataset="cats")
    with pytest.raises(SpideError, match="Epochs must be a positive integer, not 0"):
        replace(SHORT, epochs=0)
    with pytest.raises(SpideError, match="Feedback must lead into maps of"):
        FeedbackNetwork(replace(SHORT, feedback=dense(31)), (1, 28, 28))


def test_tables_have_a_row_for_each_group() -> None:
    groups = [{"cosine": 0.99, "error": 0.125}, {"cosine": 0.5, "error": 0.9}]
    row = {"steps_back": 25, "groups": groups, "gradients": {"inputs": groups[0]}}
    epoch = {"backward_rates": [0.02, 0.01], "seconds": 30.5}
    run = {
        "name": "two",
        "configuration": {"dataset": "mnist"},
        "images": 60000,
        "history": [epoch],
        "test": [975, 1000],
        "test_rates": [0.25, 0.125],
        "agreement": [row],
        "seconds": 30.5,
    }
    assert accuracy_table([run]).splitlines()[2:] == [
        "| two | mnist | 60,000 | 97.50 % | 0.250, 0.125 | 0.0200, 0.0100 | 30 |"
    ]
    assert agreement_table([run]).splitlines()[2:] == [
        "| two, group 0 | 0.990, 0.125 |",
        "| two, group 1 | 0.500, 0.900 |",
        "| two, gradient of inputs | 0.990, 0.125 |",
    ]


def test_the_papers_network_has_its_size() -> None:
    """0.243 M weights but for readout and biases, 18,816 neurons (F64C3u)."""
    network = FeedbackNetwork(CONFIGURATIONS["mnist-f64c3u"], (1, 28, 28))
    edges = list(network.edges.values())[:-1]
    assert sum(edge.stored.numel() for edge in edges) == 243_264
    assert sum(np.prod(shape) for shape in network.shapes) == 18_816
