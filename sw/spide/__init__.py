"""Learning on chip (SPIDE in integers, `hw.contract.learning`), in NumPy; no torch here.

Noise or a trained network -> samples, one at a time -> masters, and a network that has learned.
"""
