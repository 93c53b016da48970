"""Jobs on Dask: `dask.distributed` with processes of this machine, or a scheduler that runs.

What is shared travels once to each worker; jobs are handed out a few at a time, so that memory is
bounded however many there are. A worker that dies is replaced, and its jobs are done again by
others; a result that has been kept is never made again.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from typing import Any

from hw.contract.checks import SternaError
from hw.system.progress import Progress, silent, under_way
from sw.spread.store import Job, Result, Store

__all__ = ["Pool", "SpreadError", "spread"]

AHEAD = 2
"""Jobs of each worker that are handed out at a time."""

DEATHS = 3
"""Workers that may die of a job before it is given up."""

PATIENCE = 20
"""Seconds in which a scheduler must answer."""


class SpreadError(SternaError):
    """Jobs that cannot be done."""


class Pool:
    """Where jobs are done; to be opened (`with`). What it needs is started for the first job.

    Parameters
    ----------
    workers
        Processes on this machine, one job at a time each; by default one per core. 0: no process,
        all in this one, without Dask.
    scheduler
        Address of a Dask scheduler, `tcp://...`, whose workers have this version of Sterna.
    shared
        By name, what jobs have in common (`Job.shared`): data sets, networks. It travels once.

    Raises
    ------
    SpreadError
        For fewer workers than none.
    """

    def __init__(
        self,
        workers: int | None = None,
        scheduler: str | None = None,
        shared: Mapping[str, Any] | None = None,
    ) -> None:
        if workers is not None and (type(workers) is not int or workers < 0):
            raise SpreadError(f"Workers must be a number of at least 0, not {workers!r}")
        self._workers, self._scheduler, self._shared = workers, scheduler, shared or {}
        self._open, self._client, self._sent = ExitStack(), None, dict[str, Any]()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self._client = None
        self._open.close()

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        """Do jobs; yields each with its result, in the order in which they end.

        Raises
        ------
        SpreadError
            When the scheduler does not answer, or workers die of a job.
        Exception
            What a job raises.
        """
        if self._workers == 0 and self._scheduler is None:
            for job in jobs:
                yield job, job.function(**job.arguments, **self._given(job, self._shared))
            return
        yield from self._on_dask(jobs)

    @staticmethod
    def _given(job: Job, shared: Mapping[str, Any]) -> dict[str, Any]:
        return {name: shared[name] for name in job.shared}

    def _on_dask(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        from distributed import KilledWorker, as_completed

        client = self._connected(len(jobs))
        todo, by_key = iter(jobs), {job.key: job for job in jobs}

        def submit(job: Job) -> Any:
            given = self._given(job, self._sent)
            return client.submit(
                job.function, **job.arguments, **given, key=job.key, retries=0, pure=False
            )

        width = AHEAD * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        queue = as_completed([submit(job) for job in islice(todo, width)], loop=client.loop)
        for future in queue:
            job = by_key[future.key]
            try:
                result = future.result()
            except KilledWorker:
                raise SpreadError(
                    f"Job {job.name} ended {DEATHS + 1} workers: is there memory enough?"
                ) from None
            yield job, result
            future.release()
            for following in islice(todo, 1):
                queue.add(submit(following))

    def _connected(self, jobs: int) -> Any:
        """A client of the cluster, which is started, with what is shared on all workers."""
        if self._client is None:
            from dask import config  # pyright: ignore[reportPrivateImportUsage]

            self._open.enter_context(config.set(SETTINGS))
            self._client = self._cluster(jobs) if self._scheduler is None else self._answering()
            self._sent = {
                name: self._client.scatter(value, broadcast=True, hash=False)
                for name, value in self._shared.items()
            }
        return self._client

    def _cluster(self, jobs: int) -> Any:
        """Processes on this machine, which end with this one."""
        from distributed import Client, LocalCluster

        count = self._workers or min(jobs, len(os.sched_getaffinity(0)))
        cluster = LocalCluster(
            n_workers=max(1, count),
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",  # any port: there may be other clusters
            silence_logs=logging.ERROR,
        )
        self._open.callback(_end, cluster)
        return self._open.enter_context(Client(cluster, set_as_default=False))

    def _answering(self) -> Any:
        from distributed import Client

        try:
            client = Client(self._scheduler, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            text = " ".join(str(error).split())
            raise SpreadError(
                f"Scheduler {self._scheduler} must be one of Dask that answers: {text}"
            ) from None
        return self._open.enter_context(client)


def _end(cluster: Any) -> None:
    """Close a cluster. One whose worker has just died is starting another, which cannot be joined
    yet: its processes end with this one."""
    with suppress(Exception):
        cluster.close()


SETTINGS = {
    "distributed.scheduler.allowed-failures": DEATHS,
    "distributed.comm.timeouts.connect": f"{PATIENCE}s",
}
"""Of Dask."""


def spread(
    jobs: Sequence[Job],
    store: Store,
    pool: Pool,
    *,
    what: str = "jobs",
    progress: Progress = silent,
) -> list[Result]:
    """Do all jobs that the store has no result of; returns those of all, in order.

    Raises
    ------
    SpreadError, Exception
        As of `Pool.run`; what was done till then is kept.
    """
    found = {job.key: store.get(job.key) for job in jobs}
    waiting = list({job.key: job for job in jobs if found[job.key] is None}.values())
    if len(found) > len(waiting):
        progress(f"{len(found) - len(waiting)} of {len(found)} {what} were done before")
    if waiting:
        with under_way(progress, what, total=len(waiting)) as at:
            for n, (job, result) in enumerate(pool.run(waiting), 1):
                store.put(job.key, result)
                found[job.key] = result
                at(n, f"{what}: {n} of {len(waiting)}, {job.name}")
    results = [found[job.key] for job in jobs]
    assert None not in results
    return [result for result in results if result is not None]
