"""Networks from elsewhere.

A file (files) -> a torch module -> its layers (modules, affine) -> folded network -> quantised, and
compared with the original, which is fed what it was trained on (feed).
"""
