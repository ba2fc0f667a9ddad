"""Matched budgets: every arm trains as long as its price allows, so that its total equals that of one arm.

`match: {by: train_flops, to: default}` in a study file sets the steps of every arm before anything is keyed: commands,
keys and the confound guard see them like any other override of the arm. With `how: curve` nothing is set, and the
report reads the learning curves at equal budgets instead (`reports.matched`). Prices come from the stages' own modules
(`experiments.cost`); what they leave over is told in the plan, and what the finished runs measured in the report.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from experiments.errors import Complaint, LavitError, did_you_mean
from experiments.key import select
from experiments.slug import slugify

if TYPE_CHECKING:
    from experiments.design import Arm
    from experiments.plan import Plan, StageJob
    from experiments.study import Study

#: What may be matched: its name in a study file -> entries of a ledger, added up.
LEDGER = {
    "train_flops": ("flops",),
    "positions": ("positions",),
    "examples": ("examples_understanding", "examples_generation", "examples_text"),
    "tokens": ("supervised_text_tokens", "supervised_visual_positions"),
}
HOW = ("steps", "branch", "curve")
STEPS = ("train.steps", "cooldown.steps")
KEYS = ("by", "to", "steps", "how")
SAME = 0.01  # budgets that differ by less are equal


@dataclass(frozen=True)
class Match:
    """What a study matches.

    Attributes:
        by: a key of `LEDGER`.
        to: the arm that sets the budget.
        steps: config keys that are set, all in proportion; stages that read one of them are counted.
        how: `steps`, every arm is trained for the budget; `branch`, every arm is trained as it is, and of each pair the
            dearer one is cooled down a second time, from where its trunk had cost what the other one did; `curve`,
            nothing is trained, and the report reads the learning curves at equal budgets.
        further: with `branch`, more budgets that are matched beside the first.
    """

    by: str
    to: str = "default"
    steps: tuple[str, ...] = STEPS
    how: str = "steps"
    further: tuple[str, ...] = ()

    @property
    def views(self) -> tuple[str, ...]:
        """Every budget that is matched."""
        return (self.by, *self.further)

    @property
    def sets_steps(self) -> bool:
        """Whether arms are trained for the budget."""
        return self.how == "steps"

    @property
    def branches(self) -> bool:
        """Whether arms are cooled down a second time, at the budget of another."""
        return self.how == "branch"

    @property
    def needs_prices(self) -> bool:
        """Whether nothing can be planned without the arms' prices."""
        return self.how != "curve"


@dataclass(frozen=True)
class MatchedArm:
    """What a matched arm came to.

    Attributes:
        arm: its name.
        steps: config key -> steps that were set; empty where they stay what they were.
        total: its price, in what is matched.
        residual: its price over the reference's, minus one: steps are whole.
    """

    arm: str
    steps: dict[str, int]
    total: float
    residual: float


def read_match(value: Any, complain: Complaint) -> Match | None:
    """Check the `match` of a study file."""
    if value is None:
        return None
    hint = "write match: {by: train_flops, to: default}"
    if not isinstance(value, dict):
        raise complain("match", f"{value!r} is not a mapping", hint)
    for key in value:
        if key not in KEYS:
            raise complain(f"match.{key}", "unknown key", did_you_mean(key, KEYS))
    by, to, steps = value.get("by"), value.get("to", "default"), value.get("steps", list(STEPS))
    further: list[Any] = []
    if isinstance(by, list) and by and value.get("how") == "branch":
        by, *further = by
        for other in further:
            if other not in LEDGER:
                raise complain("match.by", f"there is no budget {other!r}", did_you_mean(str(other), LEDGER))
    if not isinstance(by, str) or by not in LEDGER:
        what = "missing" if by is None else f"there is no budget {by!r}"
        raise complain("match.by", what, did_you_mean(str(by), LEDGER) if by is not None else None)
    if not isinstance(to, str) or not to.strip():
        raise complain("match.to", f"{to!r} is not the name of an arm", hint)
    if not isinstance(steps, list) or not steps or not all(isinstance(s, str) and s for s in steps):
        raise complain("match.steps", f"{steps!r} is not a list of config keys", f"for example [{', '.join(STEPS)}]")
    how = value.get("how", "steps")
    if how not in HOW:
        raise complain("match.how", f"there is no way {how!r} to match", did_you_mean(how, HOW))
    if how != "steps" and "steps" in value:
        raise complain("match.steps", f"no steps are set where match.how is {how}", "take it out")
    return Match(by, to, tuple(steps), how, tuple(further))


