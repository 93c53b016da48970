"""The golden model, and the benches that hold the emitted Verilog against it.

golden < bench < board: a room uses those before it.
"""
