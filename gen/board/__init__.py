"""A core on a board: plan, design files, bitstream, new weights, flashing.

Board + network -> planner (estimate) -> files -> build (bitstream, reload) -> flash.
"""
