"""What to try next, by Optuna's ask and tell: one Optuna study an arm, kept beside the trials file.

Each question is asked of a study in memory, made of the arm's trials, with a sampler that is seeded by the search's
seed and the trial's number, so that a search that was interrupted is answered as one that was not. Optuna's storage
holds what was asked and told; what it has lost or never saw is added from the trials file, and the other way round.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.errors import LavitError
from experiments.search_space import Values, grid, spread
from experiments.trials import ArmTrials, Trial
from experiments.tuning import Tune

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage

_NUMBER = "lavit.number"  # user attribute: the trial's number in the trials file
_ORIGIN = "lavit.origin"
_AFTER = "lavit.after"
_TRIES = 20  # repetitions of what was tried that a sampler is allowed, before an untried point is taken


def open_storage(tune: Tune, folder: Path) -> BaseStorage:
    """The storage of a search: sqlite in the study's folder, a journal file there, or the database of a URL."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # no remarks on optional packages
    logging.getLogger("alembic").setLevel(logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    if tune.storage == "journal":
        from optuna.storages.journal import JournalFileBackend, JournalStorage

        return JournalStorage(JournalFileBackend(str(folder / "search.journal")))
    url = tune.storage or f"sqlite:///{(folder / 'search.db').absolute()}"
    try:
        return optuna.storages.RDBStorage(url)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        missing = isinstance(error, ImportError)
        raise LavitError(
            f"design.storage: {_without_password(url)} cannot be opened: {type(error).__name__}: {reason}",
            f"install the driver of this database ({_driver(url)}), or leave storage out: sqlite in {folder}"
            if missing
            else f"see that it can be reached, or leave storage out: sqlite in {folder}",
        ) from error


class Sampling:
    """The Optuna study of one arm.

    Args:
        storage: see `open_storage`.
        study: name of the lavit study.
        arm: the arm's trials; new ones are appended to it.
        tune: the search.
        default: the values that the arm has untuned; None where they lie outside the space.
    """

    def __init__(self, storage: BaseStorage, study: str, arm: ArmTrials, tune: Tune, default: Values | None) -> None:
        import optuna

        self.arm, self.tune, self.default = arm, tune, default
        self.distributions = {parameter.key: parameter.distribution() for parameter in tune.space}
        self.study: optuna.Study = optuna.create_study(
            storage=storage,
            study_name=f"{study} · {arm.arm} · {arm.identity}",
            direction=tune.objective.direction,
            load_if_exists=True,
        )
        self._heal()

    def ask(self, count: int) -> list[Trial]:
        """The next trials; each is in Optuna's storage and in the arm, untrained."""
        asked, after = [], len(self.arm.trials)
        for _ in range(count):
            number = len(self.arm.trials)
            values, origin = self._next(number)
            trial = Trial(number, values, origin, after=after)
            self.study.add_trial(self._frozen(trial))
            self.arm.trials.append(trial)
            asked.append(trial)
        return asked

    def tell(self, trial: Trial) -> None:
        """Tell Optuna what became of a trial."""
        from optuna.trial import TrialState

        at = self._known()[trial.number].number
        if trial.state == "pruned":
            self.study.tell(at, state=TrialState.PRUNED, skip_if_finished=True)
        else:
            self.study.tell(at, self._value(trial), skip_if_finished=True)

    def _next(self, number: int) -> tuple[Values, str]:
        """Values that were not tried in this arm, and where they come from."""
        tune, tried = self.tune, [trial.values for trial in self.arm.trials]
        if self.default is not None and self.default not in tried:
            return self.default, "default"
        if tune.sampler != "grid":
            asking = None
            for attempt in range(_TRIES):
                if tune.sampler == "qmc" or (tune.sampler in ("tpe", "gp") and number < tune.startup):
                    values, origin = spread(tune.space, number + attempt, tune.seed), "spread"
                else:
                    asking = asking or self._in_memory()
                    values, origin = self._asked(asking, number, attempt), tune.sampler
                if values not in tried:
                    return values, origin
        untried = next((point for point in grid(tune.space) or () if point not in tried), None)
        if untried is None:
            raise LavitError(
                f"the search of the arm '{self.arm.arm}' finds nothing that was not tried: {len(tried)} trials",
                "take fewer trials (tune.per_arm), or widen the space",
            )
        return untried, "grid"

    def _in_memory(self) -> optuna.Study:
        """The arm's trials as an Optuna study of this moment, to be asked: nothing that is asked in vain is stored."""
        import optuna

        study = optuna.create_study(direction=self.tune.objective.direction)
        study.add_trials([self._frozen(trial) for trial in self.arm.trials])
        return study

    def _asked(self, study: optuna.Study, number: int, attempt: int) -> Values:
        study.sampler = self._sampler(number, attempt)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls some samplers experimental
            trial = study.ask(self.distributions)
        return self._values(trial.params)

    def _sampler(self, number: int, attempt: int) -> BaseSampler:
        from optuna import samplers

        seed = (self.tune.seed * 1_000_003 + number * 101 + attempt) % 2**32
        if self.tune.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        if self.tune.sampler == "gp":
            try:
                import scipy  # noqa: F401
                import torch  # noqa: F401
            except ImportError as error:
                raise LavitError(
                    f"design: {{search: gp}} needs torch and scipy: {error}", "install them, or write search: tpe"
                ) from error
            return samplers.GPSampler(seed=seed, n_startup_trials=1)
        return samplers.TPESampler(seed=seed, n_startup_trials=1)

    def _frozen(self, trial: Trial) -> optuna.trial.FrozenTrial:
        """A trial as Optuna keeps it."""
        import optuna
        from optuna.trial import TrialState

        state = {"asked": TrialState.RUNNING, "pruned": TrialState.PRUNED}.get(trial.state, TrialState.COMPLETE)
        return optuna.trial.create_trial(
            state=state,
            value=self._value(trial) if state == TrialState.COMPLETE else None,
            params={p.key: p.to_optuna(trial.values[p.key]) for p in self.tune.space},
            distributions=self.distributions,
            user_attrs={_ORIGIN: trial.origin, _AFTER: trial.after, _NUMBER: trial.number},
        )

    def _heal(self) -> None:
        """Make storage and trials file agree, after a crash between the two, or the loss of either."""
        from optuna.trial import TrialState

        known = self._known()
        for number in range(len(self.arm.trials), max(known, default=-1) + 1):
            if number not in known:
                break
            told = known[number].user_attrs
            values = self._values(known[number].params)
            self.arm.trials.append(Trial(number, values, told[_ORIGIN], after=int(told[_AFTER])))
        for trial in self.arm.trials:
            if trial.number not in known:
                self.study.add_trial(self._frozen(trial))
            elif trial.judged and known[trial.number].state == TrialState.RUNNING:
                self.tell(trial)

    def _known(self) -> dict[int, optuna.trial.FrozenTrial]:
        """Number in the trials file -> what Optuna's storage has of it."""
        found: dict[int, optuna.trial.FrozenTrial] = {}
        for frozen in self.study.get_trials(deepcopy=False):
            found.setdefault(int(frozen.user_attrs[_NUMBER]), frozen)
        return found

    def _value(self, trial: Trial) -> float:
        return self.tune.objective.worst if trial.objective is None else trial.objective

    def _values(self, params: dict[str, Any]) -> Values:
        return {parameter.key: parameter.from_optuna(params[parameter.key]) for parameter in self.tune.space}


def _driver(url: str) -> str:
    scheme = url.split("://")[0]
    default = {"postgresql": "psycopg2", "mysql": "mysqlclient"}
    return scheme.partition("+")[2] or default.get(scheme, scheme)


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
