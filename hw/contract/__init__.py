"""What software and hardware agree on: NumPy only, no Amaranth, no torch.

A neuron and its laws, edges and layers, a network with its integers and its file, how maps lie in
words, the numbers of the host link.
"""
