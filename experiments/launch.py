"""From a graph of stage jobs to finished stages: each job starts as soon as what it needs is done, longest way first.

The scheduler knows nothing of processes: a :class:`experiments.pool.Pool` runs the requests. What is finished in the
store is never run again; a stage that another launch works on is waited for; a failed job blocks only what needs it,
and is started again where the table in ``failures.py`` says so.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from experiments.errors import LavitError
from experiments.failures import DIED, LOST, TIMED_OUT, classify
from experiments.lease import holder
from experiments.plan import StageJob
from experiments.pool import Ended, Nobody, Pool, Watcher
from experiments.pool import HerePool as HerePool
from experiments.store import DONE, REQUEST, Store

JobId = tuple[str, str]  # (stage, key)
Status = Literal["done", "ran", "failed", "blocked"]
POLL_S = 0.2
_CLASS = {"died": DIED, "timeout": TIMED_OUT}


@dataclass
class Outcome:
    """What became of a job in this launch.

    Attributes:
        status: ``done`` before this launch, ``ran`` in it (or beside it, in another launch), ``failed``, or
            ``blocked`` because something that it needs failed.
        error: ``{"class", "message"}`` of the failure; of a blocked job, that of the job which blocks it.
        cause: the failed job, for failed and blocked ones.
        wall_s: seconds from start to end in this launch.
        stopped: blocked not by what it needs but by an error that would have struck every arm.
    """

    job: StageJob
    status: Status
    error: dict[str, Any] | None = None
    cause: JobId | None = None
    wall_s: float = 0.0
    stopped: bool = False


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
    alone: set[JobId] = field(default_factory=set)  # to be started again with no neighbour
    again: Counter[tuple[JobId, str]] = field(default_factory=Counter)  # (job, kind of failure) -> times started again
    worked: set[str] = field(default_factory=set)  # stages of which a job is finished
    bugs: dict[tuple[str, ...], list[JobId]] = field(default_factory=dict)  # same error -> jobs that it struck

    def ready(self) -> list[JobId]:
        """Jobs whose needs are all finished."""
        return [job for job in self.waiting if self.finished.issuperset(self.jobs[job].needs.items())]


def run_graph(
    jobs: Mapping[JobId, StageJob],
    store: Store,
    pool: Pool,
    watcher: Watcher | None = None,
    retry: Collection[str] | None = None,
) -> dict[JobId, Outcome]:
    """Run what is missing of a graph and say what became of each job.

    Args:
        jobs: the graph; every need of a job must be in it or finished in the store.
        store: where results go.
        pool: where jobs run.
        watcher: told of every start and end, and every :data:`POLL_S` in between.
        retry: kinds of failure of an earlier launch that are tried again; None for all.

    Raises:
        LavitError: a need is neither in the graph nor in the store, or a job is larger than the pool.
        KeyboardInterrupt: Ctrl-C or a signal to stop, after the pool was stopped.
    """
    watcher = watcher or Nobody()
    state = _begin(jobs, store, pool)
    length = critical_path(jobs)
    watcher.begin(state.outcomes, jobs, pool.slots)
    if retry is not None:
        _mark_failed(state, retry, watcher)
    try:
        while state.waiting or state.running or state.elsewhere:
            _fill(state, pool, watcher, length)
            for ended in pool.wait(POLL_S):
                _settle(state, ended, watcher)
            _look_elsewhere(state, watcher)
            watcher.tick({job: since for job, since in state.running.items() if pool.working(_request(state, job))})
    except BaseException:
        pool.stop()
        raise
    finally:
        watcher.close()
    return {identity: state.outcomes[identity] for identity in jobs}


def _begin(jobs: Mapping[JobId, StageJob], store: Store, pool: Pool) -> _State:
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
            state.worked.add(job.stage)
        else:
            state.waiting.add(identity)
            devices = getattr(pool, "devices", ())
            if devices and job.devices > pool.slots:
                raise LavitError(
                    f"{job.stage}/{job.key} needs {job.devices} devices, but there are {pool.slots}.",
                    f"devices here: {', '.join(devices)} (hydra.launcher.devices, hydra.launcher.n_jobs)",
                )
    return state


def _mark_failed(state: _State, retry: Collection[str], watcher: Watcher) -> None:
    """Leave alone what failed in an earlier launch in a way that is not to be tried again."""
    for identity in _in_order(state.jobs):
        error = state.store.failure(*identity) if identity in state.waiting else None
        if error is not None and classify(error).name not in retry and holder(state.store.folder(*identity)) is None:
            state.waiting.discard(identity)
            _end(state, Outcome(state.jobs[identity], "failed", error, identity), watcher)
            _block(state, identity, error, watcher)


def _request(state: _State, identity: JobId) -> Path:
    return state.store.folder(*identity) / REQUEST


def _fill(state: _State, pool: Pool, watcher: Watcher, length: Mapping[JobId, float]) -> None:
    """Start what fits; a job that ran out of memory waits until nothing runs, and has no neighbour then."""
    if state.alone & state.running.keys():
        return
    order = sorted(state.ready(), key=lambda identity: (-length[identity], identity))
    together = [identity for identity in order if identity not in state.alone]
    if order and not together and not state.running:
        _start(state, pool, watcher, order[0])
        return
    free = pool.slots - sum(_size(state, pool, identity) for identity in state.running)
    for identity in together:
        size = _size(state, pool, identity)
        if size > free:
            break  # nobody overtakes: a large job would else wait for ever
        _start(state, pool, watcher, identity)
        free -= size


def _size(state: _State, pool: Pool, identity: JobId) -> int:
    return min(state.jobs[identity].devices, pool.slots)


def _start(state: _State, pool: Pool, watcher: Watcher, identity: JobId) -> None:
    job = state.jobs[identity]
    request = state.store.write_request(job.request())
    state.waiting.discard(identity)
    state.running[identity] = time.monotonic()
    watcher.started(job)
    pool.start(request, _size(state, pool, identity))


def _settle(state: _State, ended: Ended, watcher: Watcher) -> None:
    identity = (ended.request.parent.parent.name, ended.request.parent.name)
    job = state.jobs[identity]
    since = state.running.pop(identity)
    store = state.store
    if store.is_done(*identity):
        _end(state, Outcome(job, "ran", wall_s=time.monotonic() - since), watcher)
    elif ended.kind == "held":
        state.elsewhere.add(identity)
    elif ended.kind == "preempted":
        state.waiting.add(identity)
        watcher.again(job, f"preempted: {ended.message}")
    else:
        if ended.kind != "failed" or store.failure(*identity) is None:
            message = ended.message or "the job ended well, but its folder is not a finished stage"
            store.fail(*identity, _CLASS.get(ended.kind, LOST), message)
        error = store.failure(*identity)
        if not _tried_again(state, identity, error, watcher):
            _end(state, Outcome(job, "failed", error, identity, time.monotonic() - since), watcher)
            _block(state, identity, error, watcher)
            _stop_where_systematic(state, identity, error, watcher)


def _tried_again(state: _State, identity: JobId, error: dict[str, Any] | None, watcher: Watcher) -> bool:
    """Start a failed job again where its kind of failure has tries left."""
    failure = classify(error)
    if state.again[identity, failure.name] >= failure.retries:
        return False
    state.again[identity, failure.name] += 1
    state.waiting.add(identity)
    if failure.alone:
        state.alone.add(identity)
    watcher.again(state.jobs[identity], f"{failure.name}: {(error or {}).get('message', '')}")
    return True


def _stop_where_systematic(state: _State, identity: JobId, error: dict[str, Any] | None, watcher: Watcher) -> None:
    """Start nothing more once one error, at one place, struck the first two arms of a stage that never worked."""
    stage, where = identity[0], str((error or {}).get("where") or "")
    if classify(error).name != "bug" or not where or stage in state.worked:
        return
    struck = state.bugs.setdefault((stage, str((error or {}).get("class")), where), [])
    struck.append(identity)
    arms = {arm for job in struck for arm in state.jobs[job].arms or [job[1]]}
    if len(struck) < 2 or len(arms) < 2:
        return
    for waiting in _in_order(state.jobs):
        if waiting in state.waiting:
            state.waiting.discard(waiting)
            _end(state, Outcome(state.jobs[waiting], "blocked", error, identity, stopped=True), watcher)


def _end(state: _State, outcome: Outcome, watcher: Watcher) -> None:
    identity = (outcome.job.stage, outcome.job.key)
    state.outcomes[identity] = outcome
    if outcome.status == "ran":
        state.finished.add(identity)
        state.worked.add(outcome.job.stage)
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
