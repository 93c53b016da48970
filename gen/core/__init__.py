"""A network as a core: stages in a row.

Network -> plan (which stages) -> ROM files and Verilog; the cycle law of all stages together.
"""
