"""The public door: what a user of the library needs, imported when it is asked for.

`import sterna` costs nothing; `sterna.load` imports no torch, `sterna.open_board` the host library
and no hardware. docs/python.md has all of it on one page. `main` is the command line (`sw.cli`).
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gen.core.plan import plan_network
    from gen.core.verilog import generate
    from hw.contract.builder import NetworkBuilder
    from hw.contract.checks import SternaError
    from hw.contract.edge import EdgeSpec
    from hw.contract.encoding import Encoding
    from hw.contract.learning import LearningSpec
    from hw.contract.neuron import NeuronSpec
    from hw.contract.spec import LayerSpec, NetworkSpec
    from sim.golden.model import GoldenModel
    from sw.cli.main import main
    from sw.data.arrays import Dataset
    from sw.data.dataset import load_dataset
    from sw.data.shipped import model_path
    from sw.front.core import BoardPlan, Core
    from sw.front.making import convert, train
    from sw.front.network import Network, load
    from sw.host import open_board

__all__ = [
    "BoardPlan",
    "Core",
    "Dataset",
    "EdgeSpec",
    "Encoding",
    "GoldenModel",
    "LayerSpec",
    "LearningSpec",
    "Network",
    "NetworkBuilder",
    "NetworkSpec",
    "NeuronSpec",
    "SternaError",
    "convert",
    "generate",
    "load",
    "load_dataset",
    "main",
    "model_path",
    "open_board",
    "plan_network",
    "train",
]

HOMES = {
    "BoardPlan": "sw.front.core",
    "Core": "sw.front.core",
    "Dataset": "sw.data.arrays",
    "EdgeSpec": "hw.contract.edge",
    "Encoding": "hw.contract.encoding",
    "GoldenModel": "sim.golden.model",
    "LayerSpec": "hw.contract.spec",
    "LearningSpec": "hw.contract.learning",
    "Network": "sw.front.network",
    "NetworkBuilder": "hw.contract.builder",
    "NetworkSpec": "hw.contract.spec",
    "NeuronSpec": "hw.contract.neuron",
    "SternaError": "hw.contract.checks",
    "convert": "sw.front.making",
    "generate": "gen.core.verilog",
    "load": "sw.front.network",
    "load_dataset": "sw.data.dataset",
    "main": "sw.cli.main",
    "model_path": "sw.data.shipped",
    "open_board": "sw.host",
    "plan_network": "gen.core.plan",
    "train": "sw.front.making",
}
"""The module that each public name comes from."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'sterna' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *HOMES])


if __name__ == "__main__":
    from sw.cli.main import main

    sys.exit(main())
