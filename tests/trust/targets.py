"""Every kind of file that the command line reads: sound ones to bend, and what must hold of a bent
one. It is refused in one sentence, or accepted, and then it is sound.
"""

import contextlib
import gzip
import io
import itertools
import json
import struct
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from hw.contract.checks import SternaError
from hw.contract.network import Network
from hw.contract.text import in_a_line
from sim.golden.model import GoldenModel

__all__ = ["TARGETS", "Target", "Wrong", "judged"]


class Wrong(Exception):
    """What must not be."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A kind of file.

    Parameters
    ----------
    seeds
        Makes sound files: by name, their bytes.
    form
        Of `tests.trust.hostile.EDITS`.
    suffix
        Of its name.
    ask
        Reads a file, given its path: True where it is accepted; raises what the command line tells
        in a sentence, or `Wrong`.
    beside
        Files that lie beside it, and where among them it lies.
    """

    seeds: Callable[[], Mapping[str, bytes]]
    form: str
    suffix: str
    ask: Callable[[Path], bool]
    beside: Callable[[], Mapping[str, bytes]] = dict
    place: str = "file"

    def put(self, folder: Path, data: bytes) -> Path:
        """The file in a folder, with what lies beside it."""
        for name, content in self.beside().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        path = folder / f"{self.place}{self.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path


