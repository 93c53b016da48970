"""Many jobs that do not need each other, for code that does not care who does them: `sw.spread`
does, in processes of this machine or of a cluster.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

__all__ = ["Result", "RunJobs", "Shared"]

Result = dict[str, Any]
"""Of a job: plain JSON data, and bytes."""

Shared = Mapping[str, tuple[str, Any]]
"""What all jobs of a kind are given, by the name of the argument: (digest, value). It travels to
each process once; the digest stands for it where a job is told from others."""


class RunJobs(Protocol):
    """Has jobs done."""

    def __call__(
        self,
        what: str,
        function: Callable[..., Result],
        calls: Mapping[str, Mapping[str, Any]],
        shared: Shared | None = None,
        each: Callable[[str, Result], None] | None = None,
    ) -> list[Result]:
        """Call a function of a module once with each of these arguments.

        Parameters
        ----------
        what
            The jobs, for people.
        calls
            Arguments by the name of the job: plain JSON data.
        each
            Is told name and result of a job as it ends, unless it was done before.

        Returns
        -------
        list
            What each returned, in order, whoever was done first.
        """
        ...
