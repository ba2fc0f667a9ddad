"""A search as a plan: arms that are tuned one by one, each with the same number of trials of its own.

The arms are the valid combinations of the study's axes; a trial is an arm with values of the space, and is planned,
keyed and run like any other arm. Trials that a sampler has not named yet are planned at values spread over the space,
so that a search has a price before it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.axes import level_name
from experiments.design import Arm, Design, Removed, expand
from experiments.errors import LavitError
from experiments.key import select
from experiments.objective import check_objective
from experiments.search_space import Parameter, Values, grid, spread, write_values
from experiments.stages import StageSpec, read_all_stages
from experiments.study import Study
from experiments.trials import ArmTrials, Trial, identity, read_trials, reuse
from experiments.tuning import Tune

if TYPE_CHECKING:
    from experiments.plan import Plan
    from experiments.planner import Planner


@dataclass
class SearchArm:
    """An arm that is tuned: its default values, and what was tried."""

    arm: Arm
    record: ArmTrials
    default: Values
    default_inside: bool  # whether the default values lie in the space


@dataclass
class Search:
    """The arms of a search with their trials, and how to plan any of them."""

    study: Study
    tune: Tune
    arms: list[SearchArm]
    removed: tuple[Removed, ...]
    specs: dict[str, StageSpec]
    folder: Path  # <runs>/<study>
    scale: str
    overrides: list[str]  # for every arm, from the command line
    assemble: Callable[[Design, bool], Plan]

    def refresh(self) -> None:
        """Read the trials file again; an arm that has none begins with what an earlier space of it has tried."""
        found = read_trials(self.folder)
        for own in self.arms:
            known = found.get(own.record.identity)
            own.record = known or replace(own.record, trials=reuse(found, own.record, self.tune, self.study.seeds))

    def plan(self, trials: Sequence[tuple[SearchArm, Trial]], count: bool = False) -> Plan:
        """The plan of some trials."""
        arms = tuple(self.trial_arm(own, trial) for own, trial in trials)
        plan = self.assemble(Design(arms, self.removed), count)
        plan.overrides = list(self.overrides)
        plan.search = self
        return plan

    def tried(self) -> list[tuple[SearchArm, Trial]]:
        """All trials that were asked for, arm by arm."""
        return [(own, trial) for own in self.arms for trial in own.record.trials]

    def trial_arm(self, own: SearchArm, trial: Trial) -> Arm:
        """A trial as an arm of a plan."""
        values = {key: "?" if trial.number < 0 else level_name(value) for key, value in trial.values.items()}
        overrides = [p.override(trial.values[p.key]) for p in self.tune.space]
        number = trial.number if trial.number >= 0 else -trial.number
        return replace(
            own.arm,
            name=self.trial_name(own, trial),
            slug=f"{own.arm.slug[:72]}-t{number}",
            levels={**own.arm.levels, **values},
            overrides=(*own.arm.overrides, *overrides),
        )

    def trial_name(self, own: SearchArm, trial: Trial) -> str:
        """`llm=frozen · lr=0.0021`, with more digits where an earlier trial has the same ones."""
        if trial.number < 0:
            return f"{own.arm.name} · trial {-trial.number}"
        earlier = [other.values for other in own.record.trials if other.number < trial.number]
        for digits in (3, 5, 8, 17):
            name = write_values(trial.values, digits)
            if all(write_values(values, digits) != name for values in earlier):
                break
        return f"{own.arm.name} · {name}"

    def lines(self) -> list[tuple[str, str]]:
        """What `lavit plan` says about the search: (label, text)."""
        tune, seeds = self.tune, self.study.seeds
        how = "the mean over the seeds" if len(seeds) > 1 else "of one seed"
        pruned = ", below the median of the arm's own trials a training is ended" if tune.pruner == "median" else ""
        space = "; ".join(parameter.describe() for parameter in tune.space)
        arms = f"{len(self.arms)} arms" if len(self.arms) > 1 else "one arm"
        found = [
            ("search", f"{tune.sampler}, {tune.per_arm} trials for each of {arms}{pruned}"),
            ("space", space),
            ("objective", f"{tune.objective.direction} {tune.objective.text}, {how}; never the test split's numbers"),
        ]
        for own in self.arms:
            if not own.default_inside:
                text = (
                    f"{own.arm.name}: its default {write_values(own.default)} lies outside the space and is not tried"
                )
                found.append(("remark", text))
        asked = sum(len(own.record.trials) for own in self.arms)
        if asked:
            best = [(own, own.record.best(tune.objective)) for own in self.arms]
            text = "; ".join(
                f"{own.arm.name}: {len(own.record.judged)} of {tune.per_arm}"
                + (f", best {write_values(trial.values)} ({trial.objective:.4g})" if trial is not None else "")
                for own, trial in best
            )
            found.append(("tried", text))
        if asked < tune.per_arm * len(self.arms):
            found.append(("priced", "trials that are not chosen yet are planned at values spread over the space"))
        found.append(
            ("estimable", "no effects: a search says where each arm does best, and its trials are no replicates")
        )
        return found

    def document(self) -> dict[str, Any]:
        """Plain data for `lavit plan --json`."""
        tune = self.tune
        return {
            "sampler": tune.sampler,
            "per_arm": tune.per_arm,
            "objective": tune.objective.text,
            "direction": tune.objective.direction,
            "space": {parameter.key: parameter.document() for parameter in tune.space},
            "arms": [
                {"name": own.arm.name, "default": own.default, "trials": [vars(trial) for trial in own.record.trials]}
                for own in self.arms
            ],
        }


def make_search(planner: Planner, study: Study, rest: Sequence[str], overrides: Sequence[str]) -> Search:
    """Find the arms of a search, and what was tried in each."""
    tune = study.tune
    if tune is None:
        raise LavitError(f"{study.file}: tune: missing", "a search needs tune: {per_arm, space, objective, direction}")
    fixed = [text for parameter in tune.space for text in _fixed(planner, parameter)]
    made: list[Design] = []

    def pinned(study: Study) -> Design:
        made.append(expand(study, tune.over))
        arms = (replace(arm, overrides=(*arm.overrides, *fixed)) for arm in made[-1].arms)
        return replace(made[-1], arms=tuple(arms))

    base = planner.settle(study, rest, pinned, count=False)
    study, found = base.study, made[-1]
    specs = read_all_stages(planner.composer.compose(rest).get("stages"))
    if tune.objective.stage not in base.stages:
        raise LavitError(
            f"{study.file}: tune.objective: the study stops at '{study.until}', before the stage "
            f"'{tune.objective.stage}'",
            f"write until: {tune.objective.stage}, or leave it out",
        )
    check_objective(tune.objective, base, specs, study.file)
    own = {arm.name: arm for arm in found.arms}
    arms = []
    for run in base.runs:
        if run.seed != study.seeds[0]:
            continue
        arm, context = own[run.arm], run.stage_keys[tune.objective.stage]
        default = {parameter.key: _default(planner, study, rest, arm, parameter) for parameter in tune.space}
        inside = all(parameter.contains(default[parameter.key]) for parameter in tune.space)
        record = ArmTrials(arm.name, dict(arm.levels), context, identity(context, tune, study.seeds))
        arms.append(SearchArm(arm, record, default, inside))

    def assemble(design: Design, count: bool) -> Plan:
        return planner._assemble(study, design, list(rest), count)

    scale = planner.composer.choices(rest).get("scale", "")
    folder = base.runs_dir / study.name
    search = Search(study, tune, arms, base.design.removed, specs, folder, scale, list(overrides), assemble)
    search.refresh()
    return search


def plan_search(planner: Planner, study: Study, rest: Sequence[str], overrides: Sequence[str]) -> Plan:
    """Plan a search: what was tried, and as many trials again as are left of each arm's budget."""
    search = make_search(planner, study, rest, overrides)
    trials = []
    for own in search.arms:
        trials += [(own, trial) for trial in [*own.record.trials, *_to_come(search, own)][: search.tune.per_arm]]
    return search.plan(trials, count=True)


