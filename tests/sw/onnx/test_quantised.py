"""Quantised graphs of ONNX: QONNX, and QuantizeLinear with DequantizeLinear."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gen.core.plan import plan_network
from sim.bench.run import simulate
from sw.data.dataset import load_split
from sw.frameworks.importing import import_foreign
from sw.frameworks.registry import open_network
from sw.importers.affine import ConvertError
from sw.onnx.files import Node
from sw.onnx.network import open_file, open_relu
from sw.onnx.quantised import QuantisedNetwork
from sw.onnx.rounding import bounds, rounded
from tests.onnx_graphs import node, reals, saved

HERE = Path(__file__).parent
PIXEL_MAX = 15
ROW, MAPS = ("n", 12), ("n", 1, 6, 6)
UNSIGNED = {"signed": 0, "narrow": 0, "rounding_mode": "ROUND"}
SIGNED = {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"}

CONSTANTS: dict[str, Any] = {
    "w": reals(12, 9),
    "v": reals(9, 4, seed=1),
    "b": reals(9, seed=2),
    "s": np.float32(0.3),
    "ws": np.float32(0.2),
    "z": np.float32(0),
    "two": np.float32(2),
    "three": np.float32(3),
    "four": np.float32(4),
    "eight": np.float32(8),
    "u8": np.array(0, np.uint8),
    "i8": np.array(0, np.int8),
}


def quantised(*middle: Any, last: str = "q", **more: Any) -> tuple[list[Any], dict[str, Any]]:
    """Two layers of 4-bit weights, with something between them."""
    nodes = [
        node("Quant", "w ws z four", "wq", **SIGNED),
        node("Gemm", "x wq b", "a"),
        *middle,
        node("Quant", "v ws z four", "vq", **SIGNED),
        node("MatMul", f"{last} vq", "y"),
    ]
    return nodes, CONSTANTS | more


def opened(path: Path) -> QuantisedNetwork:
    network = open_file(path)
    assert isinstance(network, QuantisedNetwork)
    return network


def require_equal(network: QuantisedNetwork, n: int = 60) -> list[int]:
    """Every activation and output is onnx's; what each layer counts to."""
    shape = network.shape
    folded = network.read(shape, steps=1, pixel_max=PIXEL_MAX).require()
    generator = torch.Generator().manual_seed(7)
    pixels = torch.randint(0, PIXEL_MAX + 1, (n, *shape), generator=generator).double()
    theirs, ours = network.run(pixels / PIXEL_MAX, 1), folded(pixels.flatten(1))
    for mine, other in zip(ours.spikes, theirs.spikes, strict=True):
        assert other is not None
        assert torch.allclose(mine, other.reshape(mine.shape), atol=1e-9)
    assert torch.allclose(ours.logits, theirs.outputs, atol=1e-9)
    return [int(mine.max()) for mine in ours.spikes]


RELU = node("Relu", "a", "r")
QUANT = node("Quant", "r s z three", "q", **UNSIGNED)

COUNTS: dict[str, tuple[tuple[Any, ...], dict[str, Any], int]] = {
    "3 bits": ((RELU, QUANT), {}, 7),
    "1 bit": ((RELU, node("Quant", "r s z one", "q", **UNSIGNED)), {"one": np.float32(1)}, 1),
    "without a ReLU": ((node("Quant", "a s z four", "q", **UNSIGNED),), {}, 15),
    "a sign behind a ReLU": ((RELU, node("Quant", "r s z four", "q", **SIGNED)), {}, 7),
    "downwards": (
        (RELU, node("Quant", "r s z three", "q", signed=0, narrow=0, rounding_mode="FLOOR")),
        {},
        7,
    ),
    "halves upwards": (
        (RELU, node("Quant", "r s z three", "q", signed=0, narrow=0, rounding_mode="HALF_UP")),
        {},
        7,
    ),
    "narrow": (
        (RELU, node("Quant", "r s z three", "q", signed=0, narrow=1, rounding_mode="ROUND")),
        {},
        6,
    ),
    "bounded": (
        (node("Clip", "a z two", "r"), node("IntQuant", "r s z four", "q", **UNSIGNED)),
        {},
        7,  # 2 / 0.3 = 6.7
    ),
    "bounded to 8 bits": (
        (node("Clip", "a z two", "r"), node("IntQuant", "r s z eight", "q", **UNSIGNED)),
        {},
        7,
    ),
    "an older domain": (
        (RELU, node("Quant", "r s z three", "q", domain="onnx.brevitas", **UNSIGNED)),
        {},
        7,
    ),
    "integers": (
        (
            RELU,
            node("QuantizeLinear", "r s u8", "i"),
            node("Clip", "i u8 most", "c"),
            node("DequantizeLinear", "c s u8", "q"),
        ),
        {"most": np.array(5, np.uint8)},
        5,
    ),
    "two roundings of a ReLU": (
        (
            RELU,
            node("Quant", "r s z three", "p", **UNSIGNED),
            node("Quant", "r ws z two", "o", **UNSIGNED),
            node("Add", "p o", "q"),
        ),
        {},
        7,
    ),
}