def judged(target: Target, path: Path) -> str:
    """`accepted` or `refused`.

    Raises
    ------
    Wrong
        When a refusal is not one sentence, or something else is printed.
    Exception
        What would be a traceback.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            accepted = target.ask(path)
        except (SternaError, OSError) as error:
            _require_sentence(in_a_line(str(error)))  # as `sterna` does
            accepted = False
    for one in told:
        if issubclass(one.category, (RuntimeWarning, UserWarning)):
            raise Wrong(f"warning: {one.category.__name__}: {one.message} ({one.filename})")
    return "accepted" if accepted else "refused"


def _require_sentence(text: str) -> None:
    """One line that can be printed; too long is what no one reads."""
    if not text.strip() or "Traceback" in text or len(text) > 1100:
        raise Wrong(f"not one sentence: {text[:300]!r}")
    if any(not letter.isprintable() for letter in text):
        raise Wrong(f"what no terminal should be sent: {text[:300]!r}")


def command(*arguments: str) -> tuple[int, str]:
    """A command of `sterna` in this process: its exit code, and what it prints. A refusal must be
    one line."""
    from sw.cli.main import main

    out, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
        code = main([*arguments])
    lines = [line for line in told.getvalue().splitlines() if line.startswith("sterna: ")]
    if code and not out.getvalue():
        if told.getvalue().count("\n") != 1 or len(lines) != 1:
            raise Wrong(f"not one line: {told.getvalue()[:300]!r}")
        _require_sentence(lines[0])
        if "needs the package" in lines[0] or "more memory than there is" in lines[0]:
            raise Wrong(lines[0])
    return code, out.getvalue()


def _saved(save: Callable[[Path], Any], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"made{suffix}"
        save(path)
        return path.read_bytes()


# Networks and masters


@cache
def _networks() -> dict[str, Network]:
    from tests.graphs import network_of, residual
    from tests.networks import random_chain, random_readout

    rng = np.random.default_rng(5)
    return {
        "chain": random_chain(rng, (7, 6, 4), steps=3, input_bits=4),
        "wide": random_chain(
            rng, (5, 4, 3), steps=2, input_bits=2, weight_bits=12, readout=random_readout(rng)
        ),
        "graph": network_of(residual()),
    }


@cache
def _network_files() -> dict[str, bytes]:
    return {name: _saved(network.save, ".npz") for name, network in _networks().items()}


def ask_network(path: Path) -> bool:
    """`sterna info`; what is accepted is saved and read again, and runs."""
    code, text = command("info", str(path), "--json")
    if code:
        return False
    json.loads(text)
    network = Network.load(path)
    again = path.with_name("again.npz")
    network.save(again)
    if Network.load(again).digest != network.digest:
        raise Wrong("a network that is not the same when it is read again")
    spec = network.spec
    pixels = np.random.default_rng(1).integers(0, spec.pixel_max + 1, (2, spec.image_size))
    trace = GoldenModel(network).run(pixels.astype(np.uint8))
    if np.abs(trace.logits).max(initial=0) > network.layers[-1].logit_bound:
        raise Wrong("logits beyond their bound")
    return True


@cache
def _learner() -> Any:
    from hw.contract.builder import random_network
    from hw.learn.masters import Masters
    from tests.learners import learning_spec, spide

    spec = learning_spec(5, (4,), 3, neurons=spide(9))
    return Masters.of(random_network(spec, 2))


def ask_masters(path: Path) -> bool:
    """`Masters.load`, as `sterna learn` does; saved and read again."""
    from hw.learn.masters import Masters

    network = _learner().working()
    masters = Masters.load(path, network)
    again = path.with_name("again.npz")
    masters.save(again)
    if Masters.load(again, network).digest != masters.digest:
        raise Wrong("masters that are not the same when they are read again")
    return True


# Data


def _npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


@cache
def _arrays() -> dict[str, bytes]:
    rng = np.random.default_rng(2)
    x, y = rng.random((12, 4, 4)).astype(np.float32), np.arange(12) % 3
    whole = rng.integers(0, 256, (12, 4, 4)).astype(np.uint8)
    words = np.array(["one", "two", "three"])[y]
    axes = np.array("thw")
    return {
        "real": _npz(x=x, y=y),
        "bytes": _npz(x=whole, y=words, x_test=whole[:3], y_test=words[:3]),
        "recordings": _npz(x=rng.random((12, 3, 4, 4)), y=y, axes=axes),
    }


@cache
def _events() -> dict[str, bytes]:
    rng = np.random.default_rng(3)
    offset = np.arange(13) * 5
    t = np.sort(rng.random((12, 5)), axis=1).reshape(-1) * 1e-2
    places = np.stack([t, *rng.integers(0, 6, (3, 60)) % np.array([[6], [6], [2]])], axis=1)
    return {
        "map": _npz(events=places, offset=offset, y=np.arange(12) % 3),
        "line": _npz(events=places[:, :2], offset=offset, y=np.arange(12) % 3, sensor=np.array(9)),
    }


@cache
def _tables() -> dict[str, bytes]:
    rng = np.random.default_rng(4)
    head = "a,b,c,label\n"
    rows = [f"{x:.3f},{y:.3f},{z:.3f},{n % 3}" for n, (x, y, z) in enumerate(rng.random((12, 3)))]
    split = [f"{row},{'test' if n % 4 == 0 else 'train'}" for n, row in enumerate(rows)]
    spikes = ["recording,label,t,i"]
    spikes += [f"r{n % 6},{n % 6 % 2},{0.001 * n:.4f},{n % 5}" for n in range(30)]
    return {
        "plain": (head + "\n".join(rows)).encode(),
        "split": ("a,b,c,label,split\n" + "\n".join(split)).encode(),
        "spikes": "\n".join(spikes).encode(),
    }


def _pass_on(data: Any) -> None:
    """What is accepted can be split, at its own width."""
    from sw.data.arrays import Spikes

    if isinstance(data, Spikes):
        data.at(5e-3)
        steps = 2
    else:
        encoding = data.encoding
        steps = encoding.steps if encoding is not None and encoding.timed else None
    for part in ("train", "test"):
        made = data.split(part, 4) if steps is None else data.split(part, 4, steps=steps)
        if len(made.images) != len(made.labels):
            raise Wrong("examples without labels")
        if made.images.size and int(made.images.max()) > 15:
            raise Wrong("pixels beyond their width")


def ask_data(path: Path) -> bool:
    """`load_dataset`, as of --data."""
    from sw.data.dataset import load_dataset

    _pass_on(load_dataset(str(path)))
    return True


def ask_folder(path: Path) -> bool:
    """A folder of --data, in which the file lies."""
    return ask_data(path.parent)


def ask_classes(path: Path) -> bool:
    """A folder of pictures by class."""
    return ask_data(path.parents[1])


def _idx(array: Any) -> bytes:
    head = struct.pack(f">2x2B{array.ndim}I", 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


@cache
def _idx_files() -> dict[str, bytes]:
    images = np.random.default_rng(6).integers(0, 256, (12, 5, 5))
    return {"plain": _idx(images)}


@cache
def _packed() -> dict[str, bytes]:
    return {"packed": gzip.compress(_idx_files()["plain"], mtime=0)}


def _idx_beside() -> dict[str, bytes]:
    return {"train-labels-idx1-ubyte": _idx(np.arange(12) % 3)}


@cache
def _picture(seed: int, form: str = "PNG", mode: str = "L") -> bytes:
    from PIL import Image

    shape = (6, 6) if mode == "L" else (6, 6, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels, mode=None).save(out, form)
    return out.getvalue()


def _pictures() -> dict[str, bytes]:
    return {"png": _picture(1), "colour": _picture(1, "PNG", "RGB"), "bmp": _picture(1, "BMP")}


def _classes() -> dict[str, bytes]:
    return {
        f"{kind}/{n}.png": _picture(10 * n + k) for k, kind in enumerate("ab") for n in range(4)
    }


# Networks of other frameworks


def ask_check(path: Path, *more: str) -> bool:
    """`sterna check`: refused by findings, or in a sentence."""
    code, text = command("check", str(path), "--json", "--steps", "1", *more)
    if code and not text:
        return False
    facts = json.loads(text)
    if (facts["refused"] > 0) != bool(code):
        raise Wrong(f"exit code {code} with {facts['refused']} refusals")
    for finding in facts["nodes"]:
        if finding["refused"]:
            _require_sentence(in_a_line(finding["refused"]))
    return not code


@cache
def _nir() -> dict[str, bytes]:
    nir: Any = import_module("nir")

    from hw.contract.neuron import NeuronSpec
    from sw.nir.export import export_nir
    from tests.networks import random_chain

    neuron = NeuronSpec(theta=9, negative="off", decay="shift", decay_shift=1, potential_bits=8)
    plain = random_chain(
        np.random.default_rng(7), (6, 5, 3), steps=3, input_bits=4, neurons=[neuron], bias=2
    )

    def write(path: Path) -> None:
        maps: dict[str, Any] = {
            "input": nir.Input(np.array([1, 6, 6])),
            "conv": nir.Conv2d((6, 6), np.ones((2, 1, 3, 3)), 1, 1, 1, 1, np.zeros(2)),
            "if": nir.IF(r=np.ones((2, 6, 6)), v_threshold=np.full((2, 6, 6), 2.0)),
            "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
            "flat": nir.Flatten(np.array([2, 3, 3]), start_dim=0),
            "out": nir.Affine(np.ones((3, 18)), np.zeros(3)),
            "output": nir.Output(np.array([3])),
        }
        nir.write(path, nir.NIRGraph(maps, [*zip(list(maps)[:-1], list(maps)[1:], strict=True)]))

    return {
        "export": _saved(lambda path: export_nir(plain, path, 1e-4), ".nir"),
        "maps": _saved(write, ".nir"),
    }


@cache
def _onnx() -> dict[str, bytes]:
    from tests.onnx_graphs import model, node, reals

    constants = {"w": reals(5, 8), "b": reals(5), "v": reals(3, 5)}
    dense = [
        node("Gemm", "x w b", "h", transB=1),
        node("Relu", "h", "r"),
        node("Gemm", "r v", "y", transB=1),
    ]
    kernels = {"k": reals(2, 1, 3, 3), "w": reals(18, 3), "s": np.array([0, -1])}
    maps = [
        node("Conv", "x k", "c", pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("Relu", "c", "r"),
        node("AveragePool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", "p s", "f"),
        node("MatMul", "f w", "y"),
    ]
    quant = {"w": reals(4, 3), "one": np.float32(0.25), "z": np.float32(0), "n": np.float32(4)}
    quant |= {"v": reals(3, 2)}
    bits = [
        node("Quant", "w one z n", "q", signed=1, narrow=1, rounding_mode="ROUND"),
        node("MatMul", "x q", "h"),
        node("Relu", "h", "r"),
        node("Quant", "r one z n", "s", signed=0, narrow=0, rounding_mode="ROUND"),
        node("MatMul", "s v", "y"),
    ]
    return {
        "dense": model(dense, constants, ["n", 8]).SerializeToString(),
        "maps": model(maps, kernels, ["n", 1, 6, 6]).SerializeToString(),
        "quantised": model(bits, quant, ["n", 4]).SerializeToString(),
    }


@cache
def _modules() -> dict[str, bytes]:
    import torch
    from torch import nn

    torch.manual_seed(1)
    dense = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    maps = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(18, 3),
    ).eval()
    return {
        "dense": _saved(lambda path: torch.save(dense, path), ".pt"),
        "maps": _saved(lambda path: torch.save(maps, path), ".pt"),
    }


def _named(name: str) -> Callable[[], Mapping[str, bytes]]:
    return lambda: {name: _modules()[name]}


@cache
def _states() -> dict[str, bytes]:
    import torch

    generator = torch.Generator().manual_seed(2)

    def state(*sizes: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for n, (inputs, outputs) in enumerate(itertools.pairwise(sizes), 1):
            found[f"fc{n}.weight"] = torch.randn(outputs, inputs, generator=generator)
            found[f"fc{n}.bias"] = torch.randn(outputs, generator=generator)
            found[f"lif{n}.threshold"] = torch.tensor(1.0)
            found[f"lif{n}.beta"] = torch.tensor(0.5)
            found[f"lif{n}.graded_spikes_factor"] = torch.tensor(1.0)
            found[f"lif{n}.reset_mechanism_val"] = torch.tensor(0)
        return found

    return {
        "two": _saved(lambda path: torch.save(state(6, 5, 3), path), ".pt"),
        "three": _saved(lambda path: torch.save(state(4, 6, 5, 3), path), ".pt"),
    }


DESCRIPTION = """framework = "snntorch"
weights = "net.pt"
[[module]]
name = "fc1"
[[module]]
name = "lif1"
[[module]]
name = "fc2"
[[module]]
name = "lif2"
"""


def ask_state(path: Path) -> bool:
    """What snnTorch's tutorials save."""
    return ask_check(path, "--from", "snntorch")


