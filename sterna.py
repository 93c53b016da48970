"""The public door: what a user of the library needs, imported when it is asked for.

`import sterna` costs nothing; `sterna.load` imports no torch, `sterna.open_board` the host library
and no hardware. docs/python.md has all of it on one page. `main` is the command line (`sw.cli`).
The packages behind it are called `hw`, `gen`, `sim` and `sw`: where another module of such a name
comes first, a sentence says which file that is.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from os.path import dirname, realpath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gen.core.plan import plan_network
    from gen.core.verilog import generate
    from hw.contract.builder import NetworkBuilder
    from hw.contract.checks import SternaError
    from hw.contract.edge import EdgeSpec
    from hw.contract.encoding import Encoding
    from hw.contract.learning import LearningSpec
    from hw.contract.neuron import NeuronSpec, ReadoutSpec
    from hw.contract.spec import LayerSpec, NetworkSpec
    from sim.golden.model import GoldenModel
    from sw.data.arrays import Dataset
    from sw.data.dataset import load_dataset
    from sw.data.shipped import model_path
    from sw.front.core import BoardPlan, Core
    from sw.front.making import convert, train, write_steps
    from sw.front.network import Network, load
    from sw.host import open_board
    from sw.report import plots

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
    "ReadoutSpec",
    "SternaError",
    "convert",
    "generate",
    "load",
    "load_dataset",
    "main",
    "model_path",
    "open_board",
    "plan_network",
    "plots",
    "train",
    "write_steps",
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
    "ReadoutSpec": "hw.contract.neuron",
    "SternaError": "hw.contract.checks",
    "convert": "sw.front.making",
    "generate": "gen.core.verilog",
    "load": "sw.front.network",
    "load_dataset": "sw.data.dataset",
    "model_path": "sw.data.shipped",
    "open_board": "sw.host",
    "plan_network": "gen.core.plan",
    "plots": "sw.report.plots",
    "train": "sw.front.making",
    "write_steps": "sw.front.making",
}
"""The module that each public name comes from."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'sterna' has no attribute {name!r}")
    require_packages()
    home = import_module(HOMES[name])
    return home if name == "plots" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted(["__doc__", "__file__", "__name__", *__all__])


def require_packages() -> None:
    """Refuse files that stand in the way of our packages; none is run.

    Raises
    ------
    ImportError
        For the first one.
    """
    home = dirname(__file__)
    for name in ("hw", "gen", "sim", "sw"):
        found = sys.modules.get(name) or find_spec(name)
        file = getattr(found, "__file__", None) or getattr(found, "origin", None)
        # What has no file is a folder without __init__.py, and in nobody's way.
        if file and realpath(dirname(dirname(file))) != realpath(home):
            raise ImportError(
                f"Package {name} must be the one beside {__file__}, not {file}: rename that, or "
                "take its folder from Python's path"
            )


def main(arguments: list[str] | None = None) -> int:
    """The command line (`sw.cli.main`); returns the exit code."""
    try:
        require_packages()
    except ImportError as error:
        print(f"sterna: {error}", file=sys.stderr)
        return 1
    return import_module("sw.cli.main").main(arguments)


if __name__ == "__main__":
    sys.exit(main())
