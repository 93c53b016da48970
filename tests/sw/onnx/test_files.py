"""Files that are no networks, damaged ones and hostile ones: each is one true sentence."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hw.contract.checks import SternaError
from sw.frameworks.registry import importer_for
from sw.importers.affine import ConvertError
from sw.onnx import constants, files, translate
from sw.onnx.constants import folded
from sw.onnx.files import Node
from sw.onnx.network import open_file, open_relu
from sw.onnx.rounding import Misfit
from tests.onnx_graphs import TensorProto, helper, model, node, onnx, reals, saved

HERE = Path(__file__).parent
ROW = ("n", 7)


def plain(**options: Any) -> Any:
    nodes = [node("Gemm", "x w", "a"), node("Relu", "a", "b"), node("Gemm", "b v", "y")]
    return model(nodes, {"w": reals(7, 4), "v": reals(4, 3)}, ROW, **options)


def changed(change: Callable[[Any], Any]) -> bytes:
    made = plain()
    change(made)
    return made.SerializeToString()


def sides(*given: Any) -> Callable[[Any], Any]:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(given))
    return lambda made: made.graph.input[0].CopyFrom(value)


def sparse(made: Any) -> None:
    made.graph.sparse_initializer.add().dims.append(3)


SPOILT = "must be an ONNX file: it is another one, truncated or damaged"
SIDES = (
    "must take images of known sides: (images, values), (images, channels, values) or (images, "
    "channels, rows, columns), not ({}): leave no axis dynamic but the first"
)
ONE = "must have one input and one output, not {}: leave the others out when it is exported"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty: export it again"),
        (b"no network", SPOILT),
        (b"\x08\x0a", "must be an ONNX file with a graph: it is another one, or damaged"),
        (plain().SerializeToString()[:-9], SPOILT),
        (
            plain(opset=8).SerializeToString(),
            f"must have an opset of 9 to {onnx.defs.onnx_opset_version()}, not 8: export it with "
            "another opset_version",
        ),
        (changed(lambda made: made.graph.input.add(name="z")), ONE.format("2 and 1")),
        (changed(lambda made: made.graph.output.add(name="a")), ONE.format("1 and 2")),
        (changed(sides("n", "m")), SIDES.format("?, ?")),
        (changed(sides(7)), SIDES.format("7")),
        (changed(sides("n", 1, 2, 3, 4)), SIDES.format("?, 1, 2, 3, 4")),
        (changed(sides("n", 1 << 40)), "must take at most 1,048,576 values"),
        (
            changed(lambda made: setattr(made.graph.input[0].type.tensor_type, "elem_type", 7)),
            "must take real numbers (float): leave it to Sterna what pixels become",
        ),
        (changed(sparse), "must have dense initialisers, not sparse ones"),
        (
            changed(lambda made: made.graph.node[1].input.__setitem__(0, "z\n")),
            "is damaged: b (Relu) takes z?, which nothing before it makes",
        ),
        (
            changed(lambda made: made.graph.node[1].output.__setitem__(0, "w")),
            "is damaged: w is made twice",
        ),
        (
            changed(lambda made: setattr(made.graph.output[0], "name", "z")),
            "is damaged: nothing makes its output z",
        ),
        (
            changed(lambda made: made.graph.initializer[0].dims.append(1 << 40)),
            "is damaged: export it again",
        ),
    ],
)
def test_what_is_no_network(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ConvertError) as error:
        open_file(path)
    assert str(error.value).startswith(f"Network {path} {sentence}")


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConvertError, match=r"missing\.onnx does not exist$"):
        open_file(tmp_path / "missing.onnx")
    with pytest.raises(ConvertError, match=r"cannot be read: Is a directory$"):
        open_file(tmp_path)
    path = tmp_path / "net.onnx"
    path.write_bytes(plain().SerializeToString())
    monkeypatch.setattr(files, "LARGEST_FILE", 100)
    with pytest.raises(ConvertError, match=r"must have at most 0 MiB$"):
        open_file(path)


def beside(path: Path, **said: str) -> Path:
    """A file whose weights lie in another one."""
    made = plain()
    tensor = made.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in said.items():
        tensor.external_data.add(key=key, value=value)
    path = path / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def test_numbers_in_a_file_beside_it(tmp_path: Path) -> None:
    """As torch's newer exporter writes them."""
    path = tmp_path / "net.onnx"
    onnx.save(plain(), path, save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    whole = tmp_path / "whole.onnx"
    whole.write_bytes(plain().SerializeToString())
    x = torch.rand(5, 7)
    assert torch.equal(open_relu(path)(x), open_relu(whole)(x))


def test_tensors_that_share_numbers_have_no_more_than_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plain()
    for tensor in made.graph.initializer:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="all")
    path = tmp_path / "net.onnx"
    path.write_bytes(made.SerializeToString())
    (tmp_path / "all").write_bytes(bytes(len(path.read_bytes())))
    monkeypatch.setattr(files, "LARGEST_FILE", len(path.read_bytes()))
    with pytest.raises(ConvertError, match=r"at most 0 MiB of numbers in files beside it$"):
        open_file(path)


