"""From a network to files that a toolchain reads.

stage < layer | program < core | family < wiring < board < explore | ip: a network is cut into
stages, these are a core, which is placed on a chip of a family, as it is wired on a board.
"""
