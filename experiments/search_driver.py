"""Runs a search: asks, trains, judges, round by round, until every arm has had its trials.

A round is a batch of trials of every arm; they are trained side by side as the jobs of one plan, and judged in the
order of their numbers, so that what is tried next depends on no timing. A training that diverges is a result (the
worst); one that fails for another reason is not: its arm stops there, and the next launch tries it again.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

from experiments.driver import Launch, failure_text, runs_override
from experiments.failures import classify
from experiments.launch import JobId, Outcome
from experiments.objective import read_objective
from experiments.plan import Plan, Run
from experiments.pruning import falls_behind, watched
from experiments.sampling import Sampling, open_storage
from experiments.search import Search, SearchArm
from experiments.search_space import write_values
from experiments.store import Store
from experiments.trials import ArmTrials, Trial, finite, locked, write_trials
from experiments.tuned import write_tuned

#: How a stage says that its numbers left the real ones.
_DIVERGED = re.compile(r"\bnan\b|\binf(inity)?\b|not (a number|finite)|non-?finite|diverge", re.IGNORECASE)

Batch = list[tuple[SearchArm, Trial]]


def run_search(plan: Plan, run: Callable[[Plan], Launch]) -> Launch:
    """Run what is missing of a search.

    Args:
        plan: what the planner made of the study.
        run: runs a plan's missing stages, on whatever pool or launcher.

    Returns:
        The launch of all trials; its failures are those of trials that are to be tried again.
    """
    search = plan.search
    assert search is not None
    store = Store(plan.runs_dir)
    outcomes: dict[JobId, Outcome] = {}
    stuck: set[str] = set()
    storage = cache(lambda: open_storage(search.tune, search.folder))
    while batch := _ask(search, stuck, storage):
        print(_progress(search, batch), flush=True)
        todo = search.plan(batch)
        with _pruned(search, batch, todo, store):
            launch = run(todo)
        outcomes |= launch.outcomes
        stuck |= _judge(search, batch, launch, store, storage)
    whole = search.plan(search.tried())
    ends = {
        identity: outcomes.get(identity)
        or (
            Outcome(job, "done")
            if store.is_done(*identity)
            else Outcome(job, "blocked", store.failure(*identity), identity)
        )
        for identity, job in whole.jobs.items()
    }
    found = Launch.of(whole, ends)
    again = {search.trial_name(own, trial) for own in search.arms for trial in own.record.waiting}
    found.failures = [(run, cause) for run, cause in found.failures if run.arm in again]
    return found


def finish_search(launch: Launch) -> bool:
    """Write down what the search found, bring MLflow up to date, and print the table of best values.

    Returns:
        Whether every arm has had its trials.
    """
    from experiments.collect import collect, write_runs
    from experiments.tracking import sync_or_say

    plan = launch.plan
    search = plan.search
    assert search is not None
    folder = collect(plan)
    synced = sync_or_say(plan)
    if synced is not None and synced.added:
        write_runs(plan)
    path = write_tuned(search)
    print(f"\n{table(search)}")
    print(f"\ntrials     {folder / 'trials.json'}\ntuned      {path}")
    if synced is not None:
        print(f"MLflow     {shlex.join(['lavit', 'ui', f'study={plan.study.name}', *runs_override(plan)])}")
    if text := failure_text(launch):
        print(f"\n{text}", flush=True)
    return all(len(own.record.judged) >= search.tune.per_arm for own in search.arms)


def table(search: Search) -> str:
    """The best values of each arm, beside what its default values came to."""
    objective = search.tune.objective
    rows = [("arm", "trials", "best", objective.name, "default", "")]
    notes = []
    for own in search.arms:
        best, default = own.record.best(objective), own.record.default
        ended = [trial for trial in own.record.judged if trial.state != "done"]
        notes += [f"{own.arm.name} · {write_values(trial.values)}: {trial.state}: {trial.reason}" for trial in ended]
        if best is None:
            rows.append((own.arm.name, f"{len(own.record.judged)} of {search.tune.per_arm}", "none", "-", "", ""))
            continue
        edge = [p.key for p in search.tune.space if p.at_edge(best.values[p.key])]
        if edge:
            notes.append(f"{own.arm.name}: the best {', '.join(edge)} lies at the end of its range: widen the space")
        untuned = "-" if default is None or default.objective is None else f"{default.objective:.4f}"
        rows.append(
            (
                own.arm.name,
                f"{len(own.record.judged)} of {search.tune.per_arm}",
                write_values(best.values),
                f"{best.objective:.4f}",
                write_values(own.default),
                untuned,
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *notes])


def _ask(search: Search, stuck: set[str], storage: Callable[[], Any]) -> Batch:
    """The next trials of every arm: those that wait since an earlier launch, else new ones."""
    batch: Batch = []
    with locked(search.folder):
        search.refresh()
        for own in search.arms:
            if own.record.arm in stuck:
                continue
            if not own.record.waiting and len(own.record.trials) < search.tune.per_arm:
                sampling = _sampling(search, own, storage())  # may find trials that a crash kept out of the file
                if not own.record.waiting:
                    sampling.ask(search.tune.at_once(len(own.record.trials)))
            batch += [(own, trial) for trial in own.record.waiting]
        if batch:
            _write(search)
    return batch


def _judge(search: Search, batch: Batch, launch: Launch, store: Store, storage: Callable[[], Any]) -> set[str]:
    """Read what the trials came to, tell the samplers, and return the arms that cannot go on."""
    stuck: set[str] = set()
    errors = {
        (run.arm, run.seed): cause.error or {}
        for run, cause in launch.failures
        if run.stage_keys.get(cause.job.stage) == cause.job.key  # its own, not that of an arm that stopped the round
    }
    named = [(own.record.arm, trial.number, search.trial_name(own, trial)) for own, trial in batch]
    with locked(search.folder):
        search.refresh()
        records = {own.record.arm: own for own in search.arms}
        samplings: dict[str, Sampling] = {}
        for arm, number, name in named:
            own = records[arm]
            trial = own.record.trials[number]
            if trial.judged:  # by another launch of the same search
                continue
            runs = [run for run in launch.plan.runs if run.arm == name]
            _settle(search, own.record, trial, runs, errors, store)
            if not trial.judged:
                stuck.add(arm)
                continue
            samplings[arm] = samplings.get(arm) or _sampling(search, own, storage())
            samplings[arm].tell(trial)
        _write(search)
    return stuck


def _pruned(search: Search, batch: Batch, plan: Plan, store: Store) -> AbstractContextManager[None]:
    """Ends trainings that fall behind while a round runs, where the study asks for it."""
    if search.tune.pruner == "none":
        return nullcontext()
    stage = search.tune.objective.stage
    keys: dict[str, dict[str, str]] = {}
    for run in plan.runs:
        keys.setdefault(run.arm, {})[str(run.seed)] = run.stage_keys[stage]
    watch = [(own.record, trial, keys[search.trial_name(own, trial)]) for own, trial in batch]
    return watched(search.tune.objective, store, watch)


def _settle(
    search: Search,
    record: ArmTrials,
    trial: Trial,
    runs: Sequence[Run],
    errors: Mapping[tuple[str, int], dict[str, Any]],
    store: Store,
) -> None:
    """Give a trial its state: from the numbers of all its seeds, or from how one of them failed."""
    stage = search.tune.objective.stage
    for run in runs:
        trial.keys[str(run.seed)] = run.stage_keys[stage]
        error = errors.get((run.arm, run.seed))
        if store.is_done(stage, run.stage_keys[stage]):
            trial.by_seed[str(run.seed)] = read_objective(search.tune.objective, store, run, search.specs)
        elif error is not None and diverged(error):
            trial.state, trial.reason = "diverged", f"seed {run.seed}: {error.get('message', '')}"
    if search.tune.pruner == "median" and trial.state == "asked":
        why = falls_behind(search.tune.objective, store, record, trial, trial.keys)
        if why is not None:
            trial.state, trial.reason = "pruned", why
    if trial.state == "asked" and len(trial.by_seed) == len(runs):
        mean = math.fsum(trial.by_seed.values()) / len(runs)
        if finite(mean):
            trial.state, trial.objective = "done", mean
        else:
            trial.state, trial.reason = "diverged", f"the objective is {mean}"
    trial.by_seed = {seed: value for seed, value in trial.by_seed.items() if finite(value)}


def diverged(error: Mapping[str, Any]) -> bool:
    """Whether a stage failed because its numbers left the real ones, which is the fault of the values tried."""
    return classify(error).name == "nan" or bool(_DIVERGED.search(f"{error.get('class')} {error.get('message')}"))


def _sampling(search: Search, own: SearchArm, storage: Any) -> Sampling:
    default = own.default if own.default_inside else None
    return Sampling(storage, search.study.name, own.record, search.tune, default)


def _write(search: Search) -> None:
    records: list[ArmTrials] = [own.record for own in search.arms]
    about = {
        "study": search.study.name,
        "objective": search.tune.objective.text,
        "direction": search.tune.objective.direction,
        "sampler": search.tune.sampler,
        "per_arm": search.tune.per_arm,
        "seeds": list(search.study.seeds),
        "space": {parameter.key: parameter.document() for parameter in search.tune.space},
    }
    write_trials(search.folder, records, about)


def _progress(search: Search, batch: Batch) -> str:
    judged = sum(len(own.record.judged) for own in search.arms)
    total = search.tune.per_arm * len(search.arms)
    names = ", ".join(search.trial_name(own, trial) for own, trial in batch[:4])
    more = f" and {len(batch) - 4} more" if len(batch) > 4 else ""
    return f"{search.study.name}: {judged} of {total} trials are judged; next: {names}{more}"