@pytest.mark.parametrize("name", COUNTS)
def test_activations_are_counts(name: str, tmp_path: Path) -> None:
    middle, more, most = COUNTS[name]
    nodes, constants = quantised(*middle, **more)
    path = saved(tmp_path, nodes, constants, ROW)
    if name == "an older domain":
        made = __import__("onnx").load(path)
        made.opset_import.add(domain="onnx.brevitas", version=1)
        path.write_bytes(made.SerializeToString())
    assert require_equal(opened(path))[0] == most


def test_integers_of_4_bits(tmp_path: Path) -> None:
    """A type of its own since opset 21."""
    onnx = __import__("onnx")
    nodes, constants = quantised(
        RELU,
        node("QuantizeLinear", "r s", "i", output_dtype=onnx.TensorProto.UINT4),
        node("DequantizeLinear", "i s", "q"),
    )
    assert require_equal(opened(saved(tmp_path, nodes, constants, ROW, opset=21))) == [15]


def test_a_residual_network_of_maps(tmp_path: Path) -> None:
    nodes = [
        node("Quant", "x fine z eight", "p", **UNSIGNED),
        node("DequantizeLinear", "iw s8", "wq", axis=0),
        node("Conv", "p wq cb", "a", pads=[1, 1, 1, 1]),
        node("Quant", "a s z four", "q", **UNSIGNED),
        node("BipolarQuant", "k ws", "kq"),
        node("Conv", "q kq", "c", pads=[1, 1, 1, 1]),
        node("Add", "c q", "d"),
        node("Relu", "d", "e"),
        node("Quant", "e two z two", "f", **UNSIGNED),
        node("AveragePool", "f", "g", kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", "g flat", "h"),
        node("Gemm", "h v", "m", transB=1),
        node("Softmax", "m", "y"),
    ]
    integers = np.random.default_rng(0).integers(-7, 8, (3, 1, 3, 3)).astype(np.int8)
    constants = CONSTANTS | {
        "fine": np.float32(1 / 16),
        "iw": integers,
        "s8": np.array([0.125, 0.25, 0.125], np.float32),
        "cb": reals(3),
        "k": reals(3, 3, 3, 3),
        "v": reals(4, 27),
        "flat": np.array([-1, 27]),
    }
    network = opened(saved(tmp_path, nodes, constants, MAPS))
    assert require_equal(network) == [15, 3]
    findings = network.read(None, steps=1, pixel_max=PIXEL_MAX).findings
    told = {finding.node: str(finding) for finding in findings}
    assert [*told] == [f"{one.name} ({one.op_type})" for one in nodes]
    assert told["p (Quant)"] == (
        "nothing (left out, in the comparison too: pixels are rounded already; it would change one "
        "by at most 0.029, of 1)"
    )
    assert told["wq (DequantizeLinear)"] == "a constant"
    assert told["d (Add)"] == "a sum of what both bring"
    assert told["e (Relu)"] == "part of f (Quant)"
    assert told["f (Quant)"] == (
        "layer hidden2: counts 0 to 3, threshold 2, hard reset (spikes of 2, in the weights behind "
        "them)"
    )
    assert told["y (Softmax)"] == "nothing (it changes no class)"


def test_what_a_rounding_in_front_would_change_is_said(tmp_path: Path) -> None:
    """Of pixels, of what is made of them, and behind a normalisation."""
    front = [node("Sub", "x half", "xs"), node("Quant", "xs half z two", "xq", **SIGNED)]
    nodes, constants = quantised(RELU, QUANT)
    nodes[1] = node("Gemm", "xq wq b", "a")
    path = saved(tmp_path, [*front, *nodes], constants | {"half": np.float32(0.5)}, ROW)
    assert require_equal(opened(path)) == [7]

    def told(*norm: torch.nn.Module) -> str:
        reading = opened(path).read(None, steps=1, pixel_max=PIXEL_MAX, front=norm)
        return next(f.note for f in reading.findings if f.node == "xq (Quant)")

    pixels = np.arange(16) / 15 - 0.5
    most = np.abs(np.clip(np.round(pixels / 0.5), -1, 1) * 0.5 - pixels).max()
    assert told().endswith(f"it would change one by at most {most:.2g}, of 0.5")
    norm = torch.nn.BatchNorm1d(12, eps=0.0, affine=False).double().eval()
    norm.running_mean = torch.full((12,), 0.5, dtype=torch.float64)
    norm.running_var = norm.running_mean / 8
    # 4 (p - 0.5) - 0.5: from -2.5, of which -0.5 is left, to 1.5, of which 0.5 is.
    assert told(norm).endswith("it would change one by at most 2, of 2.5")


def test_integers_that_become_reals_twice(tmp_path: Path) -> None:
    nodes, constants = quantised(RELU, QUANT)
    nodes[1] = node("Gemm", "xx wq b", "a")
    twice = [node("DequantizeLinear", "i s u8", name) for name in ("x1", "x2")]
    front = [node("QuantizeLinear", "x s u8", "i"), *twice, node("Add", "x1 x2", "xx")]
    assert require_equal(opened(saved(tmp_path, [*front, *nodes], constants, ROW))) == [7]


def test_neurons_at_the_end(tmp_path: Path) -> None:
    nodes, constants = quantised(RELU, QUANT)
    nodes[-1] = node("MatMul", "q vq", "m")
    nodes += [node("Relu", "m", "n"), node("Quant", "n s z two", "y", **UNSIGNED)]
    network = opened(saved(tmp_path, nodes, constants, ROW))
    assert require_equal(network) == [7, 3]


def test_a_line(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "a", strides=[2]),
        node("Quant", "a s z three", "q", **UNSIGNED),
        node("Flatten", "q", "f"),
        node("MatMul", "f v", "y"),
    ]
    constants = CONSTANTS | {"w": reals(2, 3, 3), "v": reals(8, 4)}
    network = opened(saved(tmp_path, nodes, constants, ("n", 3, 9)))
    assert network.shape == (3, 1, 9)
    assert require_equal(network) == [7]


