"""A program stage that adds to a window of positions at once: spikes of a map come in the order of
its rows and columns, and meet accumulators that move along with them.

Cursor (where the window is) -> accumulators (its sums) -> banks of potentials and drives.
"""
