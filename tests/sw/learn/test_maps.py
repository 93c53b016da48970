"""Networks of maps: folding is exact, what is trained becomes an image that is proven."""

from dataclasses import replace

import pytest
import torch

from hw.contract.checks import SpecError
from hw.contract.edge import EdgeSpec
from hw.system.progress import silent
from sw.learn.export import export
from sw.learn.fold import fold
from sw.learn.network import FloatNetwork, spike_rate
from sw.learn.neuron import LIFParameters
from sw.learn.plan import LayerPlan, plan_shapes
from sw.learn.quantize import quantize
from sw.learn.recipes import Phase, find_recipe
from sw.learn.train import train


def conv(source: str, kernel: int = 3, **more) -> EdgeSpec:
    return EdgeSpec(source=source, kind="conv", kernel=kernel, padding=kernel // 2, **more)


RESIDUAL = (
    LayerPlan("stem", 4, (conv("input"),)),
    LayerPlan("inner", 4, (conv("stem", groups=2),)),
    LayerPlan("block", 4, (conv("inner"), EdgeSpec(source="stem", kind="identity"))),
    LayerPlan("down", 6, (conv("block", stride=2), conv("block", 1, pool=2))),
    LayerPlan("dense", 9, (EdgeSpec(source="down", pool=2), EdgeSpec(source="stem", pool=8))),
    LayerPlan("readout", 10, (EdgeSpec(source="dense"), EdgeSpec(source="down"))),
)
FEEDBACK = (
    LayerPlan("stem", 3, (conv("input"), conv("stem", 1, delay=1), conv("later", delay=1))),
    LayerPlan("later", 5, (conv("stem"), EdgeSpec(source="stem", kind="conv", delay=1))),
    LayerPlan("readout", 10, (EdgeSpec(source="later", pool=2),)),
)
RECTANGLES = (
    LayerPlan(
        "stem",
        4,
        (EdgeSpec(source="input", kind="conv", kernel=(1, 5), padding=(0, 2), stride=(1, 2)),),
    ),
    LayerPlan("tall", 5, (EdgeSpec(source="stem", kind="conv", kernel=(4, 2), pool=(2, 1)),)),
    LayerPlan("readout", 10, (EdgeSpec(source="tall"), EdgeSpec(source="stem", pool=(4, 2)))),
)
"""Sides that differ; an even kernel."""

PLANS = {"residual": RESIDUAL, "feedback": FEEDBACK, "rectangles": RECTANGLES}


def lived(plans, neuron: LIFParameters | None = None) -> FloatNetwork:
    """A network whose batch-norms and amplitudes are not at their initial values."""
    torch.manual_seed(4)
    network = FloatNetwork((1, 8, 8), plans, steps=3, pixel_max=15, neuron=neuron)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.8, 2.5)
            module.bias.data.uniform_(-0.3, 0.3)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.02, 0.3)
    for layer in network.float_layers:
        if layer.neuron is not None:
            layer.neuron.amplitude.data.uniform_(0.6, 1.6)
        else:
            assert layer.bias is not None
            layer.bias.data.uniform_(-1, 1)
    return network.double().eval()


def images(n: int = 30) -> torch.Tensor:
    return torch.randint(0, 16, (n, 64), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("plans", PLANS.values(), ids=[*PLANS])
@pytest.mark.parametrize(
    "neuron", [LIFParameters(), LIFParameters(theta=0.5, decay="leak", decay_shift=1)]
)
def test_folded_network_is_the_network(plans, neuron) -> None:
    network = lived(plans, neuron)
    with torch.no_grad():
        before, after = network(images()), fold(network)(images())
    for c, d in zip(before.spikes, after.spikes, strict=True):
        assert torch.equal(c, d)
        assert 0.02 < float(spike_rate([c])) < 0.98
    for u, w in zip(before.potentials, after.potentials, strict=True):
        assert torch.allclose(u, w, rtol=0, atol=1e-9)
    assert torch.allclose(before.logits, after.logits, rtol=0, atol=1e-9)


def test_a_network_of_maps_has_a_specification() -> None:
    network = quantize(fold(lived(RESIDUAL)), name="maps", weight_bits=4, pixel_bits=4)
    spec = network.spec
    assert [layer.map_shape for layer in spec.layers] == [
        (4, 8, 8),
        (4, 8, 8),
        (4, 8, 8),
        (6, 4, 4),
        (9, 1, 1),
        (10, 1, 1),
    ]
    assert spec.input_shape == (1, 8, 8)
    assert spec.weight_shapes(4) == [(9, 24), (9, 4)]
    assert [layer.edges for layer in spec.layers] == [plan.edges for plan in RESIDUAL]


@pytest.mark.parametrize("plans", PLANS.values(), ids=[*PLANS])
def test_training_ends_in_an_image(plans) -> None:
    """On the digits: it learns, and export proves it against the golden model."""
    phase = Phase(epochs=3, rate=1e-2)
    recipe = replace(
        find_recipe("digits-dense"),
        layers=plans,
        steps=2,
        spike_penalty=0.0,
        float_phase=phase,
        integer_phase=phase,
    )
    checkpoint = train(recipe, seed=1, progress=silent)
    _, report = export(checkpoint)
    assert report.integer_accuracy.share > 0.75
    assert report.decay["exact"][0] == 0
    assert len(report.activity.spike_rates) == len(plans) - 1


def test_shapes_that_do_not_follow() -> None:
    with pytest.raises(SpecError, match="Layer stem must receive from an earlier layer without a"):
        plan_shapes((1, 8, 8), [LayerPlan("stem", 3, (conv("later"),))])
    with pytest.raises(SpecError, match="Layer stem must receive from an earlier layer without a"):
        plan_shapes((1, 8, 8), [LayerPlan("stem", 3, (conv("stem", delay=1),))])