def check_reference(study: Study, plan: Plan) -> None:
    """Refuse a match to an arm that the design does not have."""
    match, names = _declared(study), [arm.name for arm in plan.design.arms]
    if _reference(match, plan) not in names:
        raise LavitError(
            f"{study.file}: match.to: there is no arm '{match.to}'", did_you_mean(match.to, ["default", *names])
        )


def match_arms(study: Study, plan: Plan) -> tuple[Arm, ...]:
    """The plan's arms with the steps that bring each to the reference's price.

    Raises:
        LavitError: there is no such arm, an arm sets its steps itself, or a stage is not priced.
    """
    match = _declared(study)
    check_reference(study, plan)
    budget = price(match, plan, _reference(match, plan))
    if budget <= 0:
        raise LavitError(
            f"{study.file}: match.by: '{match.to}' is priced at no {match.by}, so that nothing can be matched to it",
            f"choose another budget ({', '.join(LEDGER)}), or name the steps that cost it: match.steps",
        )
    arms = []
    for arm in plan.design.arms:
        for override in arm.overrides:
            if (key := override.lstrip("+~").partition("=")[0]) in match.steps:
                raise LavitError(
                    f"{study.file}: match: the arm '{arm.name}' sets {key} itself, which match is to set",
                    "take the one or the other out",
                )
        if arm.name != _reference(match, plan):
            steps = _scaled(match, plan, arm.name, budget / price(match, plan, arm.name))
            arm = replace(arm, overrides=(*arm.overrides, *(f"{key}={count}" for key, count in steps.items())))
        arms.append(arm)
    return tuple(arms)


def matched_arms(study: Study, plan: Plan) -> list[MatchedArm]:
    """What each arm of a matched plan came to."""
    match = _declared(study)
    budget = price(match, plan, _reference(match, plan))
    found = []
    for arm in plan.design.arms:
        pairs = (override.partition("=") for override in arm.overrides)
        steps = {key: int(value) for key, _, value in pairs if key in match.steps}
        total = price(match, plan, arm.name)
        found.append(MatchedArm(arm.name, steps, total, total / budget - 1))
    return found


@dataclass(frozen=True)
class Branch:
    """A second cool-down of an arm, from where its trunk had cost what another arm did in all.

    Attributes:
        arm: the name of what is cooled down there.
        of: the arm whose trunk it branches off.
        against: the arm whose budget it meets.
        at: the step of the trunk.
        by: the budget.
    """

    arm: str
    of: str
    against: str
    at: int
    by: str