def test_a_small_index_may_not_make_much() -> None:
    rows = [np.zeros((1, 1 << 13)), np.zeros(1 << 13, dtype=np.int64)]
    with pytest.raises(Misfit, match="must not make constants that large"):
        folded(Node("", "Gather", (), (), {}, 0), rows, 17)


def test_numbers_elsewhere_are_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside.data"
    outside.write_bytes(bytes(112))
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "short").write_bytes(bytes(100))
    own = "must have its numbers in a file in its own folder, not in "
    for said, sentence in (
        ({"location": "../outside.data"}, f"{own}../outside.data"),
        ({"location": "/etc/passwd"}, f"{own}/etc/passwd"),
        ({"location": "link"}, f"{own}link"),
        ({}, f"{own}none"),
        ({"location": "none"}, "needs none, which is not beside it"),
        (
            {"location": "short", "length": "112"},
            "needs more than short has: it is truncated, or another one",
        ),
        (
            {"location": "short", "offset": "-5"},
            "needs more than short has: it is truncated, or another one",
        ),
        ({"location": "short", "offset": "some"}, "is damaged: export it again"),
        ({"location": "short"}, "is damaged: export it again"),
    ):
        path = beside(folder, **said)
        with pytest.raises(ConvertError) as error:
            open_file(path)
        assert str(error.value) == f"Network {path} {sentence}"


