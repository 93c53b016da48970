"""Learning, conversion, the host's side, verification, studies, the command line.

data < learn | host < importers | verify < study < cli: a room uses those before it.
"""
