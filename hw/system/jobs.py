"""Many jobs that do not need each other, for code that does not care who does them: `sw.spread`
does, in processes of this machine or of a cluster.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

from hw.system.progress import Progress, silent, under_way

__all__ = ["InTurn", "Jobs", "Result", "RunJobs", "Shared"]

Result = dict[str, Any]
"""Of a job: plain JSON data, and bytes."""

Shared = Mapping[str, tuple[str, Any]]
"""What all jobs of a kind are given, by the name of the argument: (digest, value). It travels to
each process once; the digest stands for it where a job is told from others."""


@dataclass(frozen=True)
class Jobs:
    """Calls of a function of a module, once with each of these arguments.

    Parameters
    ----------
    what
        The jobs, for people.
    function
        What each calls.
    calls
        Arguments by the name of the job: plain JSON data.
    shared
        Arguments of every job.
    each
        Is told name and result of each job as it ends; of those that were done before, first.
    folders
        Where jobs leave files, by the name of the job: the function's argument `folder`. When
        `each` is told, and where a job is refused, they are there, whoever made them; those of
        a job that another machine does, not before.
    owned
        Patterns of files in them (`hw.contract.files.write_files`) that the function removes
        where they are of an earlier run: elsewhere it does not see them.
    """

    what: str
    function: Callable[..., Result]
    calls: Mapping[str, Mapping[str, Any]]
    shared: Shared = field(default_factory=dict)
    each: Callable[[str, Result], None] | None = None
    folders: Mapping[str, Path] | None = None
    owned: Sequence[str] = ()


RunJobs = Callable[[Jobs], list[Result]]
"""Has jobs done; returns what each returned, in order, whoever was done first."""


class InTurn:
    """Has jobs done here, one after the other (`RunJobs`). Nothing of them is kept.

    Parameters
    ----------
    progress
        Given to functions that have such an argument, too: elsewhere they are silent.
    """

    def __init__(self, progress: Progress = silent) -> None:
        self._progress = progress

    def __call__(self, jobs: Jobs) -> list[Result]:
        """See `RunJobs`.

        Raises
        ------
        Exception
            What a job raises.
        """
        given = {name: value for name, (_, value) in jobs.shared.items()}
        if "progress" in signature(jobs.function).parameters:
            given["progress"] = self._progress
        results: list[Result] = []
        if not jobs.calls:
            return results
        with under_way(self._progress, jobs.what, total=len(jobs.calls)) as at:
            for name, arguments in jobs.calls.items():
                place = {} if jobs.folders is None else {"folder": jobs.folders[name]}
                results.append(jobs.function(**arguments, **given, **place))
                if jobs.each is not None:
                    jobs.each(name, results[-1])
                at(len(results))
        return results
