"""Potentials of a framework's network beside those of what was read of it."""

from sw.frameworks.agreement import Layers, unlike_membranes
from sw.learn.fold import FoldedNetwork
from sw.learn.graph import Activity
from sw.reading.network import Membrane, Run


def require_same_membranes(theirs: Run, twin: Activity, folded: FoldedNetwork) -> None:
    """Every potential of every layer that fires; neither all of them 0, nor all at once."""
    spikes = [s for s in theirs.spikes if s is not None]
    assert len(theirs.membranes) == len(spikes) == len(twin.spikes)
    found = unlike_membranes(Layers(folded), theirs.membranes, spikes, twin)
    assert len(found) == len(spikes)
    for (name, off), membrane in zip(found, theirs.membranes, strict=True):
        assert isinstance(membrane, Membrane)
        assert float(membrane.values.std()) > 0.01, name
        assert float(off.max()) < 1e-6, name
