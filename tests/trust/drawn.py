"""Random networks, each by its seed and number: the integer network in torch, and the hardware, are
held against the golden model.

Hardware runs in Amaranth's own simulator, in this process: a small network is generated, simulated
and compared in less time than a compiler needs for Verilator's C++ of it. What its Verilog does is
for `sterna sim` and the tests to say.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gen.core.plan import plan_core
from gen.window.stage import plan_window, window_layers
from hw.contract.network import Network, NetworkError
from sw.data.split import Split
from sw.learn.integer import NARROW_BITS, IntegerNetwork, QuantizeError
from sw.spread.store import Result
from tests.hw.driving import FLOWING, JITTERY
from tests.hw.layer.cores import CoreRun, check_cycle_law
from tests.hw.layer.cores import random_pixels as chain_pixels
from tests.hw.program.cases import CURRENTS, MANY, NEURONS, QUICK, SOFT_M
from tests.hw.program.programs import ProgramRun, program_core, random_graph, random_pixels
from tests.hw.window.windows import WindowRun
from tests.networks import random_chain, random_readout
from tests.sw.learn.equality import compare_exactly

__all__ = ["KINDS", "block", "one"]

ROWS = [QUICK, *NEURONS.values(), *CURRENTS.values(), *MANY.values(), SOFT_M]
DRAWS = 200
"""Until a network is within the contract's bounds."""


def _rng(kind: str, seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, number, *kind.encode()])


def _chain(rng: np.random.Generator, most: int, steps: int) -> Network:
    """Dense layers of any neurons, any widths, any readout."""
    for _ in range(DRAWS):
        sizes = rng.integers(1, most + 1, int(rng.integers(2, 5))).tolist()
        try:
            return random_chain(
                rng,
                sizes,
                steps=int(rng.integers(1, steps + 1)),
                input_bits=int(rng.integers(1, 9)),
                weight_bits=int(rng.choice([4, 4, 4, 5, 8, 12, 16])),
                readout=random_readout(rng) if rng.random() < 0.5 else None,
            )
        except NetworkError:  # sums of 33 bits
            continue
    raise AssertionError("no network is drawn")


def _split(network: Network, pixels: np.ndarray, rng: np.random.Generator) -> Split:
    spec = network.spec
    return Split(
        name="random",
        split="test",
        bits=spec.input_bits,
        images=pixels,
        labels=rng.integers(0, spec.classes, len(pixels)),
    )


def _twin(network: Network, exact: bool) -> IntegerNetwork:
    """The network in torch, in numbers of 53 bits (`exact`) or of 24."""
    integer = IntegerNetwork(network.spec)
    if exact:
        integer.double()
    integer.load_network(network)
    return integer


def torch_network(seed: int, number: int) -> dict[str, Any]:
    """Every spike, potential and logit of the integer network in torch; and the way back. A layer
    without any weight is none that training exports: then another network is drawn."""
    rng = _rng("torch", seed, number)
    graph, network = number % 2 == 1, None
    while network is None or not all(np.any(weights) for weights in network.weights):
        network = random_graph(rng, ROWS) if graph else _chain(rng, 40, 6)
    pixels = random_pixels(network, 4, number) if graph else chain_pixels(network, 4, number)
    data = _split(network, pixels, rng)
    wide = any(layer.weight_bits > NARROW_BITS for layer in network.spec.layers)
    integer = _twin(network, wide)
    try:
        back = integer.to_network()
    except QuantizeError:  # sums of 2^24 and more
        if wide:
            raise
        integer = _twin(network, True)
        back = integer.to_network()
    assert back.digest == network.digest
    with torch.no_grad():
        _, compared = compare_exactly(integer, network, data)
    return {"values": compared}


def _values(trace: Any) -> int:
    parts = (*trace.spikes, *trace.potentials, trace.logits, trace.classes)
    return sum(part.size for part in parts)


def rtl_network(seed: int, number: int) -> dict[str, Any]:
    """Every spike, potential, logit and class, and the cycle each class leaves in, of a core of
    layers, of programs, or of a window stage, in turn."""
    rng = _rng("rtl", seed, number)
    if number % 4 < 2:
        network = _chain(rng, 12, 3)
        banks = int(2 ** rng.integers(0, 3))
        fire = banks * int(2 ** rng.integers(0, 3)) if rng.random() < 0.5 else 0
        lean = bool(rng.integers(0, 2))
        plan = plan_core(network, int(rng.integers(1, 13)), banks, fire_lanes=fire, lean=lean)
        pixels = chain_pixels(network, 3, number)
        flowing = rng.random() < 0.5
        run = CoreRun(plan, pixels, FLOWING if flowing else JITTERY[int(rng.integers(4))])
        if flowing:
            check_cycle_law(run, pixels)
        return {"values": _values(run.trace)}
    network = random_graph(rng, ROWS)
    pixels = random_pixels(network, 2, number)[1:]
    names = [layer.name for layer in network.spec.layers[:-1]]
    changes = [name for name in names if rng.random() < 0.6]
    count = window_layers(network.spec)
    if number % 4 == 3 and count:
        heights = {name: int(2 ** rng.integers(0, 3)) for name in names[:count]}
        lanes = int(2 ** rng.integers(1, 3))
        window = plan_window(network, lanes, range(count), changes, heights)
        made = WindowRun(window, pixels)
        made.check_law()
        return {"values": _values(made.trace)}
    core = ProgramRun(program_core(network, int(2 ** rng.integers(1, 4)), changes), pixels)
    core.check_law()
    return {"values": _values(core.trace)}


KINDS: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "torch": torch_network,
    "rtl": rtl_network,
}


def one(kind: str, seed: int, number: int) -> dict[str, Any]:
    """What comes of one network: `values` compared, or what is `wrong`."""
    try:
        return KINDS[kind](seed, number)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return {"values": 0, "wrong": text}


def block(kind: str, seed: int, first: int, count: int, tested_by: str) -> Result:
    """So many networks from one on; `tested_by` only tells versions of the sources apart."""
    del tested_by
    torch.set_num_threads(1)
    started, values, wrong = time.process_time(), 0, []
    for number in range(first, first + count):
        found = one(kind, seed, number)
        values += found["values"]
        if "wrong" in found:
            wrong.append({"number": number, "what": found["wrong"]})
    seconds = round(time.process_time() - started, 3)
    return {"networks": count, "values": values, "wrong": wrong, "seconds": seconds}