def ask_maps(path: Path) -> bool:
    """A module of maps, whose file does not say how large they are."""
    return ask_check(path, "--shape", "1,6,6")


# Descriptions


EXAMPLES = Path(__file__).parents[2] / "examples"


@cache
def _boards() -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(EXAMPLES.glob("*.toml"))}


def ask_board(path: Path) -> bool:
    """`sterna plan --board FILE`; a plan's name and pins go into Verilog and constraints."""
    from gen.board.boards import find_board

    code, text = command(
        "plan", "--board", str(path), "digits-dense", "--lanes", "8", "--banks", "1", "--json"
    )
    if not code:
        json.loads(text)
        board = find_board(str(path))
        if not board.name.replace("-", "_").isidentifier():
            raise Wrong(f"a name that is none: {board.name!r}")
    return not code


RECIPES = {
    "dense": b'hidden = [16, 8]\nsteps = 3\nweight_bits = 4\n[neuron]\nnegative = "off"\n'
    b"[float_phase]\nepochs = 2\nrate = 5e-3\nweight_decay = 1e-2\n",
    "maps": b'like = "digits-conv"\nsteps = 4\nmax_shift = 1\n[[layers]]\nname = "stem"\n'
    b'channels = 4\nedges = [{source = "input", kind = "conv", kernel = 3, padding = 1}]\n'
    b'[[layers]]\nname = "readout"\nedges = [{source = "stem", pool = 2}]\n',
}


