"""A network as a core: stages in a row, each with its layout, ROMs, and cycle law.

Network -> plan (stages) -> ROM files and Verilog; what it will cost is predicted beside.
"""
