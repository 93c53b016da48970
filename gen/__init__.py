"""From a network to files that a toolchain reads.

core | family < board < explore, ip: a core is planned and written, then placed on a chip of a
family.
"""
