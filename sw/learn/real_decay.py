"""How much truncation toward zero changes: spikes of a network against real-valued decay.

The same integer weights, biases and thresholds are run with potentials that keep every fraction:
in float64, in which they are exact as long as k(T-1) more bits than the sums have fit into 53. With
enough fraction bits nothing is truncated, and the network's spikes are these very spikes.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from hw.contract.checks import SpecError, signed_bits
from hw.contract.edge import INPUT
from hw.contract.network import Network, NetworkError
from hw.contract.neuron import NeuronSpec
from sw.data.evaluate import golden_runs
from sw.data.split import Split
from sw.learn.compare import unlike_spikes
from sw.learn.fold import FoldedLayer, FoldedNetwork
from sw.learn.neuron import LIFParameters, ReadoutParameters
from sw.learn.quantize import fraction_bits

__all__ = ["decay_report", "real_network", "unlike_real", "with_decay"]

Int = npt.NDArray[np.int32]

SPIKES = 6e8
"""About as many are compared: of a large network, those of fewer images."""


def with_decay(network: Network, *, exact: bool) -> Network:
    """The same network with a decay that is exact, or that truncates toward zero.

    Raises
    ------
    SpecError
        When exact potentials or sums are wider than the contract admits.
    """
    layers, thetas, steps = [], list(network.thetas), list(network.reset_steps)
    for n, layer in enumerate(network.spec.layers):
        neuron = layer.neuron
        if neuron is not None and _decays(neuron):
            layer = replace(layer, neuron=_other(neuron, network.spec.steps, exact))
            assert layer.neuron is not None
            change = layer.neuron.fraction_bits - neuron.fraction_bits
            for own in (thetas, steps):
                if (old := own[n]) is not None:
                    own[n] = _shifted(old, change)
        layers.append(layer)
    spec = replace(network.spec, layers=tuple(layers))
    return replace(network, spec=spec, thetas=tuple(thetas), reset_steps=tuple(steps))


def _shifted(values: Int, change: int) -> Int:
    """With so many fraction bits more."""
    if change < 0 and (values % (1 << -change)).any():
        raise SpecError(_REST.format(-change))
    return values << change if change >= 0 else values >> -change


_REST = "Thresholds and potentials must be multiples of 2^{} to lose their fraction bits"


def _decays(n: NeuronSpec) -> bool:
    return bool(n.decay_shift or n.current_shift)


def _other(n: NeuronSpec, steps: int, exact: bool) -> NeuronSpec:
    bits = fraction_bits(n.decay_shift, n.decay_when == "after" or n.u0 == 0, steps)
    bits = max(bits, fraction_bits(n.current_shift, True, steps)) if exact else 0
    change = bits - n.fraction_bits

    def scaled(value: int) -> int:
        if change < 0 and value % (1 << -change):
            raise SpecError(_REST.format(-change))
        return value << change if change >= 0 else value >> -change

    least = max(2, signed_bits(max(scaled(n.theta), scaled(n.theta_down)) - 1))
    return replace(
        n,
        fraction_bits=bits,
        theta=scaled(n.theta),
        theta_negative=n.theta_negative and scaled(n.theta_negative),
        step=scaled(n.step),
        u0=scaled(n.u0),
        potential_bits=max(n.potential_bits + change, least),
    )


def real_network(network: Network) -> FoldedNetwork:
    """The network's integers with real-valued potentials, in units of a weight step."""
    layers = []
    for layer in network.layers:
        n, parameters = layer.spec.neuron, None
        if n is not None:
            unit = 2.0**n.fraction_bits
            parameters = replace(
                LIFParameters.from_spec(n),
                theta=n.theta / unit,
                theta_negative=n.theta_negative and n.theta_negative / unit,
                step=n.step / unit,
                u0=n.u0 / unit,
                fraction_bits=0,
                u_max=None,
            )
        bias, *kernels = (
            torch.from_numpy(array.astype(np.float64)) for array in (layer.bias, *layer.kernels)
        )
        own = [
            None if n is None or values is None else torch.from_numpy(values / 2.0**bits)
            for values, bits in (
                (layer.thetas, n.fraction_bits if n else 0),
                (layer.reset_steps, n.fraction_bits if n else 0),
                (layer.factors, 0),
            )
        ]
        read = layer.spec.readout
        leak = None
        if read is not None:
            real = ReadoutParameters.from_spec(read)
            leak = replace(real, rounds=False, fraction_bits=0)
        layers.append(
            FoldedLayer(
                tuple(kernels),
                bias,
                parameters,
                layer.spec.name,
                layer.spec.shape,
                layer.spec.edges,
                thetas=own[0],
                steps=own[1],
                factors=own[2],
                readout=leak,
            )
        )
    spec = network.spec
    return FoldedNetwork(tuple(layers), spec.steps, spec.shape_of(INPUT), spec.timed_input)


@torch.no_grad()
def unlike_real(network: Network, data: Split) -> tuple[int, int, int]:
    """(spikes that differ, spikes compared, images whose class differs) of the golden model,
    compared with real-valued potentials."""
    real, spikes, compared, classes = real_network(network), 0, 0, 0
    for _, pixels, _, trace in golden_runs(network, data):
        activity = real(torch.from_numpy(pixels))
        for unlike, n in unlike_spikes(trace, activity):
            spikes += unlike
            compared += n
        classes += int((trace.classes != activity.logits.argmax(dim=1).numpy()).sum())
    return spikes, compared, classes


def decay_report(network: Network, data: Split) -> dict[str, list[int]]:
    """`unlike_real` of the network with truncation and with exact decay, by name, each with the
    number of images; without what the contract's 32 bits do not admit (many steps), and empty where
    nothing decays. Of a large network the first images only (`SPIKES`)."""
    if not any(n is not None and _decays(n) for n in (x.neuron for x in network.spec.layers)):
        return {}
    per_image = network.spec.steps * sum(layer.neurons for layer in network.spec.layers[:-1])
    n = max(1, int(SPIKES // per_image))
    some, report = replace(data, images=data.images[:n], labels=data.labels[:n]), {}
    for name, exact in (("truncating", False), ("exact", True)):
        try:
            other = with_decay(network, exact=exact)
        except (SpecError, NetworkError):
            continue
        report[name] = [*unlike_real(other, some), len(some)]
    return report
