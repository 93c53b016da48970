"""The contract, and the hardware in Amaranth.

contract | memory < stream < neuron < layer, link < program < core < top: a room uses those before
it.
"""
