"""The contract in NumPy: what the hardware is held against.

Pixels -> edges -> drives -> neurons -> spikes, potentials, logits; activity counts what happened.
"""
