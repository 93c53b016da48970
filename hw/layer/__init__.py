"""The layer stage: a dense layer with hardware of its own, all time steps overlapping.

Words of coefficients -> queue (finder, encoder) -> events -> accumulator (slices) -> drives ->
hold -> LIF array or readout -> words of spikes, or logits.
"""
