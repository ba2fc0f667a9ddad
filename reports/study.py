"""The study that a report is about: its question, axes, arms, default and what it declared beforehand.

Read from `study.yaml` in the study's folder. The same reader serves studies made elsewhere, whose file holds
at least `name`, `axes`, `arms`, `default` and `headline`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from experiments.errors import LavitError, did_you_mean
from reports.study_forms import check_forms


@dataclass(frozen=True)
class Void:
    """A combination of levels that means nothing."""

    levels: dict[str, str]
    why: str


@dataclass(frozen=True)
class Study:
    """What was asked and what was declared before anything ran.

    `arms` maps an arm's name to its level on each axis, the default arm first; a missing level means that the
    axis has none to take there. `margin` is in the headline's stored units.
    """

    name: str
    question: str
    design: str
    axes: dict[str, tuple[str, ...]]
    arms: dict[str, dict[str, str]]
    default: str
    headline: str
    family: tuple[str, ...]
    margin: float | None
    seeds: tuple[int, ...]
    voids: tuple[Void, ...] = ()
    conditional_on: tuple[str, ...] = ()
    until: str | None = None
    only_if: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)  # nested axis -> where it takes levels
    also: tuple[str, ...] = ()  # arms that differ from the others by more than their levels
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def others(self) -> list[str]:
        """Every arm but the default, in the order declared."""
        return [arm for arm in self.arms if arm != self.default]

    def level(self, arm: str, axis: str) -> str | None:
        """The arm's level on an axis; None where it takes none, or where a void leaves it only one."""
        return None if self.void_reason(arm, axis) else self.arms[arm].get(axis)

    def void_reason(self, arm: str, axis: str) -> str | None:
        """Why an arm has no level of an axis to take: every other level is void there. None where it has one.

        A void rule is read as a condition and what it voids: in `{regime: adapter, target: continuous}` the
        last axis named, `target`, is the one that has no level, and `regime` the reason.
        """
        if axis not in self.arms[arm]:
            condition = " & ".join(f"{a}={'|'.join(levels)}" for a, levels in self.only_if.get(axis, {}).items())
            return f"{axis} has levels only where {condition}" if condition else None
        reasons = []
        for level in self.axes[axis]:
            if level == self.arms[arm][axis]:
                continue
            levels = {**self.arms[arm], axis: level}
            hit = next((r for r in self.rules if axis == list(r.levels)[-1] and _matches(r, levels)), None)
            if hit is None:
                return None
            reasons.append(hit.why)
        return reasons[0] if reasons else None

    @property
    def rules(self) -> list[Void]:
        """The void rules; a removed arm that is listed with a level on every axis is no rule."""
        return [void for void in self.voids if 1 < len(void.levels) < max(len(self.axes), 3)]

    @property
    def removed(self) -> list[Void]:
        """The arms that the rules removed from the design, each with its level on every axis."""
        return [void for void in self.voids if void not in self.rules]

    def differences(self, arm: str, against: str) -> list[str]:
        """The axes on which two arms differ; an axis that one of them lacks does not count, unless it is nested and
        the other's level is not the one that it starts from."""
        found = []
        for axis in self.axes:
            start = self.reference(axis) if axis in self.only_if else None
            mine, theirs = self.level(arm, axis) or start, self.level(against, axis) or start
            if mine is not None and theirs is not None and mine != theirs:
                found.append(axis)
        return found

    def reference(self, axis: str) -> str:
        """The level at which an axis counts in an arm that has none of it: the default arm's, or the first."""
        return self.arms[self.default].get(axis) or self.axes[axis][0]


def branch_names(study: Study) -> tuple[str, ...]:
    """Arms that are another arm, cooled down a second time at a smaller budget: they stand in no table of their own."""
    match = study.extra.get("match")
    listed = match.get("branches") if isinstance(match, Mapping) else None
    return tuple(dict.fromkeys(str(branch["arm"]) for branch in listed or []))


def _matches(void: Void, levels: Mapping[str, str]) -> bool:
    return all(levels.get(axis) == level for axis, level in void.levels.items())


