"""Learning, conversion, the host's side, verification, studies, the command line.

data < learn | host < importers | verify < frameworks < nir < study < cli: a room uses those before
it.
"""
