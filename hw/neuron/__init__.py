"""Neurons: the laws of docs/arithmetic.md as expressions, and the readout.

Drives come in, spikes go out; the last layer adds its drives up and sends logits.
"""
