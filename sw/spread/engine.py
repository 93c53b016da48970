"""Jobs on Dask: `dask.distributed` with processes of this machine, or a scheduler that runs.

What is shared travels once to each worker; jobs are handed out a few at a time, so that memory is
bounded however many there are. A worker that dies is replaced, and its jobs are done again by
others; a result that has been kept is never made again.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from hw.contract.checks import SternaError
from hw.contract.text import own_version
from hw.system.progress import Progress, silent, under_way
from sw.spread.filled import is_refused, unpacked
from sw.spread.store import Job, Result, Store

__all__ = ["Pool", "SpreadError", "spread"]

HEAP_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
HEAP = 1_000_000_000
"""Of glibc, in workers: tensors of half a megabyte are kept, not given back to the system each
time. A third of the time of a training went there; Dask has them given back sooner still."""

AHEAD = 2
"""Jobs of each worker that are handed out at a time."""

DEATHS = 3
"""Workers that may die of a job before it is given up."""

LATE, LOOK = 60, 5
"""Seconds after which a worker that died and is not there again is given up, and another one
started; between looks at that."""

PATIENCE = 20
"""Seconds in which a scheduler must answer."""


class SpreadError(SternaError):
    """Jobs that cannot be done."""


class Pool:
    """Where jobs are done; to be opened (`with`). Then a scheduler is asked whether it is there,
    before any long work; processes are started for the first job.

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
        For fewer workers than none, or some beside a scheduler, which has its own; as it is opened,
        when the scheduler does not answer.
    """

    def __init__(
        self,
        workers: int | None = None,
        scheduler: str | None = None,
        shared: Mapping[str, Any] | None = None,
    ) -> None:
        if workers is not None and (type(workers) is not int or workers < 0):
            raise SpreadError(f"Workers must be a number of at least 0, not {workers!r}")
        if workers is not None and scheduler is not None:
            raise SpreadError("Jobs must have a number of workers or a scheduler, not both")
        self._workers, self._scheduler = workers, scheduler
        self._shared = {name: ("", value) for name, value in (shared or {}).items()}
        self._open, self._client, self._sent = ExitStack(), None, dict[str, Any]()

    def __enter__(self) -> "Pool":
        with ExitStack() as undo:
            undo.callback(self._open.close)
            if self._scheduler is not None:
                self._reached(0)
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._client = None
        self._open.close()

    def share(self, name: str, value: Any, digest: str) -> None:
        """Have something in common for the jobs that follow; what was shared under the name before
        is forgotten, unless it had the same digest."""
        if self._shared.get(name, ("", None))[0] != digest:
            self._shared[name] = digest, value
            self._sent.pop(name, None)

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
            there = {name: value for name, (_, value) in self._shared.items()}
            for job in jobs:
                yield job, job.call(**job.arguments, **self._given(job, there))
            return
        yield from self._on_dask(jobs)

    @staticmethod
    def _given(job: Job, shared: Mapping[str, Any]) -> dict[str, Any]:
        return {name: shared[name] for name in job.shared}

    def _on_dask(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        from distributed import KilledWorker, as_completed

        client = self._connected(len(jobs))
        todo, by_key, out = iter(jobs), {job.key: job for job in jobs}, 0
        queue = as_completed(loop=client.loop)

        def hand_out() -> int:
            """So many more that each worker has some; there may be more workers than before."""
            workers = len(client.scheduler_info(n_workers=-1)["workers"])
            more = 0
            for job in islice(todo, max(0, AHEAD * max(1, workers) - out)):
                given = self._given(job, self._sent)
                future = client.submit(
                    job.call, **job.arguments, **given, key=job.key, retries=0, pure=False
                )
                queue.add(future)
                more += 1
            return more

        out += hand_out()
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
            out += hand_out() - 1

    def _connected(self, jobs: int) -> Any:
        """A client of the cluster, with what is shared."""
        client = self._reached(jobs)
        for name, (_, value) in self._shared.items():
            if name not in self._sent:
                # A task, not scattered: where all workers that had it have died, another one gets
                # it from the scheduler again.
                key = f"{name}-{uuid4().hex}"
                self._sent[name] = client.submit(_itself, value, key=key, pure=False)
        return client

    def _reached(self, jobs: int) -> Any:
        """A client of the cluster, which is started."""
        if self._client is None:
            from dask import config  # pyright: ignore[reportPrivateImportUsage]

            self._open.enter_context(config.set(SETTINGS))
            self._client = self._cluster(jobs) if self._scheduler is None else self._answering()
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
            silence_logs=logging.CRITICAL,  # what a job raises is raised here, too
        )
        self._open.callback(_end, cluster)
        client = self._open.enter_context(Client(cluster, set_as_default=False))
        self._open.enter_context(_kept_up(cluster, max(1, count)))
        return client

    def _answering(self) -> Any:
        from distributed import Client

        try:
            client = Client(self._scheduler, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            text = " ".join(str(error).split())
            raise SpreadError(
                f"Scheduler {self._scheduler} must be one of Dask that answers: {text}"
            ) from None
        self._open.enter_context(client)
        others = _versions(client) - {own_version()}
        if others:
            raise SpreadError(
                f"Workers of {self._scheduler} must have Sterna {own_version()}, not "
                f"{', '.join(sorted(others))}"
            )
        return client


@contextmanager
def _kept_up(cluster: Any, workers: int) -> Iterator[None]:
    """A cluster has so many workers again and again while the context lasts. Dask starts another
    one in place of one that died; but where that fails, or takes longer than `LATE` on a machine
    that has much else to do, it gives that place up for good, and jobs would wait for ever."""
    over = Event()

    def look() -> None:
        while not over.wait(LOOK):
            cluster.scale(workers)

    thread = Thread(target=look, name="sterna-workers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _versions(client: Any) -> set[str]:
    """Of Sterna, on all workers."""
    try:
        return set(client.run(own_version).values())
    except ModuleNotFoundError:
        return {"none"}


def _itself(value: Any) -> Any:
    return value


def _end(cluster: Any) -> None:
    """Close a cluster. One whose worker has just died is starting another, which cannot be joined
    yet: its processes end with this one."""
    with suppress(Exception):
        cluster.close()


SETTINGS = {
    "distributed.scheduler.allowed-failures": DEATHS,
    "distributed.comm.timeouts.connect": f"{PATIENCE}s",
    **{f"distributed.nanny.pre-spawn-environ.{name}": HEAP for name in HEAP_VARIABLES},
    "distributed.worker.preload": ["sw.spread.worker"],
    "distributed.deploy.lost-worker-timeout": f"{LATE}s",
    "distributed.admin.large-graph-warning-threshold": "1TiB",  # of what is shared
}
"""Of Dask."""


def spread(
    jobs: Sequence[Job],
    store: Store,
    pool: Pool,
    *,
    what: str = "jobs",
    progress: Progress = silent,
    each: Callable[[str, Result], None] | None = None,
    folders: Mapping[str, Path] | None = None,
    owned: Sequence[str] = (),
) -> list[Result]:
    """Do all jobs that the store has no result of; returns those of all, in order. `each`,
    `folders` and `owned`: see `hw.system.jobs.Jobs`.

    Raises
    ------
    SpreadError, Exception
        As of `Pool.run`; what was done till then is kept.
    SternaError
        What a job with a folder was refused for.
    """
    found: dict[str, Result] = {}

    def arrived(job: Job, result: Result) -> None:
        found[job.key] = result
        if job.fills:
            found[job.key] = unpacked(result, (folders or {})[job.name], owned)
        if each is not None:
            each(job.name, found[job.key])

    several = {job.key: job for job in jobs}
    waiting = []
    for key, job in several.items():  # one after the other: with their files they may be large
        result = store.get(key)
        if result is None:
            waiting.append(job)
        else:
            arrived(job, result)
    if found:
        progress(f"{len(found)} of {len(several)} {what} were done before")
    if waiting:
        with under_way(progress, what, total=len(waiting)) as at:
            for n, (job, result) in enumerate(pool.run(waiting), 1):
                if not (job.fills and is_refused(result)):
                    store.put(job.key, result)
                arrived(job, result)
                at(n, f"{what}: {n} of {len(waiting)}, {job.name}")
    return [found[job.key] for job in jobs]
