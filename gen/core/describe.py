"""Words for people."""

from hw.contract.neuron import Decay, NeuronSpec, ReadoutSpec
from hw.contract.spec import LayerSpec

__all__ = ["constants_text", "neuron_text", "readout_text"]


def constants_text(layer: LayerSpec) -> str:
    """Which constants of a layer's neurons are by channel, to be said behind `neuron_text`."""
    own = {
        "thresholds": layer.channel_thresholds,
        "reset steps": layer.channel_resets,
        "decays": layer.channel_decays,
    }
    names = [name for name, there in own.items() if there]
    told = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return f", {told} by channel" if names else ""


def neuron_text(neuron: NeuronSpec) -> str:
    """A row of the neuron table in words."""
    kinds = ("binary", "counted"), ("ternary", "augmented")
    kind = kinds[neuron.signed][neuron.limit > 1]
    words = [f"{kind}, theta {neuron.theta}"]
    if neuron.theta_negative is not None:
        words.append(f"theta- {neuron.theta_negative}")
    if neuron.limit > 1:
        words.append(f"|c| <= {neuron.limit}")
    if neuron.guarded:
        words.append("guarded")
    words.append(f"{neuron.reset} reset")
    if neuron.decay != "none":
        words.append(f"decay {_law_text(neuron.decay_law)}")
    if neuron.has_current:
        words.append(f"current decay {_law_text(neuron.current_law)}")
    if neuron.decay_rounding != "zero":
        words.append(f"rounded to the {neuron.decay_rounding}")
    if neuron.u0:
        words.append(f"u0 {neuron.u0}")
    return ", ".join(words)


def readout_text(readout: ReadoutSpec | None) -> str:
    """A readout in words; None is one that adds up its drives."""
    if readout is None:
        return "readout"
    words = [f"leaky readout, {READ[readout.value]}"]
    if readout.decay != "none":
        words.append(f"decay {_law_text(readout.decay_law)}")
    if readout.decay_rounding != "zero":
        words.append(f"rounded to the {readout.decay_rounding}")
    if readout.fraction_bits:
        words.append(f"{readout.fraction_bits} bits of a fraction")
    return ", ".join(words)


READ = {"last": "last potential", "sum": "potentials added up", "max": "largest potential"}


def _law_text(law: Decay) -> str:
    if law.kind == "factor":
        return f"{law.factor or 'm'}/{2**law.shift}"
    return law.kind if law.kind == "none" else f"{law.kind} {law.shift}"
