"""The trials of a search as a file, `<runs>/<study>/trials.json`: what was tried, what it came to, what runs now.

The file is written before a trial is trained and after it was judged, so that a search that was killed goes on where
it was; it is read without Optuna, so that planning stays light.
"""

from __future__ import annotations

import fcntl
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from experiments.errors import LavitError
from experiments.key import digest
from experiments.objective import Objective
from experiments.search_space import Values
from experiments.store import read_json, write_atomic
from experiments.tuning import Tune

TRIALS = "trials.json"

State = Literal["asked", "done", "diverged", "pruned"]


@dataclass
class Trial:
    """One point of the space in one arm.

    Attributes:
        number: its place in the arm's search, from 0.
        values: config key -> value.
        after: how many trials its arm had in earlier rounds: what it may be compared with while it runs.
        origin: default | spread | random | tpe | gp | grid | reused.
        state: asked until it is judged; diverged where a seed's training did not stay finite; pruned where it was ended
            early: it is kept, and never ranked.
        objective: mean over the seeds of a done trial.
        by_seed: seed -> objective.
        reason: why it diverged, or at which step it was ended.
        keys: seed -> key of the objective's stage.
    """

    number: int
    values: Values
    origin: str
    state: State = "asked"
    objective: float | None = None
    by_seed: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    after: int = 0

    @property
    def judged(self) -> bool:
        """Whether it counts as tried."""
        return self.state != "asked"


@dataclass
class ArmTrials:
    """The search of one arm: what is told apart by `identity` is another search."""

    arm: str
    levels: dict[str, str]
    context: str  # key of the objective's stage at fixed values: config, code, data and scale of all but what is tuned
    identity: str  # of context, space and seeds: the end of Optuna's study name
    trials: list[Trial] = field(default_factory=list)

    @property
    def judged(self) -> list[Trial]:
        """Trials that count, in order."""
        return [trial for trial in self.trials if trial.judged]

    @property
    def waiting(self) -> list[Trial]:
        """Trials that are asked and not judged, in order."""
        return [trial for trial in self.trials if not trial.judged]

    def best(self, objective: Objective) -> Trial | None:
        """The best of the trials that are done, the first of equals."""
        best: Trial | None = None
        for trial in self.trials:
            if trial.state != "done" or trial.objective is None:
                continue
            if best is None or best.objective is None or objective.better(trial.objective, best.objective):
                best = trial
        return best

    @property
    def default(self) -> Trial | None:
        """The trial with the values that the arm has untuned."""
        return next((trial for trial in self.trials if trial.origin == "default"), None)


def identity(context: str, tune: Tune, seeds: tuple[int, ...]) -> str:
    """What makes two searches of an arm the same: its context, the space, the objective, the sampler and the seeds."""
    space = {parameter.key: parameter.document() for parameter in tune.space}
    how = [tune.sampler, tune.seed, tune.startup, tune.batch, tune.pruner]
    return digest([context, space, tune.objective.text, tune.objective.direction, how, list(seeds)])


def read_trials(folder: Path) -> dict[str, ArmTrials]:
    """The arms of a trials file by identity; empty where there is none."""
    path = folder / TRIALS
    if not path.is_file():
        return {}
    body = read_json(path)
    try:
        return {
            arm["identity"]: ArmTrials(
                **{name: arm[name] for name in ("arm", "levels", "context", "identity")},
                trials=[Trial(**trial) for trial in arm["trials"]],
            )
            for arm in [*body["arms"], *body["earlier"]]
        }
    except (TypeError, KeyError, AttributeError) as error:
        raise LavitError(
            f"{path} is not a file of trials ({type(error).__name__}: {error})",
            "remove it: what was trained is in the store, and is found there again",
        ) from error


def write_trials(folder: Path, arms: list[ArmTrials], about: dict[str, Any]) -> None:
    """Write the arms of a search; arms of earlier spaces, seeds and code are kept behind them."""
    own = {arm.identity for arm in arms}
    earlier = [arm for identity, arm in read_trials(folder).items() if identity not in own]
    body = {**about, "arms": [asdict(arm) for arm in arms], "earlier": [asdict(arm) for arm in earlier]}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / TRIALS, json.dumps(body, indent=1, ensure_ascii=False))


def reuse(found: dict[str, ArmTrials], own: ArmTrials, tune: Tune, seeds: tuple[int, ...]) -> list[Trial]:
    """Finished trials of an earlier space of the same arm that lie inside this one, at most a whole budget of them."""
    wanted = {parameter.key: parameter for parameter in tune.space}
    taken: list[Trial] = []
    for arm in found.values():
        if arm.context != own.context or arm.identity == own.identity:
            continue
        for trial in arm.trials:
            inside = trial.values.keys() == wanted.keys() and all(
                wanted[key].contains(value) for key, value in trial.values.items()
            )
            known = any(trial.values == other.values for other in taken)
            if trial.state == "done" and trial.by_seed.keys() == {str(s) for s in seeds} and inside and not known:
                origin = "default" if trial.origin == "default" else "reused"
                taken.append(Trial(**{**asdict(trial), "number": len(taken), "origin": origin}))
    return taken[: tune.per_arm]


def finite(value: float | None) -> bool:
    """Whether there is a number that can be compared."""
    return value is not None and math.isfinite(value)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone with a search's files: two launches of one search ask and judge by turns, and train together."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".search.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