def ask_recipe(path: Path) -> bool:
    """A recipe of `sterna train`, as far as training."""
    from sw.data.arrays import Dataset
    from sw.front.recipes import recipe_for
    from sw.learn.checkpoint import float_network

    x = np.random.default_rng(1).random((60, 8, 8))
    recipe = recipe_for(Dataset(x, np.arange(60) % 3, name="mine"), recipe=str(path))
    if max(recipe.sizes) < 100_000:
        float_network(recipe)
    return True


@cache
def _checkpoints() -> dict[str, bytes]:
    import torch

    from sw.learn.checkpoint import Checkpoint, float_network
    from sw.learn.fold import fold
    from sw.learn.quantize import quantize
    from sw.learn.recipes import find_recipe

    torch.manual_seed(3)
    recipe = find_recipe("digits-dense")
    network = float_network(recipe).eval()
    integer = quantize(fold(network), name="tiny", weight_bits=4, pixel_bits=4)
    checkpoint = Checkpoint(
        recipe=recipe,
        seed=1,
        trained={"float": {"epochs": 1}},
        float_state=network.state_dict(),
        spec=integer.spec,
        integer_state=integer.state_dict(),
    )
    return {"digits": _saved(checkpoint.save, ".pt")}


def ask_checkpoint(path: Path) -> bool:
    """`sterna export`, as far as the network."""
    from sw.learn.checkpoint import Checkpoint

    Checkpoint.load(path).integer_network().to_network()
    return True


