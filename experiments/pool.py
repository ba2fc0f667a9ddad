"""Where jobs run and who looks on: what the scheduler asks of a pool and of a display, and the smallest of each."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from experiments.lease import LeaseHeld
from experiments.plan import StageJob

if TYPE_CHECKING:
    from experiments.launch import JobId, Outcome

Ending = Literal["done", "failed", "died", "timeout", "lost", "held", "preempted"]


@dataclass
class Ended:
    """How one attempt ended, as its pool saw it.

    Attributes:
        request: what was attempted.
        kind: ``done``; ``failed`` (FAILED.json tells); ``died`` (its process ended); ``timeout``; ``lost`` (nobody
            knows what became of it); ``held`` by somebody else; ``preempted`` (it saved where it is, to go on later).
        message: for people.
    """

    request: Path
    kind: Ending
    message: str = ""


def overdue(request: Path, limit_s: float) -> Ended:
    """An attempt that was ended because it took too long."""
    return Ended(request, "timeout", f"took longer than hydra.launcher.timeout_s={limit_s:g} s")


class Pool(Protocol):
    """Where jobs run."""

    slots: int

    def start(self, request: Path, size: int = 1) -> None:
        """Begin one request that takes ``size`` slots; called only while so many are free."""

    def wait(self, timeout_s: float) -> list[Ended]:
        """Attempts that ended, waiting at most so long for the first."""

    def working(self, request: Path) -> bool:
        """Whether a started request is being worked on, and not waiting in somebody's queue."""

    def stop(self) -> None:
        """Ask what still runs to save and end, and make it; finished stages stay, the others go on from there."""


class Watcher(Protocol):
    """Who looks on: a live display, plain lines, or nobody."""

    def begin(self, outcomes: Mapping[JobId, Outcome], jobs: Mapping[JobId, StageJob], slots: int) -> None: ...
    def started(self, job: StageJob) -> None: ...
    def again(self, job: StageJob, why: str) -> None: ...
    def ended(self, outcome: Outcome) -> None: ...
    def tick(self, running: Mapping[JobId, float]) -> None: ...
    def close(self) -> None: ...


class Nobody:
    """A watcher that does not look."""

    def begin(self, outcomes: Mapping[JobId, Outcome], jobs: Mapping[JobId, StageJob], slots: int) -> None:
        """Nothing."""

    def started(self, job: StageJob) -> None:
        """Nothing."""

    def again(self, job: StageJob, why: str) -> None:
        """Nothing."""

    def ended(self, outcome: Outcome) -> None:
        """Nothing."""

    def tick(self, running: Mapping[JobId, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class HerePool:
    """Runs jobs in this process, one after the other: for one arm, and for launchers that give us a process."""

    slots = 1

    def __init__(self) -> None:
        self._ended: list[Ended] = []

    def start(self, request: Path, size: int = 1) -> None:
        """Run the request to its end."""
        from experiments.job import run_stage
        from experiments.stop import StopFlag, stop_on_signals, was_asked

        flag = StopFlag()
        try:
            with stop_on_signals(flag, forward=True):  # the driver's own handler then ends the launch
                run_stage(request, stop=flag)
        except LeaseHeld as error:
            self._ended.append(Ended(request, "held", str(error)))
        except Exception as error:  # FAILED.json has the traceback, unless it was only asked to stop
            if was_asked(error, flag):
                self._ended.append(Ended(request, "preempted", str(error)))
                return
            self._ended.append(Ended(request, "failed", f"{type(error).__name__}: {error}"))
        else:
            self._ended.append(Ended(request, "done"))

    def wait(self, timeout_s: float) -> list[Ended]:
        """What ended since the last call."""
        if not self._ended:
            time.sleep(timeout_s)
        ended, self._ended = self._ended, []
        return ended

    def working(self, request: Path) -> bool:
        """Always: it has no queue."""
        return True

    def stop(self) -> None:
        """Nothing runs between two calls."""
