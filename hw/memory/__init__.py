"""Memories: read-only, loaded at power-up, and their Verilog.

Address in, row out two cycles later; accumulator and program stages read weights through them.
"""
