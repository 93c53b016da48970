"""What Dask does in each process that this machine starts for jobs, also one in place of another
that died: it is told the module's name (`sw.spread.engine.SETTINGS`)."""

import signal

__all__ = ["dask_setup"]


def dask_setup(worker: object) -> None:
    """Leave Ctrl-C, which reaches all processes of a terminal, to the one that hands out: it says
    so in a sentence and ends the others, which would each print a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
