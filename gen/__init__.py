"""From a network to files that a toolchain reads.

stage < layer | program < core | family < board < explore | ip: a network is cut into stages, these
are a core, which is placed on a chip of a family.
"""
