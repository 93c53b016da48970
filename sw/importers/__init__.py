"""Networks from elsewhere.

A torch module -> its layers (modules) -> folded network -> quantised, and compared with the
original.
"""
