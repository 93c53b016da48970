"""The golden model and the benches that hold the emitted Verilog against it."""
