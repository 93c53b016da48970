"""Simulation of learning cores: sample after sample, every value and every master weight compared.

SystemVerilog harness, cocotb bench, comparison with `sim.golden.learning`, report.
"""
