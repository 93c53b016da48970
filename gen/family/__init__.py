"""Chip families: how each is synthesised, routed, clocked and filled. One file per family.

`base` says what is asked of a family; `registry` finds one by its name.
"""