BELOW = "must give 0 to its scale times 2^b - 1: no sign, no zero point"
ROUNDED = "must be rounded wherever it goes: use a ReLU and a Quant of at most 4 bits"

REFUSED: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    (
        (RELU, node("Quant", "r s z eight", "q", **UNSIGNED)),
        {},
        "q (Quant) must have at most 4 bits, not 8: train it with bit_width=4",
    ),
    ((node("Quant", "a s z three", "q", **SIGNED),), {}, f"q (Quant) {BELOW}"),
    ((RELU, node("Quant", "r s two four", "q", **UNSIGNED)), {}, f"q (Quant) {BELOW}"),
    (
        (RELU, node("Quant", "r b2 z four", "q", **UNSIGNED)),
        {"b2": np.abs(reals(9)) + 1},
        "q (Quant) must have one scale, not one for each channel",
    ),
    (
        (RELU, node("Quant", "r s z four", "q", signed=0, narrow=0, rounding_mode="CEIL")),
        {},
        "q (Quant) must round to the nearest, or down, not CEIL",
    ),
    (
        (RELU, node("Quant", "r s z four", "q", signed=0, narrow=0, rounding_mode="OFF")),
        {},
        "q (Quant) must have a rounding_mode of QONNX, not OFF",
    ),
    (
        (RELU, node("Quant", "r s z four", "q", signed=0)),
        {},
        "q (Quant) must say whether it is signed, and narrow",
    ),
    (
        (RELU, node("Quant", "r s z half", "q", **UNSIGNED)),
        {"half": np.float32(2.5)},
        "q (Quant) must have a bit width of 1 to 32, one for all values",
    ),
    (
        (RELU, node("Quant", "r z z four", "q", **UNSIGNED)),
        {},
        "q (Quant) must have a scale above 0",
    ),
    (
        (RELU, node("Quant", "r a z four", "q", **UNSIGNED)),
        {},
        "q (Quant) must have constant weights and settings, not ones made of the image",
    ),
    (
        (RELU, node("BipolarQuant", "r s", "q")),
        {},
        "q (BipolarQuant) is not supported of activations: they must be 0 or above, not -1 and 1",
    ),
    (
        (RELU, node("Quant", "r s z one", "q", **SIGNED)),
        {"one": np.float32(1)},
        "q (Quant) is not supported of activations: they must be 0 or above, not -1 and 1",
    ),
    (
        (RELU, QUANT, node("Trunc", "q s z four", "t")),
        {"last": "t"},
        "t (Trunc) is not supported (average without rounding: AvgPool2d between quantised layers)",
    ),
    ((RELU, QUANT, node("Add", "q r", "t")), {"last": "t"}, f"r (Relu) {ROUNDED}"),
    (
        (
            RELU,
            node("Identity", "r", "i"),
            node("Quant", "i s z three", "q", **UNSIGNED),
            node("Add", "q i", "t"),
        ),
        {"last": "t"},
        f"r (Relu) {ROUNDED}",
    ),
    (
        (node("Quant", "a s z three", "q", **UNSIGNED), node("Relu", "q", "t")),
        {"last": "t"},
        f"t (Relu) {ROUNDED}",
    ),
    ((node("Clip", "a two four", "r"), QUANT), {}, f"r (Clip) {ROUNDED}"),
    (
        (RELU, node("QuantizeLinear", "r s u8", "i"), node("DequantizeLinear", "i ws u8", "q")),
        {},
        "q (DequantizeLinear) must have the scale and zero point of its QuantizeLinear",
    ),
    (
        (RELU, node("QuantizeLinear", "r s u8", "i"), node("MatMul", "i iw", "q")),
        {"iw": np.eye(9, dtype=np.uint8)},
        "q (MatMul) must take real numbers: put a DequantizeLinear before it",
    ),
    (
        (RELU, node("QuantizeLinear", "r s i8", "i"), node("DequantizeLinear", "i s i8", "q")),
        {},
        "q (DequantizeLinear) must have at most 4 bits, not 7: train it with bit_width=4",
    ),
]