TARGETS: dict[str, Target] = {
    "network": Target(seeds=_network_files, form="zip", suffix=".npz", ask=ask_network),
    "sealed": Target(seeds=_network_files, form="sealed", suffix=".npz", ask=ask_network),
    "masters": Target(
        seeds=cache(lambda: {"small": _saved(_learner().save, ".npz")}),
        form="zip",
        suffix=".npz",
        ask=ask_masters,
    ),
    "arrays": Target(seeds=_arrays, form="zip", suffix=".npz", ask=ask_data),
    "events": Target(seeds=_events, form="zip", suffix=".npz", ask=ask_data),
    "table": Target(seeds=_tables, form="csv", suffix=".csv", ask=ask_data),
    "idx": Target(
        seeds=_idx_files,
        form="",
        suffix="-images-idx3-ubyte",
        ask=ask_folder,
        beside=_idx_beside,
        place="train",
    ),
    "packed": Target(
        seeds=_packed,
        form="",
        suffix="-images-idx3-ubyte.gz",
        ask=ask_folder,
        beside=_idx_beside,
        place="train",
    ),
    "picture": Target(
        seeds=_pictures, form="", suffix=".png", ask=ask_classes, beside=_classes, place="a/9"
    ),
    "nir": Target(seeds=_nir, form="hdf5", suffix=".nir", ask=ask_check),
    "onnx": Target(seeds=_onnx, form="onnx", suffix=".onnx", ask=ask_check),
    "module": Target(seeds=_named("dense"), form="torch", suffix=".pt", ask=ask_check),
    "maps": Target(seeds=_named("maps"), form="torch", suffix=".pt", ask=ask_maps),
    "state": Target(seeds=_states, form="torch", suffix=".pt", ask=ask_state),
    "description": Target(
        seeds=lambda: {"two": DESCRIPTION.encode()},
        form="toml",
        suffix=".toml",
        ask=ask_check,
        beside=cache(lambda: {"net.pt": _states()["two"]}),
    ),
    "board": Target(seeds=_boards, form="toml", suffix=".toml", ask=ask_board),
    "recipe": Target(seeds=lambda: RECIPES, form="toml", suffix=".toml", ask=ask_recipe),
    "checkpoint": Target(seeds=_checkpoints, form="torch", suffix=".pt", ask=ask_checkpoint),
}
"""By name."""