def test_constants_do_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each join doubles: a few nodes would fill any memory."""
    monkeypatch.setattr(constants, "LARGEST", 1 << 14)
    joins = [node("Concat", f"c{n} c{n}", f"c{n + 1}", axis=0) for n in range(40)]
    path = saved(tmp_path, [*joins, node("Add", "x c40", "y")], {"c0": reals(1000)}, ROW)
    reading = open_file(path).read((7,), steps=1, pixel_max=15)
    assert "must not make constants that large" in reading.refused[0].refused
    assert len(reading.refused) == 1
    monkeypatch.setattr(translate, "LARGEST_CONSTANTS", 3000)
    reading = open_file(path).read((7,), steps=1, pixel_max=15)
    assert [finding.node for finding in reading.refused] == ["c2 (Concat)"]


def test_initialisers_that_are_inputs_too(tmp_path: Path) -> None:
    """Exporters list weights among the inputs, with what they are by default."""
    made = plain()
    made.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [7, 4]))
    path = tmp_path / "net.onnx"
    path.write_bytes(made.SerializeToString())
    reading = open_file(path).read((7,), steps=1, pixel_max=15)
    assert not reading.refused


def test_the_other_name_of_its_operators(tmp_path: Path) -> None:
    def renamed(made: Any) -> None:
        for held in (made.opset_import[0], *made.graph.node):
            held.domain = "ai.onnx"

    path, plainly = tmp_path / "net.onnx", tmp_path / "plain.onnx"
    path.write_bytes(changed(renamed))
    plainly.write_bytes(plain().SerializeToString())
    x = torch.rand(5, 7)
    assert torch.equal(open_relu(path)(x), open_relu(plainly)(x))


def test_functions_are_not_taken(tmp_path: Path) -> None:
    made = plain()
    body = [helper.make_node("Neg", ["x"], ["y"])]
    opsets = [helper.make_opsetid("", 17)]
    made.functions.append(helper.make_function("", "Relu", ["x"], ["y"], body, opsets))
    made.functions.append(helper.make_function("mine", "Gemm", ["x"], ["y"], body, opsets))
    path, plainly = tmp_path / "net.onnx", tmp_path / "plain.onnx"
    path.write_bytes(made.SerializeToString())
    plainly.write_bytes(plain().SerializeToString())
    x = torch.rand(5, 7)
    assert torch.equal(open_relu(path)(x), open_relu(plainly)(x))
    made.graph.node[0].domain = "mine"
    path.write_bytes(made.SerializeToString())
    (refused,) = open_file(path).read((7,), steps=1, pixel_max=15).refused
    assert refused.node == "a (mine.Gemm)"


def test_the_ending_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "NET.ONNX"
    path.write_bytes(b"\x08\x0a")
    assert importer_for(path).name == "onnx"
    other = tmp_path / "net"
    other.write_bytes(b"\x08\x0a")
    with pytest.raises(ConvertError, match=r"an \.onnx file"):
        importer_for(other)


@pytest.mark.parametrize("name", ["quant.onnx", "residual.onnx"])
def test_any_damage_is_said(name: str, tmp_path: Path) -> None:
    """Nothing that is changed in a file is a traceback."""
    draw, whole = random.Random(name), (HERE / name).read_bytes()
    path, opened, told = tmp_path / name, 0, list[str]()
    for _ in range(150):
        spoilt = bytearray(whole)
        for _ in range(draw.choice([1, 1, 2, 20])):
            at = draw.randrange(len(spoilt) if draw.random() < 0.2 else 2000)
            spoilt[at] = draw.randrange(256)
        if draw.random() < 0.2:
            del spoilt[draw.randrange(len(spoilt)) :]
        path.write_bytes(spoilt)
        try:
            with np.errstate(all="ignore"):
                open_file(path).read(None, steps=1, pixel_max=15)
        except ConvertError as error:
            told.append(str(error))
        else:
            opened += 1
    assert 0 < opened < 150
    assert all(len(text.splitlines()) == 1 and text.startswith("Network ") for text in told)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(SternaError, match=r"^Networks in ONNX files need the package onnx"):
        open_file(tmp_path / "net.onnx")


def test_nodes_of_one_name(tmp_path: Path) -> None:
    made = plain()
    for one in made.graph.node:
        one.name = "same | name"
    made.graph.node[1].name = "same name, node 2"
    path, plainly = tmp_path / "net.onnx", tmp_path / "plain.onnx"
    path.write_bytes(made.SerializeToString())
    plainly.write_bytes(plain().SerializeToString())
    places = [step.place for step in open_relu(path).steps]
    assert places == ["same name (Gemm)", "same name, node 2 (Relu)", "same name, node 2 (Gemm)"]


@pytest.mark.parametrize("batch", [2, 0])
def test_several_images_at_once(batch: int, tmp_path: Path) -> None:
    """A file that takes so many at once takes any number of them; 0 says any, too."""
    path, plainly = tmp_path / "net.onnx", tmp_path / "plain.onnx"
    path.write_bytes(changed(sides(batch, 7)))
    plainly.write_bytes(plain().SerializeToString())
    x = torch.rand(5, 7)
    assert torch.allclose(open_relu(path)(x), open_relu(plainly)(x), atol=1e-12)


def test_constants_that_do_not_fit(tmp_path: Path) -> None:
    zero, settings = np.float32(0), {"signed": 1, "narrow": 0}
    for made, sentence in (
        (
            node("Quant", "w t z four", "v", **settings),
            "must have a scale and zero point that fit its values",
        ),
        (
            node("DequantizeLinear", "i s", "v", axis=0),
            "must have one scale, or one for each channel",
        ),
        (
            node("DequantizeLinear", "i s", "v", block_size=2),
            "must have one scale, or one for each channel, not for blocks",
        ),
        (node("Reshape", "w to", "v"), "is damaged: what it computes of constants does not fit"),
        (node("Gather", "w ten", "v"), "is damaged: what it computes of constants does not fit"),
    ):
        constants = {
            "w": reals(1, 3),
            "s": reals(5, seed=1) ** 2,
            "t": reals(5, 1) ** 2,
            "z": zero,
            "four": np.float32(4),
            "i": np.ones((3, 7), np.int8),
            "to": np.array([2, 2]),
            "ten": np.array(10),
        }
        path = saved(tmp_path, [made, node("MatMul", "x v", "y")], constants, ROW)
        refused = open_file(path).read(None, steps=1, pixel_max=15).refused
        assert refused[0].refused == sentence
