"""Median stopping: a training is ended where its curve falls below what the arm's earlier trials had at that step.

The rule of Vizier (Golovin et al., 2017, section 3.2.1) on raw values. A trial is compared with trials of its arm that
were judged in earlier rounds, seed by seed, and with nothing that runs beside it; whether it falls behind is a function
of the curves alone, so that a search comes to the same however fast its jobs are noticed and ended. The untuned
default is never ended. A job is asked to end by a file in its folder, so that this works under every launcher.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from experiments.objective import Objective, curve
from experiments.store import PRUNE, Store
from experiments.trials import ArmTrials, Trial

MIN_TRIALS = 2  # before a median means anything
POLL_S = 0.3


def falls_behind(
    objective: Objective, store: Store, record: ArmTrials, trial: Trial, keys: Mapping[str, str]
) -> str | None:
    """Where a trial's curve falls below the median first, in words; None where it does not, or must not be ended.

    Args:
        objective: whose curve is followed.
        store: where the histories lie.
        record: the arm's trials.
        trial: the one in question.
        keys: seed -> key of its objective's stage.
    """
    if trial.origin == "default":
        return None
    earlier = [other for other in record.trials if other.state == "done" and other.number < trial.after]
    if len(earlier) < MIN_TRIALS:
        return None
    for seed, key in keys.items():
        past = [dict(curve(store.folder(objective.stage, t.keys[seed]), objective.name)) for t in earlier]
        last = max((step for points in past for step in points), default=0)
        for step, value in curve(store.folder(objective.stage, key), objective.name):
            values = [points[step] for points in past if step in points]
            if step >= last or len(values) < MIN_TRIALS:
                continue
            median = statistics.median(values)
            if objective.better(median, value):
                return f"stopped at step {step} (seed {seed}): {value:.4g}, the median of {len(values)} is {median:.4g}"
    return None


@contextmanager
def watched(objective: Objective, store: Store, batch: list[tuple[ArmTrials, Trial, dict[str, str]]]) -> Iterator[None]:
    """While this lasts, ask the jobs of trials that fall behind to end.

    Args:
        objective: whose curve is followed.
        store: where the histories lie.
        batch: trials that run, with their arm and the keys of their seeds.
    """
    over = threading.Event()

    def follow() -> None:
        asked: set[int] = set()
        while not over.wait(POLL_S):
            for index, (record, trial, keys) in enumerate(batch):
                if index in asked or (why := falls_behind(objective, store, record, trial, keys)) is None:
                    continue
                asked.add(index)
                for key in keys.values():
                    _ask_to_end(store.folder(objective.stage, key), why)

    thread = threading.Thread(target=follow, name="pruning", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _ask_to_end(folder: Path, why: str) -> None:
    if folder.is_dir():
        (folder / PRUNE).write_text(why, encoding="utf-8")
