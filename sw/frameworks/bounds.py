"""How alike is alike enough, and how fine is fine enough, of an import."""

__all__ = ["AGREE", "BIAS_BITS", "MEMBRANE_SAME", "SAME", "THRESHOLD_BITS", "TRIAL_IMAGES", "WHOLE"]

TRIAL_IMAGES = 200
"""Images on which a network and what was read of it must agree, and widths are tried."""

AGREE = 0.99
"""Share of them that must be alike."""

THRESHOLD_BITS = 12
"""Of the thresholds of potentials that decay: what is truncated is small beside them."""

BIAS_BITS = 16
"""Of the thresholds of layers whose weights are kept as they are, where biases are not: what is
rounded then is less than all else that differs."""

WHOLE = 1e-4
"""So near to a whole number of steps, it is one: files have float32."""

SAME = 1e-6
"""By so much spikes of a framework may differ from whole numbers: it has floats."""

MEMBRANE_SAME = 1e-5
"""By so much of a threshold potentials of the same network may differ: sums of reals are not
exact."""
