"""How far an evaluation, or pricing, is: a bar with rate and time left on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any

from experiments.display import SUMMARY_S, clock


class EvalProgress:
    """Called as ``progress(done, in all, metrics so far)``; to be used as a context.

    The first call tells where an earlier attempt had stopped: rate and time left count what this one does.

    Args:
        title: what is under way.
        unit: what is counted.
    """

    def __init__(self, title: str, unit: str = "batches"):
        self.title, self.unit = title, unit
        self._bar: Any = None
        self._task: Any = None
        self._start: tuple[float, int] | None = None
        self._said = time.monotonic()
        self._ended = False

    def __enter__(self) -> EvalProgress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=None, state="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int, metrics: Mapping[str, float] = MappingProxyType({})) -> None:
        """Tell how far it is."""
        now = time.monotonic()
        if self._start is None:
            self._start = (now, done)
        spent, new = now - self._start[0], done - self._start[1]
        state = f"{done} of {total} {self.unit}"
        if new > 0 and spent > 0:
            state += f", {new / spent:.2f} a second, {clock(spent / new * (total - done))} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, state=state)
        elif now - self._said > SUMMARY_S or (done == total and not self._ended):
            self._said, self._ended = now, done == total
            print(f"{self.title}: {state}", file=sys.stderr, flush=True)
