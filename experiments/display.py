"""What a person sees while a study runs: one live bar with the time left and a line per job, or plain lines.

On a terminal, rich redraws a bar over all jobs and one line for each that runs, with its step and its latest numbers
(from the job's ``progress.json``). Anywhere else (a log, CI) a line is printed when a job starts or ends, and a summary
every :data:`SUMMARY_S`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from experiments.launch import JobId, Outcome, critical_path
from experiments.plan import StageJob
from experiments.pool import Watcher
from experiments.store import PROGRESS, Store

if TYPE_CHECKING:
    from rich.console import RenderableType

SUMMARY_S = 20.0


def clock(seconds: float | None) -> str:
    """``45 s``, ``3 min 20 s``, ``2 h 05 min``; ``?`` where it is unknown."""
    if seconds is None:
        return "?"
    whole = max(0, round(seconds))
    if whole < 90:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Tally:
    """How much of a launch is behind and how much is left, in jobs and in seconds.

    Seconds left come from the plan's estimates, corrected by how long finished jobs really took, shared out over the
    slots, and never less than the longest chain of what is left.
    """

    def __init__(
        self, outcomes: Mapping[JobId, Outcome], jobs: Mapping[JobId, StageJob], slots: int, store: Store
    ) -> None:
        self.jobs = jobs
        self.slots = slots
        self.store = store
        self.start = time.monotonic()
        self.skipped = len(outcomes)
        self.ended: dict[JobId, Outcome] = {}
        self.left = {identity: job for identity, job in jobs.items() if identity not in outcomes}
        self.total = len(self.left)
        self._ran: dict[str, list[float]] = {}

    def end(self, outcome: Outcome) -> None:
        """Count an outcome."""
        identity = (outcome.job.stage, outcome.job.key)
        self.ended[identity] = outcome
        self.left.pop(identity, None)
        if outcome.status == "ran":
            self._ran.setdefault(outcome.job.stage, []).append(outcome.wall_s)

    @property
    def failed(self) -> int:
        """Jobs that failed or cannot run for it."""
        return sum(outcome.status in ("failed", "blocked") for outcome in self.ended.values())

    def expected(self, identity: JobId) -> float | None:
        """Seconds that a job takes in all: as its siblings in this launch did, else as the plan says."""
        job = self.jobs[identity]
        if ran := self._ran.get(job.stage):
            return sum(ran) / len(ran)
        return job.seconds

    def seconds_left(self, running: Mapping[JobId, float]) -> float | None:
        """Seconds to the end; None while nothing is known."""
        rest: dict[JobId, float] = {}
        now = time.monotonic()
        for identity in self.left:
            whole = self.expected(identity)
            if identity in running:
                whole = self._by_progress(identity, now - running[identity], whole)
            if whole is None:
                return None
            spent = now - running[identity] if identity in running else 0.0
            rest[identity] = max(0.0, whole - spent)
        if not rest:
            return 0.0
        chains = critical_path({i: _with_seconds(self.jobs[i], seconds) for i, seconds in rest.items()})
        return max(sum(rest.values()) / self.slots, max(chains.values()))

    def _by_progress(self, identity: JobId, spent: float, whole: float | None) -> float | None:
        """A job that has told its step tells its own length: at half its steps, twice the time spent."""
        body = self.store.read(*identity, PROGRESS)
        if not body or not body.get("total") or body["step"] < 0.1 * body["total"]:
            return whole
        return float(spent * body["total"] / body["step"])


def _with_seconds(job: StageJob, seconds: float) -> StageJob:
    from dataclasses import replace

    return replace(job, seconds=max(seconds, 1e-3))


def label(job: StageJob, width: int = 46) -> str:
    """``pretrain · llm=frozen · seed 2``: a job in the words of the runs that use it."""
    arms = job.arms
    who = arms[0] if len(arms) == 1 else f"{len(arms)} arms" if arms else job.key[:8]
    text = f"{job.stage} · {who}"
    if seeds := sorted({seed for _, seed in job.runs}):
        text += f" · seed {seeds[0]}" if len(seeds) == 1 else f" · {len(seeds)} seeds"
    return text if len(text) <= width else text[: width - 1] + "…"


class Lines:
    """Plain lines, for anything that is not a terminal."""

    def __init__(self, store: Store, stream: IO[str] | None = None) -> None:
        self._store = store
        self._stream = stream or sys.stdout
        self._last = time.monotonic()
        self._tally: Tally | None = None

    def say(self, text: str) -> None:
        """One line, at once."""
        print(text, file=self._stream, flush=True)

    def begin(self, outcomes: Mapping[JobId, Outcome], jobs: Mapping[JobId, StageJob], slots: int) -> None:
        """Say how much there is to do."""
        self._tally = Tally(outcomes, jobs, slots, self._store)
        left = clock(self._tally.seconds_left({}))
        if self._tally.total:
            self.say(
                f"{self._tally.total} of {len(jobs)} stage jobs to run, {slots} at a time"
                + (f", about {left}" if left != "?" else "")
            )
        else:
            self.say(f"all {len(jobs)} stage jobs are done: nothing to run")

    def started(self, job: StageJob) -> None:
        """Say what starts."""
        self.say(f"start   {label(job, 90)}")

    def again(self, job: StageJob, why: str) -> None:
        """Say what will be started again."""
        self.say(f"again   {label(job, 90)}  {first_line(why)}")

    def ended(self, outcome: Outcome) -> None:
        """Say what ended and how."""
        assert self._tally is not None
        self._tally.end(outcome)
        count = f"[{len(self._tally.ended)}/{self._tally.total}]"
        name = label(outcome.job, 90)
        if outcome.status == "ran":
            self.say(f"done    {name}  {clock(outcome.wall_s)}  {count}")
        elif outcome.status == "failed" and outcome.error:
            self.say(f"FAILED  {name}  {outcome.error['class']}: {first_line(outcome.error['message'])}  {count}")
        elif outcome.stopped:
            self.say(f"stopped {name}  {count}")
        elif outcome.cause:
            self.say(f"blocked {name}  needs {outcome.cause[0]}/{outcome.cause[1]}  {count}")

    def tick(self, running: Mapping[JobId, float]) -> None:
        """A summary every so often."""
        if time.monotonic() - self._last < SUMMARY_S or self._tally is None:
            return
        self._last = time.monotonic()
        parts = []
        for identity in running:
            body = self._store.read(*identity, PROGRESS) or {}
            step = f" {body['step']}/{body['total']}" if body.get("total") else ""
            parts.append(label(self._tally.jobs[identity], 40) + step)
        left = clock(self._tally.seconds_left(running))
        failed = f", {self._tally.failed} failed" if self._tally.failed else ""
        self.say(f"        {len(self._tally.ended)}/{self._tally.total} jobs{failed}, {left} left; {'; '.join(parts)}")

    def close(self) -> None:
        """Nothing to close."""


class Live:
    """A live display by rich: the study's bar, and a line for each running job."""

    def __init__(self, store: Store, title: str) -> None:
        self._store = store
        self._title = title
        self._tally: Tally | None = None
        self._running: dict[JobId, float] = {}
        self._live: Any = None

    def begin(self, outcomes: Mapping[JobId, Outcome], jobs: Mapping[JobId, StageJob], slots: int) -> None:
        """Open the display, unless there is nothing to run."""
        from rich.live import Live as RichLive

        self._tally = Tally(outcomes, jobs, slots, self._store)
        if not self._tally.total:
            print(f"all {len(jobs)} stage jobs are done: nothing to run")
            return
        self._live = RichLive(get_renderable=self._draw, refresh_per_second=4, transient=True)
        self._live.start()

    def started(self, job: StageJob) -> None:
        """Its line appears."""
        self._running[(job.stage, job.key)] = time.monotonic()

    def again(self, job: StageJob, why: str) -> None:
        """Its line goes until it starts again."""
        self._running.pop((job.stage, job.key), None)
        if self._live is not None:
            line = f"again  {label(job, 90)}: {first_line(why)}"
            self._live.console.print(line, style="yellow", highlight=False, markup=False)

    def ended(self, outcome: Outcome) -> None:
        """Its line goes; a failure leaves one above the display."""
        assert self._tally is not None
        self._tally.end(outcome)
        self._running.pop((outcome.job.stage, outcome.job.key), None)
        if outcome.status == "failed" and outcome.error and self._live is not None:
            name = label(outcome.job, 90)
            line = f"FAILED {name}: {outcome.error['class']}: {first_line(outcome.error['message'])}"
            self._live.console.print(line, style="red", highlight=False, markup=False)

    def tick(self, running: Mapping[JobId, float]) -> None:
        """Note what runs; rich redraws by itself."""
        self._running = dict(running)

    def close(self) -> None:
        """Take the display away and leave one line."""
        if self._live is None or self._tally is None:
            return
        self._live.stop()
        self._live = None
        ran = sum(outcome.status == "ran" for outcome in self._tally.ended.values())
        print(
            f"{self._title}: {ran} of {self._tally.total} stage jobs in {clock(time.monotonic() - self._tally.start)}"
        )

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally = self._tally
        assert tally is not None
        running = dict(self._running)
        head = Table.grid(padding=(0, 1))
        failed = Text(f"{tally.failed} failed", style="red") if tally.failed else Text("")
        head.add_row(
            Text(self._title, style="bold"),
            ProgressBar(total=max(1, tally.total), completed=len(tally.ended), width=30),
            f"{len(tally.ended)}/{tally.total} jobs",
            f"{clock(time.monotonic() - tally.start)} gone, {clock(tally.seconds_left(running))} left",
            failed,
        )
        lines = Table.grid(padding=(0, 1))
        for identity, since in running.items():
            body = self._store.read(*identity, PROGRESS) or {}
            step, total = body.get("step", 0), body.get("total", 0)
            numbers = "  ".join(f"{name} {value:.4g}" for name, value in list(body.get("metrics", {}).items())[:3])
            lines.add_row(
                Text("  " + label(tally.jobs[identity])),
                ProgressBar(total=total or None, completed=step, width=14, pulse=not total),
                f"{step}/{total}" if total else "",
                clock(time.monotonic() - since),
                Text(numbers, style="dim"),
            )
        return Group(head, lines)


def first_line(text: str) -> str:
    """The first line of a message, cut to what fits beside a name."""
    line = (text.strip().splitlines() or [""])[0]
    return line if len(line) <= 160 else line[:159] + "…"


def watcher(store: Store, title: str, stream: IO[str] | None = None) -> Watcher:
    """The display that fits where the output goes."""
    stream = stream or sys.stdout
    return Live(store, title) if stream.isatty() else Lines(store, stream)
