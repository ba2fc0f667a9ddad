"""From a graph of stage jobs to finished stages: each job starts as soon as what it needs is done, longest way first.

The scheduler knows nothing of processes: a :class:`Pool` runs one request at a time per slot (forked workers, see
``fork_pool.py``; this process, see :class:`HerePool`). What is finished in the store is never run again; a stage that
another launch works on is waited for; a failed job blocks only what needs it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from experiments.errors import LavitError
from experiments.lease import LeaseHeld, holder
from experiments.plan import StageJob
from experiments.store import DONE, Store

JobId = tuple[str, str]  # (stage, key)
Status = Literal["done", "ran", "failed", "blocked"]
POLL_S = 0.2


@dataclass
class Ended:
    """How one attempt ended, as its pool saw it: done, failed (FAILED.json tells), died, or held by somebody else."""

    request: Path
    kind: Literal["done", "failed", "died", "held"]
    message: str = ""


@dataclass
class Outcome:
    """What became of a job in this launch.

    Attributes:
        status: ``done`` before this launch, ``ran`` in it (or beside it, in another launch), ``failed``, or
            ``blocked`` because something that it needs failed.
        error: ``{"class", "message"}`` of the failure; of a blocked job, that of the job which blocks it.
        cause: the failed job, for failed and blocked ones.
        wall_s: seconds from start to end in this launch.
    """

    job: StageJob
    status: Status
    error: dict[str, Any] | None = None
    cause: JobId | None = None
    wall_s: float = 0.0


class Pool(Protocol):
    """Where jobs run."""

    slots: int

    def start(self, request: Path) -> None:
        """Begin one request; called only while fewer than ``slots`` are running."""

    def wait(self, timeout_s: float) -> list[Ended]:
        """Attempts that ended, waiting at most so long for the first."""

    def stop(self) -> None:
        """End what still runs, at once; finished stages stay, interrupted ones go on from their last checkpoint."""


class Watcher(Protocol):
    """Who looks on: a live display, plain lines, or nobody."""

    def begin(self, outcomes: Mapping[JobId, Outcome], jobs: Mapping[JobId, StageJob], slots: int) -> None: ...
    def started(self, job: StageJob) -> None: ...
    def ended(self, outcome: Outcome) -> None: ...
    def tick(self, running: Mapping[JobId, float]) -> None: ...
    def close(self) -> None: ...


class Nobody:
    """A watcher that does not look."""

    def begin(self, outcomes: Mapping[JobId, Outcome], jobs: Mapping[JobId, StageJob], slots: int) -> None:
        """Nothing."""

    def started(self, job: StageJob) -> None:
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

    def start(self, request: Path) -> None:
        """Run the request to its end."""
        from experiments.job import run_stage

        try:
            run_stage(request)
        except LeaseHeld as error:
            self._ended.append(Ended(request, "held", str(error)))
        except Exception as error:  # FAILED.json has the traceback
            self._ended.append(Ended(request, "failed", f"{type(error).__name__}: {error}"))
        else:
            self._ended.append(Ended(request, "done"))

    def wait(self, timeout_s: float) -> list[Ended]:
        """What ended since the last call."""
        if not self._ended:
            time.sleep(timeout_s)
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None:
        """Nothing runs between two calls."""


def critical_path(jobs: Mapping[JobId, StageJob]) -> dict[JobId, float]:
    """Seconds from the start of each job to the end of the longest chain that begins with it.

    Jobs of unknown length count as one second, so that without estimates the longest chain in jobs goes first.
    """
    users: dict[JobId, list[JobId]] = {identity: [] for identity in jobs}
    for identity, job in jobs.items():
        for need in job.needs.items():
            if need in users:
                users[need].append(identity)
    length: dict[JobId, float] = {}
    for identity in reversed(_in_order(jobs)):
        own = jobs[identity].seconds or 1.0
        length[identity] = own + max((length[user] for user in users[identity]), default=0.0)
    return length


def _in_order(jobs: Mapping[JobId, StageJob]) -> list[JobId]:
    """Jobs with what they need before them; the plan's order already has this, other callers' may not."""
    ordered: dict[JobId, None] = {}
    for first in jobs:
        stack = [(first, False)]
        while stack:
            identity, ready = stack.pop()
            if identity in ordered:
                continue
            if ready:
                ordered[identity] = None
                continue
            stack.append((identity, True))
            stack.extend((need, False) for need in jobs[identity].needs.items() if need in jobs)
    return list(ordered)


def check_store(jobs: Iterable[StageJob], store: Store) -> list[str]:
    """Withdraw the DONE.json of stages whose files no longer match it, so that they are made again; says which."""
    problems = []
    for job in jobs:
        if (store.folder(job.stage, job.key) / DONE).exists() and (found := store.verify(job.stage, job.key)):
            problems += found
            (store.folder(job.stage, job.key) / DONE).unlink(missing_ok=True)
    return problems


@dataclass
class _State:
    jobs: Mapping[JobId, StageJob]
    store: Store
    finished: set[JobId] = field(default_factory=set)  # of the graph, and needs that lie outside it
    outcomes: dict[JobId, Outcome] = field(default_factory=dict)
    waiting: set[JobId] = field(default_factory=set)
    running: dict[JobId, float] = field(default_factory=dict)  # since when
    elsewhere: set[JobId] = field(default_factory=set)  # another launch holds the lease

    def ready(self) -> list[JobId]:
        """Jobs whose needs are all finished."""
        return [job for job in self.waiting if self.finished.issuperset(self.jobs[job].needs.items())]


def run_graph(
    jobs: Mapping[JobId, StageJob], store: Store, pool: Pool, watcher: Watcher | None = None
) -> dict[JobId, Outcome]:
    """Run what is missing of a graph and say what became of each job.

    Args:
        jobs: the graph; every need of a job must be in it or finished in the store.
        store: where results go.
        pool: where jobs run.
        watcher: told of every start and end, and every :data:`POLL_S` in between.

    Raises:
        LavitError: a need is neither in the graph nor in the store.
        KeyboardInterrupt: Ctrl-C, after the pool was stopped.
    """
    watcher = watcher or Nobody()
    state = _State(jobs, store)
    for identity in _in_order(jobs):
        job = jobs[identity]
        for need in job.needs.items():
            if need not in jobs:
                if not store.is_done(*need):
                    raise LavitError(
                        f"{job.stage}/{job.key} needs {'/'.join(need)}, which is neither planned nor done."
                    )
                state.finished.add(need)
        if store.is_done(*identity):
            state.outcomes[identity] = Outcome(job, "done")
            state.finished.add(identity)
        else:
            state.waiting.add(identity)
    length = critical_path(jobs)
    watcher.begin(state.outcomes, jobs, pool.slots)
    try:
        while state.waiting or state.running or state.elsewhere:
            _fill(state, pool, watcher, length)
            for ended in pool.wait(POLL_S):
                _settle(state, ended, watcher)
            _look_elsewhere(state, watcher)
            watcher.tick(dict(state.running))
    except BaseException:
        pool.stop()
        raise
    finally:
        watcher.close()
    return {identity: state.outcomes[identity] for identity in jobs}


def _fill(state: _State, pool: Pool, watcher: Watcher, length: Mapping[JobId, float]) -> None:
    order = sorted(state.ready(), key=lambda identity: (-length[identity], identity))
    for identity in order[: max(0, pool.slots - len(state.running))]:
        job = state.jobs[identity]
        request = state.store.write_request(job.request())
        state.waiting.discard(identity)
        state.running[identity] = time.monotonic()
        watcher.started(job)
        pool.start(request)


def _settle(state: _State, ended: Ended, watcher: Watcher) -> None:
    identity = (ended.request.parent.parent.name, ended.request.parent.name)
    job = state.jobs[identity]
    since = state.running.pop(identity)
    store = state.store
    if store.is_done(*identity):
        _end(state, Outcome(job, "ran", wall_s=time.monotonic() - since), watcher)
    elif ended.kind == "held":
        state.elsewhere.add(identity)
    else:
        if ended.kind == "died" or store.failure(*identity) is None:
            message = ended.message or "the job ended well, but its folder is not a finished stage"
            store.fail(*identity, "Died" if ended.kind == "died" else "Lost", message)
        error = store.failure(*identity)
        _end(state, Outcome(job, "failed", error, identity, time.monotonic() - since), watcher)
        _block(state, identity, error, watcher)


def _end(state: _State, outcome: Outcome, watcher: Watcher) -> None:
    identity = (outcome.job.stage, outcome.job.key)
    state.outcomes[identity] = outcome
    if outcome.status == "ran":
        state.finished.add(identity)
    watcher.ended(outcome)


def _block(state: _State, cause: JobId, error: dict[str, Any] | None, watcher: Watcher) -> None:
    """Mark everything that needs a failed job, however far down."""
    lost = {cause}
    for identity in _in_order(state.jobs):
        if identity in state.waiting and lost & set(state.jobs[identity].needs.items()):
            lost.add(identity)
            state.waiting.discard(identity)
            _end(state, Outcome(state.jobs[identity], "blocked", error, cause), watcher)


def _look_elsewhere(state: _State, watcher: Watcher) -> None:
    """A stage of another launch: take its result, or take over when its holder is gone."""
    for identity in sorted(state.elsewhere):
        if state.store.is_done(*identity):
            state.elsewhere.discard(identity)
            _end(state, Outcome(state.jobs[identity], "ran"), watcher)
        elif holder(state.store.folder(*identity)) is None:
            state.elsewhere.discard(identity)
            state.waiting.add(identity)


def waves(jobs: Mapping[JobId, StageJob], stages: Sequence[str]) -> list[list[StageJob]]:
    """The same graph as one batch per stage, for launchers that know batches only."""
    batches = [[job for job in jobs.values() if job.stage == stage] for stage in stages]
    return [batch for batch in batches if batch]