@pytest.mark.parametrize(("middle", "more", "sentence"), REFUSED, ids=lambda x: str(x)[:60])
def test_refusals(
    middle: tuple[Any, ...], more: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    more = dict(more)
    rest = {"last": more.pop("last", "q")}
    nodes, constants = quantised(*middle, **rest)
    path = saved(tmp_path, nodes, constants | more, ROW)
    reading = opened(path).read(None, steps=1, pixel_max=15)
    with pytest.raises(ConvertError) as error:
        reading.require()
    assert str(error.value) == f"Network cannot be converted: {sentence}"


def test_it_has_one_step_and_rounds(tmp_path: Path) -> None:
    nodes, constants = quantised(RELU, QUANT)
    path = saved(tmp_path, nodes, constants, ROW)
    with pytest.raises(ConvertError, match="counts in one time step, not 4: give --steps 1"):
        opened(path).read(None, steps=4, pixel_max=15)
    with pytest.raises(ConvertError, match=r"use sterna import, with --steps 1$"):
        open_relu(path)
    nodes = [node("Quant", "x s z four", "q", **UNSIGNED), node("MatMul", "q w", "y")]
    reading = opened(saved(tmp_path, nodes, constants, ROW)).read(None, steps=1, pixel_max=15)
    with pytest.raises(ConvertError, match="it has no neurons: it needs a ReLU and a Quant of"):
        reading.require()


@pytest.mark.parametrize(
    ("mode", "values"),
    [
        ("ROUND", [-2, -2, -1, -0.0, 0, 0, 1, 2, 2, 3]),
        ("HALF_UP", [-3, -2, -1, -1, 0, 1, 1, 2, 3, 3]),
        ("HALF_DOWN", [-2, -2, -1, -0.0, 0, 0, 1, 1, 2, 3]),
        ("FLOOR", [-3, -2, -2, -1, 0, 0, 0, 1, 2, 2]),
        ("CEIL", [-2, -1, -1, -0.0, 0, 1, 1, 2, 3, 3]),
        ("UP", [-3, -2, -2, -1, 0, 1, 1, 2, 3, 3]),
        ("DOWN", [-2, -1, -1, -0.0, 0, 0, 0, 1, 2, 2]),
    ],
)
def test_how_qonnx_rounds(mode: str, values: list[float]) -> None:
    x = np.array([-2.5, -1.75, -1.25, -0.5, 0, 0.5, 0.75, 1.5, 2.5, 2.75])

    def made(zero: float, bits: float, **said: Any) -> list[float]:
        settings = {"signed": 1, "narrow": 0, "rounding_mode": mode} | said
        quant = Node("", "Quant", (), (), settings, 0)
        return (rounded(quant, x / 2, np.array(0.5), np.array(zero), np.array(bits)) * 2).tolist()

    assert made(0, 8) == values
    assert made(0, 2) == [min(max(value, -2), 1) for value in values]
    assert made(0, 2, narrow=1) == [min(max(value, -1), 1) for value in values]
    assert made(0, 2, signed=0) == [min(max(value, 0), 3) for value in values]
    assert made(0, 2, signed=0, narrow=1) == [min(max(value, 0), 2) for value in values]
    assert made(0, 1) == [-1] * 4 + [1] * 6
    assert made(1, 8, signed=0)[:2] == [-1, -1]  # 0 stands for -1


def test_integers_have_bounds() -> None:
    quantize = Node("", "QuantizeLinear", (), (), {}, 0)
    assert bounds(quantize, None)[:2] == (0, 255)
    assert bounds(quantize, np.array(0, np.int8))[:2] == (-128, 127)
    with pytest.raises(ValueError, match="must make integers of 4, 8 or 16 bits"):
        bounds(quantize, np.array(0, np.int32))


# Networks of Brevitas (0.13.4), trained on the 8x8 digits, as its exporters wrote them: 64-16-10
# with 4-bit weights and 3-bit activations (346 of 364 right, said Brevitas); and two convolutions
# with 4-bit and 2-bit activations behind a rounded input (326 of 364).


def test_every_activation_is_onnx_s(tmp_path: Path) -> None:
    """On all test images, in integers and on the Verilog."""
    data = load_split("digits", "test", 4)
    network, report = import_foreign(open_network(HERE / "quant.onnx"), data, name="quant", steps=1)
    assert all("kept as they are" in told for told in report.weights.values())
    (before,), (hidden,) = report.before, report.after
    assert before.equal == before.compared
    assert hidden.equal == hidden.compared == 364 * 16
    assert hidden.both > 1000
    assert report.agreement.hits == report.float_accuracy.n == 364
    assert report.float_accuracy.hits == report.integer_accuracy.hits == 346
    plan = plan_network(network, lanes=8)
    simulated = simulate(plan, data.images[:4], data.labels[:4], tmp_path / "sim")
    assert simulated["mismatches"] == 0, simulated["first_mismatch"]
    assert simulated["values_compared"] > 1000


def test_integers_around_operators() -> None:
    data = load_split("digits", "test", 4)
    network = opened(HERE / "qdq.onnx")
    made, report = import_foreign(network, data, name="qdq", steps=1)
    assert all(layer.equal == layer.compared for layer in report.before)
    assert [layer.spec.neuron.limit for layer in made.layers[:-1] if layer.spec.neuron] == [15, 3]
    assert report.agreement.share > 0.99
    assert all(layer.jaccard > 0.98 for layer in report.after)
    network.reference.left_out = {}  # with its input rounded, as it was trained
    x = torch.from_numpy(data.images).double().reshape(-1, 1, 8, 8) / 15
    classes = network.run(x, 1).outputs.argmax(dim=1).numpy()
    assert abs(int((classes == data.labels).sum()) - 326) <= 3  # of equal logits any may be first
