"""Words for people."""

from hw.contract.neuron import NeuronSpec

__all__ = ["neuron_text"]


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
        share = f"{neuron.decay_factor}/{2**neuron.decay_shift}"
        words.append(
            f"decay {share if neuron.decay_factor else f'{neuron.decay} {neuron.decay_shift}'}"
        )
        if neuron.decay_rounding != "zero":
            words.append(f"rounded to the {neuron.decay_rounding}")
    if neuron.u0:
        words.append(f"u0 {neuron.u0}")
    return ", ".join(words)