def branch_arms(study: Study, plan: Plan) -> tuple[tuple[Arm, ...], list[Branch]]:
    """The plan's arms with a branch for every arm of another budget than the reference's: of that arm where it is the
    dearer one, else of the reference.

    Raises:
        LavitError: there is no such arm, a stage is not priced, or a budget ends before an arm's last phase begins.
    """
    match = _declared(study)
    check_reference(study, plan)
    reference = _reference(match, plan)
    branches: list[Branch] = []
    for view, arm in itertools.product((replace(match, by=by) for by in match.views), plan.design.arms):
        budget, own = price(view, plan, reference), price(view, plan, arm.name)
        if arm.name == reference or not (own and budget) or abs(own / budget - 1) <= SAME:
            continue
        of, against = (arm.name, reference) if own > budget else (reference, arm.name)
        at = _branch_step(study, plan, of, min(own, budget) / max(own, budget))
        found = next((branch for branch in branches if (branch.of, branch.at) == (of, at)), None)
        name = found.arm if found else f"{of} · branch at step {at}"
        branches.append(Branch(name, of, against, at, view.by))
    arms = list(plan.design.arms)
    for of in dict.fromkeys(branch.of for branch in branches):
        steps = sorted({branch.at for branch in branches if branch.of == of})
        place = next(i for i, arm in enumerate(arms) if arm.name == of)
        kept = f"train.branches=[{','.join(map(str, steps))}]"
        arms[place] = base = replace(arms[place], overrides=(*arms[place].overrides, kept))
        run = next(run for run in plan.runs if run.arm == of)
        whole, cool = (_steps(run.config, key) for key in STEPS)
        for at in steps:
            also = (f"cooldown.at={at}", f"cooldown.steps={max(1, round(cool * at / whole))}")
            name = next(branch.arm for branch in branches if (branch.of, branch.at) == (of, at))
            arms.append(
                replace(
                    base, name=name, slug=slugify(name), overrides=(*base.overrides, *also), also=(*base.also, *also)
                )
            )
    return tuple(arms), branches


def _branch_step(study: Study, plan: Plan, arm: str, share: float) -> int:
    """The step at which an arm has spent a share of its budget, cool-down included."""
    run = next(run for run in plan.runs if run.arm == arm)
    at = max(1, round(share * _steps(run.config, "train.steps")))
    begins = 0
    if "tune" in run.stage_keys:
        begins = round(float(select(run.config, "regime.pretrain.share")) * _steps(run.config, "train.steps"))
    if at <= begins:
        raise LavitError(
            f"{study.file}: match: the arm '{arm}' would have to be cooled down at step {at}, before its tuning begins "
            f"(step {begins})",
            "write match: {how: steps}, which trains every phase for a part of the budget",
        )
    return at


def price(match: Match, plan: Plan, arm: str) -> float:
    """What the stages that the matched steps drive cost an arm, by their planned ledgers."""
    own = _own_jobs(match, plan, arm)
    if not own:
        raise LavitError(
            f"{plan.study.file}: match.steps: no stage of the arm '{arm}' reads {' or '.join(match.steps)}",
            "name the config keys that hold the steps of what is to be matched, e.g. match.steps=[tokenizer.steps]",
        )
    for job in own:
        if not job.ledger:
            why = next(
                (remark for remark in plan.remarks if remark.startswith("not priced")), "nothing tells its price"
            )
            raise LavitError(
                f"{plan.study.file}: match: the stage '{job.stage}' of the arm '{arm}' has no price: {why}",
                "a stage of your own offers one by a function `price` beside its `run`; see docs/price.md",
            )
    return float(sum(job.ledger.get(entry, 0.0) for job in own for entry in LEDGER[match.by]))


def _declared(study: Study) -> Match:
    assert study.match is not None
    return study.match


def _reference(match: Match, plan: Plan) -> str:
    return plan.design.arms[0].name if match.to == "default" else match.to


def _own_jobs(match: Match, plan: Plan, arm: str) -> list[StageJob]:
    run = next(run for run in plan.runs if run.arm == arm)
    jobs = [plan.jobs[identity] for identity in run.stage_keys.items()]
    return [job for job in jobs if any(_steps(job.config, key) for key in match.steps)]


def _scaled(match: Match, plan: Plan, arm: str, factor: float) -> dict[str, int]:
    """New steps of an arm, where they are others than before."""
    run = next(run for run in plan.runs if run.arm == arm)
    before = {key: count for key in match.steps if (count := _steps(run.config, key))}
    after = {key: max(1, round(count * factor)) for key, count in before.items()}
    return after if after != before else {}


def _steps(config: Mapping[str, Any], key: str) -> int:
    try:
        value = select(config, key)
    except KeyError:
        return 0
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
