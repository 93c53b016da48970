"""The public door: what a user of the library needs, imported when it is asked for.

`import sterna` costs nothing; `sterna.Network` imports the network file, `sterna.open_board` the
host library and no hardware. `main` is the command line (`sw.cli`).
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
    from hw.contract.network import Network
    from hw.contract.neuron import NeuronSpec
    from hw.contract.spec import LayerSpec, NetworkSpec
    from sim.golden.model import GoldenModel
    from sw.cli.main import main
    from sw.data.shipped import model_path
    from sw.host import open_board

__all__ = [
    "EdgeSpec",
    "GoldenModel",
    "LayerSpec",
    "Network",
    "NetworkBuilder",
    "NetworkSpec",
    "NeuronSpec",
    "SternaError",
    "generate",
    "main",
    "model_path",
    "open_board",
    "plan_network",
]

HOMES = {
    "EdgeSpec": "hw.contract.edge",
    "GoldenModel": "sim.golden.model",
    "LayerSpec": "hw.contract.spec",
    "Network": "hw.contract.network",
    "NetworkBuilder": "hw.contract.builder",
    "NetworkSpec": "hw.contract.spec",
    "NeuronSpec": "hw.contract.neuron",
    "SternaError": "hw.contract.checks",
    "generate": "gen.core.verilog",
    "main": "sw.cli.main",
    "model_path": "sw.data.shipped",
    "open_board": "sw.host",
    "plan_network": "gen.core.plan",
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