def _to_come(search: Search, own: SearchArm) -> list[Trial]:
    """Trials that will be asked for: the default's and a grid's as they will be, others with a negative number."""
    tune = search.tune
    tried = [trial.values for trial in own.record.trials]
    coming: list[Trial] = []
    if own.default_inside and own.default not in tried:
        coming.append(Trial(len(tried), own.default, "default"))
        tried.append(own.default)
    if tune.sampler == "grid":
        points = [point for point in grid(tune.space) or () if point not in tried]
        return coming + [Trial(len(tried) + i, point, "grid") for i, point in enumerate(points)]
    left = tune.per_arm - len(tried)
    points = [point for point in grid(tune.space) or () if point not in tried]
    for number in range(len(tried), len(tried) + left):
        values = points[number - len(tried)] if points else spread(tune.space, number, tune.seed)
        coming.append(Trial(-number, values, ""))
    return coming


def _fixed(planner: Planner, parameter: Parameter) -> list[str]:
    """Sets a key to what neither the space nor its default has a part in, so that arms are told apart by all else."""
    if planner.composer.is_group(parameter.key):
        return [f"{parameter.key}={planner.composer.options(parameter.key)[0]}"]
    return [] if parameter.kind == "choice" else [parameter.override(parameter.from_optuna(1))]


def _default(planner: Planner, study: Study, rest: Sequence[str], arm: Arm, parameter: Parameter) -> Any:
    """The value that an arm has untuned."""
    overrides = [*study.also, *rest, *arm.overrides]
    if planner.composer.is_group(parameter.key):
        return planner.composer.choices(overrides).get(parameter.key)
    try:
        value = select(planner._arm_config(overrides, study.seeds[0]).config, parameter.key)
    except KeyError:
        raise LavitError(
            f"{study.file}: tune.space.{parameter.key}: the arm '{arm.name}' has no such key: it means nothing there",
            "leave the arm out by a void rule, or tune this key in a search of its own",
        ) from None
    whole = parameter.kind == "float" and isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole else value
