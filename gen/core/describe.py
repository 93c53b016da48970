"""Words for people."""

from hw.contract.neuron import NeuronSpec, ReadoutSpec

__all__ = ["neuron_text", "readout_text"]


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
    words += _decay_words(neuron)
    if neuron.u0:
        words.append(f"u0 {neuron.u0}")
    return ", ".join(words)


def readout_text(readout: ReadoutSpec | None) -> str:
    """A readout in words; None is one that adds up its drives."""
    if readout is None:
        return "readout"
    words = [f"leaky readout, {READ[readout.value]}", *_decay_words(readout)]
    if readout.fraction_bits:
        words.append(f"{readout.fraction_bits} bits of a fraction")
    return ", ".join(words)


READ = {"last": "last potential", "sum": "potentials added up", "max": "largest potential"}


def _decay_words(law: NeuronSpec | ReadoutSpec) -> list[str]:
    if law.decay == "none":
        return []
    share = f"{law.decay_factor}/{2**law.decay_shift}"
    words = [f"decay {share if law.decay_factor else f'{law.decay} {law.decay_shift}'}"]
    if law.decay_rounding != "zero":
        words.append(f"rounded to the {law.decay_rounding}")
    return words