def level_name(value: Any) -> str:
    """A level as text: `true`/`false` for YAML booleans, everything else as it prints."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _axis_levels(axis: str, declared: Any, path: Path) -> tuple[str, ...]:
    if isinstance(declared, Mapping):
        declared = declared.get("levels", declared)
    if isinstance(declared, Mapping):
        declared = list(declared)
    if not isinstance(declared, (list, tuple)) or not declared:
        raise LavitError(f"{path}: axis '{axis}' has no levels", "write a list, the default level first: [a, b]")
    return tuple(level_name(level) for level in declared)


def _voids(declared: Any) -> tuple[Void, ...]:
    """Void entries: rules (`when`) or removed arms (`arm`), with `why`; a list of levels means any of them."""
    voids = []
    for entry in declared or []:
        levels = entry.get("when") or entry.get("arm") or entry.get("levels") or {}
        choices = [v if isinstance(v, (list, tuple)) else [v] for v in levels.values()]
        for combination in itertools.product(*choices) if levels else []:
            flat = {str(a): level_name(v) for a, v in zip(levels, combination, strict=True)}
            voids.append(Void(flat, str(entry.get("why", "no reason was given"))))
    return tuple(voids)


def read_study(path: Path) -> Study:
    """Read and check `study.yaml`.

    Raises:
        LavitError: the file is missing or not YAML, a required key is missing, the default or a family member
        is no
            arm, or an arm takes a level that its axis does not have.
    """
    if not path.is_file():
        raise LavitError(f"no study file at {path}", "a report needs DIR/study.yaml and DIR/records/*.parquet")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LavitError(f"{path} is not readable YAML: {error}", "docs/reports.md has an example") from error
    if not isinstance(raw, Mapping):
        raise LavitError(f"{path} holds no mapping", "it needs name, axes, arms, default and headline")
    for key in ("name", "arms", "default", "headline"):
        if raw.get(key) is None:
            raise LavitError(
                f"{path} lacks the key '{key}'",
                "needed: name, axes, arms (name: {axis: level}), default, headline",
            )
    check_forms(raw, path)
    axes = {str(a): _axis_levels(str(a), d, path) for a, d in (raw.get("axes") or {}).items()}
    arms = _arms(raw["arms"], axes, path)
    default = str(raw["default"])
    if default not in arms:
        raise LavitError(f"{path}: the default '{default}' is no arm", did_you_mean(default, arms))
    arms = {default: arms[default], **{a: v for a, v in arms.items() if a != default}}
    family = tuple(str(a) for a in raw.get("family") or [a for a in arms if a != default])
    for arm in family:
        if arm not in arms:
            raise LavitError(f"{path}: family names '{arm}', which is no arm", did_you_mean(arm, arms))
    seeds = raw.get("seeds") or []
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    design = raw.get("design") or "arms"
    known = {"name", "question", "design", "axes", "arms", "default", "headline", "family", "margin", "seeds"}
    known |= {"voids", "void", "conditional_on", "until", "only_if", "also"}
    return Study(
        name=str(raw["name"]),
        question=str(raw.get("question") or ""),
        design=design if isinstance(design, str) else ", ".join(f"{k}: {v}" for k, v in dict(design).items()),
        axes=axes,
        arms=arms,
        default=default,
        headline=str(raw["headline"]),
        family=tuple(a for a in family if a != default),
        margin=_margin(raw.get("margin"), path),
        seeds=tuple(int(s) for s in seeds),
        voids=(*_voids(raw.get("void")), *_voids(raw.get("voids"))),
        conditional_on=tuple(str(line) for line in raw.get("conditional_on") or []),
        until=raw.get("until"),
        only_if={
            str(axis): {str(a): tuple(map(level_name, levels)) for a, levels in condition.items()}
            for axis, condition in (raw.get("only_if") or {}).items()
        },
        also=tuple(str(arm) for arm in raw.get("also") or {}),
        extra={str(k): v for k, v in raw.items() if k not in known},
    )


def _arms(declared: Any, axes: dict[str, tuple[str, ...]], path: Path) -> dict[str, dict[str, str]]:
    if not isinstance(declared, Mapping):
        raise LavitError(f"{path}: 'arms' must map each arm's name to its levels", "arms: {default: {axis: level}}")
    arms: dict[str, dict[str, str]] = {}
    for name, levels in declared.items():
        if not isinstance(levels, (Mapping, type(None))):
            raise LavitError(f"{path}: arm '{name}' is '{levels}'", "write {axis: level}, or nothing")
        if str(name) in arms:
            raise LavitError(f"{path}: two arms are called '{name}'", "names are compared as text: 1 is '1'")
        arms[str(name)] = {}
        for axis, level in (levels or {}).items():
            if str(axis) not in axes:
                raise LavitError(f"{path}: arm '{name}' names the axis '{axis}'", did_you_mean(axis, axes))
            if level is None:
                continue
            if level_name(level) not in axes[str(axis)]:
                raise LavitError(
                    f"{path}: arm '{name}' takes {axis}={level_name(level)}, which is no level of it",
                    did_you_mean(level_name(level), axes[str(axis)]),
                )
            arms[str(name)][str(axis)] = level_name(level)
    return arms


def _margin(declared: Any, path: Path) -> float | None:
    if declared is None:
        return None
    try:
        margin = float(declared)
    except (TypeError, ValueError):
        margin = -1.0
    if not margin > 0:
        raise LavitError(f"{path}: margin is '{declared}'", "write a positive number in the headline's stored units")
    return margin
