"""Who notes what is told of progress."""

from contextlib import contextmanager

from hw.system.progress import Meter, Step, silent


class Notes(Meter):
    """Notes all that it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def __call__(self, line: str) -> None:
        self.told.append(line)

    @contextmanager
    def step(self, what, total, done, seconds):
        self.told.append((what, total, done, seconds))
        told = self.told

        class Noted(Step):
            def __call__(self, done: float, line: str = "") -> None:
                told.append(done)

            def doing(self, what: str) -> None:
                told.append(f"doing {what}")

        yield Noted(silent)
        told.append("end")
