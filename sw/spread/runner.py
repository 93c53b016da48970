"""Who has jobs done, as code that makes them sees it (`hw.system.jobs.RunJobs`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hw.system.jobs import Jobs, Result
from hw.system.progress import Progress, silent
from sw.spread.engine import Pool, spread
from sw.spread.store import Job, Store

__all__ = ["Runner", "running"]


class Runner:
    """Does jobs in a pool; results are kept in a store, and never made again."""

    def __init__(self, pool: Pool, store: Store, progress: Progress = silent) -> None:
        self._pool, self._store, self._progress = pool, store, progress

    def __call__(self, jobs: Jobs) -> list[Result]:
        """See `hw.system.jobs.RunJobs`.

        Raises
        ------
        SpreadError, Exception
            As of `sw.spread.engine.spread`.
        """
        digests = {}
        for name, (digest, value) in jobs.shared.items():
            self._pool.share(name, value, digest)
            digests[name] = digest
        several = [
            Job(
                name=name,
                function=jobs.function,
                arguments=arguments,
                shared=digests,
                fills=jobs.folders is not None,
            )
            for name, arguments in jobs.calls.items()
        ]
        return spread(
            several,
            self._store,
            self._pool,
            what=jobs.what,
            progress=self._progress,
            each=jobs.each,
            folders=jobs.folders,
            owned=jobs.owned,
        )


@contextmanager
def running(
    workers: int | None = None,
    scheduler: str | None = None,
    *,
    kept: Path | None = None,
    progress: Progress = silent,
) -> Iterator[Runner]:
    """A runner with a pool of its own while the context lasts.

    Parameters
    ----------
    workers, scheduler
        See `sw.spread.engine.Pool`.
    kept
        Folder in which results stay; None: they are gone with the context.
    """
    with TemporaryDirectory(prefix="sterna-jobs-") as folder, Pool(workers, scheduler) as pool:
        yield Runner(pool, Store(kept or Path(folder)), progress)
