"""Rules met by a study's arms: illegal ones leave the design, what becomes one run is merged, limited ones are told.

What leaves the design is a void like those of the study file, with the rule's id and reason. It is found on the arms'
own resolved configs, so that a rule may look at any key, whether the study has an axis of it or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

from experiments.axes import Axis
from experiments.confounds import differing, override_path
from experiments.design import Arm
from experiments.errors import LavitError
from experiments.nesting import Levels
from experiments.plan import Limit, Plan
from experiments.rules import Rule, judge, refusal
from experiments.study import Study
from experiments.twins import Twins
from experiments.voids import Void, cell_key


class ArmConfig(Protocol):
    """What is known of an arm's config."""

    raw: dict[str, Any]  # resolved, as the overrides make it
    config: dict[str, Any]  # what the void rules have left of it
    fired: list[Rule]  # those of them that matched


@dataclass
class _Group:
    """Cells that one rule takes out, told by the same axes."""

    rule: Rule
    axes: tuple[str, ...]
    cells: dict[frozenset[tuple[str, str]], Levels] = field(default_factory=dict)


class Struck:
    """The cells that rules take out of a study's design; it grows until a design has none of them.

    Args:
        study: the study, without voids of this kind.
    """

    def __init__(self, study: Study):
        self.study = study
        self._groups: dict[tuple[str, tuple[str, ...]], _Group] = {}

    def voids(self) -> tuple[Void, ...]:
        """One void for each rule and set of axes that tell where it holds."""
        return tuple(_void(self.study, group) for group in self._groups.values())

    def illegal(self, plan: Plan, configs: Mapping[str, ArmConfig], rules: Sequence[Rule]) -> bool:
        """Take out the arms that a rule refuses, and tell whether there are any.

        Raises:
            LavitError: the default, a named arm or one of the family is refused.
        """
        found = False
        for number, arm in enumerate(plan.design.arms):
            config = facts(configs[arm.name].config, self.study)
            rule = next(iter(judge(config, rules, "illegal")), None)
            if rule is None:
                continue
            if number == 0 or arm.name in self.study.arms or arm.also:
                who = f"{self.study.file}: the arm '{arm.name}': " if self.study.file else ""
                raise refusal(rule, config, who)
            self._add(rule, arm, self._touching(rule.when) or self._unlike_default(arm.cell))
            found = True
        return found

    def merged(self, twins: Iterable[Twins], arms: Mapping[str, Arm], configs: Mapping[str, ArmConfig]) -> list[Twins]:
        """Take out the later arm of each pair that a rule makes one run; return the pairs that no rule explains."""
        unruled = []
        for pair in twins:
            arm = arms[pair.second.arm]
            rule = _reason(configs[pair.first.arm], configs[arm.name])
            if rule is None or arm.name in self.study.arms or not pair.differing:
                unruled.append(pair)
                continue
            explained = tuple(axis for axis in pair.differing if self._explained(rule, axis)) or tuple(pair.differing)
            where = tuple(axis for axis in self._touching(rule.when) if axis not in explained)
            self._add(rule, arm, (*where, *explained))
        return unruled

    def _add(self, rule: Rule, arm: Arm, axes: tuple[str, ...]) -> None:
        if self.study.family is not None and arm.name in self.study.family:
            raise LavitError(
                f"{self.study.file}: family: '{arm.name}' is left out by rule {rule.id}: {rule.why}",
                "take it out of the family",
            )
        group = self._groups.setdefault((rule.id, axes), _Group(rule, axes))
        group.cells[cell_key(arm.cell)] = arm.cell

    def _touching(self, keys: Iterable[str]) -> tuple[str, ...]:
        """The axes whose levels set one of the keys, or a node above or below it."""
        wanted = list(keys)
        return tuple(
            axis.name
            for axis in self.study.axes.values()
            if len(axis.levels) > 1
            and any(f"{path}.".startswith(f"{key}.") or f"{key}.".startswith(f"{path}.")
                    for path in _paths(axis) for key in wanted)
        )  # fmt: skip

    def _explained(self, rule: Rule, axis: str) -> bool:
        return any(rule.explains(path) for path in _paths(self.study.axes[axis]))

    def _unlike_default(self, cell: Levels) -> tuple[str, ...]:
        return tuple(axis for axis, level in cell.items() if level != self.study.default[axis])


def facts(config: Mapping[str, Any], study: Study) -> dict[str, Any]:
    """An arm's config with what a rule may ask of the study: `study.match.by`."""
    return {**config, "study": {"match": {"by": study.match.by}} if study.match is not None else {}}


def limits(plan: Plan, configs: Mapping[str, ArmConfig], rules: Sequence[Rule]) -> list[Limit]:
    """The rules that limit what an arm's result says, each with its arms."""
    found: dict[str, tuple[Rule, list[str]]] = {}
    for arm in plan.design.arms:
        for rule in judge(configs[arm.name].config, rules, "limited"):
            found.setdefault(rule.id, (rule, []))[1].append(arm.name)
    return [Limit(rule.id, rule.why, tuple(arms)) for rule, arms in found.values()]


def _reason(first: ArmConfig, second: ArmConfig) -> Rule | None:
    """The void rule by which two configs are one run."""
    paths = differing(first.raw, second.raw)
    rules = {rule.id: rule for rule in (*second.fired, *first.fired)}
    return next((rule for rule in rules.values() if any(rule.explains(path) for path in paths)), None)


def _paths(axis: Axis) -> set[str]:
    return {override_path(text) for overrides in axis.levels.values() for text in overrides}


def _void(study: Study, group: _Group) -> Void:
    when = {axis: tuple(dict.fromkeys(cell[axis] for cell in group.cells.values())) for axis in group.axes}
    others = [len(axis.levels) for name, axis in study.axes.items() if name not in when]
    nested = any(axis.only_if for axis in study.axes.values())
    general = not nested and len(group.cells) == prod(map(len, when.values())) * prod(others)
    label = "merged" if group.rule.verdict == "void" else group.rule.verdict
    why = f"{group.rule.why} (rule {group.rule.id})"
    return Void(when, why, cells=frozenset(group.cells), label=label, general=general)
