"""The program stage as it is planned: one set of hardware that runs layers in turn (`hw/program`).

Edges -> fan-out tables and rows of weights -> memory map -> operations; its cycle law, and what
that law gives on average (`expectation`).
"""
