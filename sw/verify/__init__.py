"""Boards and bitstreams held against the golden model, and damaged on purpose.

`bitstream` simulates what is packed, `board_check` and `self_test` ask a board, `fault_*` injects
faults into links and memories.
"""
