"""Learning: data, ternary-spike training, quantisation, export."""
