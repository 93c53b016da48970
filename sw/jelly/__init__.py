"""SpikingJelly: what its nodes are, what its containers are made of, how they are played.

`sw.frameworks.spikingjelly` is the importer.
"""
