"""A core's Verilog under Verilator: every value against the golden model.

Plan -> files -> build (verilator) -> run, one job per process -> bench records -> checker ->
report.
"""
