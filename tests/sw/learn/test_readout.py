"""Readouts that leak in torch: real-valued, trained, rounded, as integers the golden model's."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hw.contract.neuron import ReadoutSpec
from hw.system.progress import silent
from sim.golden.model import GoldenModel
from sw.data.split import Split
from sw.front.recipes import read_recipe
from sw.learn.checkpoint import Checkpoint
from sw.learn.export import export
from sw.learn.fold import fold
from sw.learn.integer import IntegerNetwork
from sw.learn.network import FloatNetwork, time_mean_loss
from sw.learn.neuron import NeuronError, ReadoutParameters, read_out
from sw.learn.plan import dense_chain
from sw.learn.quantize import QuantizeError, quantize
from sw.learn.real_decay import real_network
from sw.learn.recipes import Recipe, RecipeError, find_recipe
from sw.learn.train import train
from tests.hw.program.programs import leaky, random_graph
from tests.networks import READOUTS, random_neuron, random_readout
from tests.sw.learn.equality import compare_exactly

BETA = ReadoutParameters(decay="factor", decay_factor=0.9)


def float_network(readout: ReadoutParameters | None, steps: int = 5) -> FloatNetwork:
    return FloatNetwork(
        (12, 1, 1), dense_chain((9,), 4), steps=steps, pixel_max=15, readout=readout
    ).eval()


@pytest.mark.parametrize("seed", range(12))
def test_integers_are_the_golden_models(seed: int) -> None:
    """Graphs of any layers, pictures and recordings, with any readout."""
    rng = np.random.default_rng(seed)
    neurons = [random_neuron(rng, int(rng.integers(2, 40))) for _ in range(3)]
    spread = [*READOUTS.values(), *(random_readout(rng) for _ in range(7))]
    network = leaky(random_graph(rng, neurons), spread[seed])
    spec = network.spec
    images = rng.integers(0, spec.pixel_max + 1, (20, spec.image_size)).astype(np.uint8)
    labels = rng.integers(0, spec.classes, 20)
    data = Split(name="any", split="test", bits=spec.input_bits, images=images, labels=labels)
    integer = IntegerNetwork(spec)
    integer.load_network(network)
    if spec.layers[-1].readout is not None:
        assert integer.dtype == torch.float64
        assert compare_exactly(integer.double(), network, data)[1] > 0


@pytest.mark.parametrize("value", ["last", "sum", "max"])
def test_values_and_gradients(value: str) -> None:
    """Against the closed form: m(t) = sum over s of beta^(t-s) I(s)."""
    drives = torch.randn((6, 3, 2), dtype=torch.float64, requires_grad=True)
    ages = torch.arange(6)[:, None] - torch.arange(6)
    kept = torch.where(ages >= 0, 0.9 ** ages.clamp(min=0).double(), 0.0)
    m = torch.einsum("ts,snc->tnc", kept, drives)
    wanted = {"last": m[-1], "sum": m.sum(dim=0), "max": m.amax(dim=0)}[value]
    got = read_out([*drives], replace(BETA, value=value))
    assert torch.allclose(got, wanted)
    weights = torch.randn((3, 2), dtype=torch.float64)
    (a,) = torch.autograd.grad((got * weights).sum(), drives, retain_graph=True)
    (b,) = torch.autograd.grad((wanted * weights).sum(), drives)
    assert torch.allclose(a, b)


@pytest.mark.parametrize("value", ["last", "sum", "max"])
@pytest.mark.parametrize("exact", [False, True])
def test_rounding_cuts_off_less_than_is_seen(value: str, exact: bool, pixels) -> None:
    """What is left of the difference is the readout's; with an exact decay, nothing is."""
    beta = 0.75 if exact else 0.9
    folded = fold(float_network(ReadoutParameters(decay="factor", decay_factor=beta, value=value)))
    network = quantize(folded, name="tiny", weight_bits=12, pixel_bits=4, exact_decay=exact)
    read = network.spec.layers[-1].readout
    assert read is not None
    if exact:  # 1 - 1/4, at the last step times 4^-4
        assert (read.decay, read.decay_shift, read.fraction_bits) == ("leak", 2, 8)
    else:  # 4.1 steps' losses (of five) below 1/16 of a weight step
        assert read.decay_factor == 1843
        assert read.fraction_bits == 7
    image = network.to_network()
    real = real_network(image)(pixels).logits * 2**read.fraction_bits
    with torch.no_grad():
        ours = network(pixels).logits
    assert np.array_equal(ours.numpy(), GoldenModel(image).run(pixels.numpy()).logits)
    lost = float((ours - real).abs().max()) / 2**read.fraction_bits
    times = 5 if value == "sum" else 1
    assert (lost == 0) if exact else (0 < lost < times / 16)
    theirs = folded(pixels).logits
    assert float((ours * network.logit_scale - theirs).abs().mean()) < 0.03 * float(
        theirs.abs().mean()
    )


