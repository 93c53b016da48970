"""The program stage: one set of hardware that runs layers of any kind in turn.

A program says what to do; words of maps -> scanner -> events -> walker -> updates -> potentials,
which the sweeper fires into the memory of spikes; then the last layer is sent.
"""