def test_wide_weights_leave_less_room() -> None:
    """Bits of the fraction end at the contract's width."""
    folded = fold(float_network(ReadoutParameters(decay="factor", decay_factor=0.99, value="sum")))
    many = replace(folded, steps=100)
    network = quantize(many, name="tiny", weight_bits=14, pixel_bits=8).to_network()
    read = network.spec.layers[-1].readout
    assert read is not None
    assert 24 < network.layers[-1].logit_bits <= 32
    assert read.fraction_bits < 11


def test_what_is_no_readout_is_refused() -> None:
    with pytest.raises(NeuronError, match=r"Value of a readout must be one of .*, not 'mean'"):
        ReadoutParameters(value="mean")
    with pytest.raises(NeuronError, match="Decay must be one of"):
        ReadoutParameters(decay="half")
    folded = fold(float_network(replace(BETA, fraction_bits=2)))
    with pytest.raises(QuantizeError, match="Fraction bits of readout must not be given"):
        quantize(folded, name="tiny", weight_bits=4, pixel_bits=4)


def test_what_keeps_all_and_is_read_last_is_the_sum() -> None:
    folded = fold(float_network(ReadoutParameters(decay="factor", decay_factor=1.0)))
    network = quantize(folded, name="tiny", weight_bits=4, pixel_bits=4)
    assert network.spec.layers[-1].readout is None


def test_a_recipe_trains_one(tmp_path, monkeypatch) -> None:
    """From a file to an exported network; the checkpoint remembers it, and the loss sees what is
    read, not a mean over the steps."""
    over = set[int]()

    def loss(logits, labels, steps, smoothing):
        over.add(steps)
        return time_mean_loss(logits, labels, steps, smoothing)

    monkeypatch.setattr("sw.learn.train.time_mean_loss", loss)
    file = tmp_path / "leaky.toml"
    file.write_text(
        'like = "digits-dense"\nhidden = [16]\nsteps = 2\n'
        '[readout]\ndecay = "factor"\ndecay_factor = 0.9\nvalue = "max"\n'
    )
    recipe = read_recipe(file)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert "readout" not in find_recipe("digits-dense").to_dict()
    made = train(recipe, seed=1, float_epochs=2, integer_epochs=1, progress=silent)
    assert over == {1}
    made.save(tmp_path / "leaky.pt")
    network, report = export(Checkpoint.load(tmp_path / "leaky.pt"))
    read = network.spec.layers[-1].readout
    assert read == ReadoutSpec(
        decay="factor", decay_factor=1843, decay_shift=11, fraction_bits=5, value="max"
    )
    assert report.integer_accuracy.share > 0.8
    file.write_text('like = "digits-dense"\n[readout]\nleak = 2\n')
    with pytest.raises(RecipeError, match="Field of readout must be one of"):
        read_recipe(file)


def test_the_loss_sees_one_step_of_what_is_read_at_one() -> None:
    network = float_network(BETA)
    assert not network.reads_mean
    assert float_network(None).reads_mean
    assert float_network(replace(BETA, value="sum")).reads_mean
    integer = quantize(fold(network), name="tiny", weight_bits=4, pixel_bits=4)
    assert not integer.reads_mean
    pixels = torch.randint(0, 16, (8, 12))
    loss = time_mean_loss(integer(pixels).logits * integer.logit_scale, torch.arange(8) % 4, 1)
    loss.backward()
    for parameter in integer.parameters():
        assert parameter.grad is not None
        assert float(parameter.grad.abs().sum()) > 0
