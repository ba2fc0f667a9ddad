"""From axes to arms: designs are pure functions of a study."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from experiments.errors import LavitError, did_you_mean
from experiments.study import Study
from experiments.voids import Void, find_void

Levels = dict[str, str]  # axis -> level

MAX_ARMS = 20_000


@dataclass(frozen=True)
class Arm:
    """One combination of levels: what a row of the table is."""

    name: str  # the difference from the default, `default` for the default itself
    slug: str  # the name as a file name
    levels: Levels
    overrides: tuple[str, ...]  # Hydra overrides that make it (the study's `also` comes before them)
    note: str = ""  # said where the design had to move this arm


@dataclass(frozen=True)
class Removed:
    """Combinations that a void rule took out of the design."""

    void: Void
    arms: tuple[Levels, ...]


@dataclass(frozen=True)
class Design:
    """The arms of a study, the default first, and what was removed."""

    arms: tuple[Arm, ...]
    removed: tuple[Removed, ...]


def expand(study: Study, design: str | None = None) -> Design:
    """Return the arms of a study, the default first.

    Args:
        study: a checked study.
        design: another design than the study's own (`full` or `one_at_a_time`), to compare with.

    Raises:
        LavitError: the default arm is void, a named arm is void, two arms are the same, or `family` names no
            arm.
    """
    design = design or study.design
    void = find_void(study.voids, study.default)
    if void is not None:
        raise LavitError(
            f"{study.file}: the default arm is void: {void.describe()} ({void.why})",
            "put another level first, or name another default",
        )
    if design == "full":
        found = _full(study)
    elif design == "one_at_a_time":
        found = _one_at_a_time(study)
    else:
        found = _named(study)
    found = replace(found, arms=_with_unique_slugs(found.arms))
    if study.family is not None and design == study.design:
        others = [arm.name for arm in found.arms[1:]]
        for name in study.family:
            if name not in others:
                raise LavitError(
                    f"{study.file}: family: '{name}' is not an arm that is compared",
                    did_you_mean(name, others),
                )
    return found


def arm_name(study: Study, levels: Mapping[str, str]) -> str:
    """The difference from the default, in the order of the axes: `regime=adapter, llm=frozen`."""
    differing = [f"{axis}={levels[axis]}" for axis in study.axes if levels[axis] != study.default[axis]]
    return ", ".join(differing) or study.default_arm


def slugify(name: str) -> str:
    """A name as a file name of at most 80 characters: `regime=adapter, llm=frozen` ->
    `regime-adapter_llm-frozen`."""
    text = re.sub(r"[^A-Za-z0-9_.-]+", "-", name.replace(", ", "_")).strip("-.") or "arm"
    return text if len(text) <= 80 else f"{text[:71]}-{_digest(name)}"


def differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """The axes in which two arms differ."""
    return [axis for axis in first if first[axis] != second.get(axis)]


def matched_pairs(arms: Iterable[Arm], axis: str, low: str, high: str) -> list[tuple[Arm, Arm]]:
    """Pairs of arms that differ in `axis` only: `low` in the first, `high` in the second."""
    rest = {_others(arm.levels, axis): arm for arm in arms if arm.levels.get(axis) == high}
    pairs = []
    for arm in arms:
        partner = rest.get(_others(arm.levels, axis)) if arm.levels.get(axis) == low else None
        if partner is not None:
            pairs.append((arm, partner))
    return pairs


def crossed(arms: Iterable[Arm], first: str, second: str) -> bool:
    """Whether two axes' interaction can be estimated: four arms that cross two levels of each, all else
    equal."""
    seen: dict[tuple[tuple[str, str], ...], set[tuple[str, str]]] = {}
    for arm in arms:
        others = tuple((a, v) for a, v in arm.levels.items() if a not in (first, second))
        seen.setdefault(others, set()).add((arm.levels[first], arm.levels[second]))
    for cells in seen.values():
        for (a, x), (b, y) in itertools.combinations(sorted(cells), 2):
            if a != b and x != y and (a, y) in cells and (b, x) in cells:
                return True
    return False


def full_size(study: Study) -> int:
    """Number of combinations of all levels, void ones included."""
    size = 1
    for axis in study.axes.values():
        size *= len(axis.levels)
    return size


def _others(levels: Mapping[str, str], axis: str) -> tuple[tuple[str, str], ...]:
    return tuple((a, v) for a, v in levels.items() if a != axis)


def _combinations(study: Study, fixed: Mapping[str, str] | None = None) -> Iterator[Levels]:
    """All combinations of levels, the default's level first in each axis, the last axis varying fastest."""
    fixed = fixed or {}
    choices = []
    for axis in study.axes.values():
        first = study.default[axis.name]
        levels = [first, *(level for level in axis.levels if level != first)]
        choices.append([fixed[axis.name]] if axis.name in fixed else levels)
    for combination in itertools.product(*choices):
        yield dict(zip(study.axes, combination, strict=True))


def _arm(study: Study, levels: Levels, note: str = "") -> Arm:
    overrides = [text for axis in study.axes.values() for text in axis.levels[levels[axis.name]]]
    name = arm_name(study, levels)
    return Arm(name, slugify(name), levels, tuple(overrides), note)


def _full(study: Study) -> Design:
    if full_size(study) > MAX_ARMS:
        raise LavitError(
            f"{study.file}: design: full has {full_size(study)} combinations here, more than {MAX_ARMS}",
            "take levels out, or write design: one_at_a_time",
        )
    arms, removed = [], _Removals()
    for levels in _combinations(study):
        void = find_void(study.voids, levels)
        if void is not None:
            removed.add(void, levels)
        else:
            arms.append(_arm(study, levels))
    return Design(tuple(arms), removed.collect())


def _one_at_a_time(study: Study) -> Design:
    arms, removed = [_arm(study, dict(study.default))], _Removals()
    for axis in study.axes.values():
        for level in axis.levels:
            if level == study.default[axis.name]:
                continue
            levels = {**study.default, axis.name: level}
            void = find_void(study.voids, levels)
            if void is None:
                arms.append(_arm(study, levels))
                continue
            removed.add(void, levels)
            moved = _nearest_valid(study, axis.name, level)
            if moved is None or any(arm.levels == moved for arm in arms):
                continue
            extra = ", ".join(f"{a}={moved[a]}" for a in differences(moved, levels))
            arms.append(
                _arm(
                    study,
                    moved,
                    f"{axis.name}={level} alone is void ({void.why}): nearest valid arm, {extra}",
                )
            )
    return Design(tuple(arms), removed.collect())


def _nearest_valid(study: Study, axis: str, level: str) -> Levels | None:
    """The valid combination with that level that differs from the default in the fewest axes (the first of
    equals)."""
    others = [a for a in study.axes.values() if a.name != axis and len(a.levels) > 1]
    for count in range(1, len(others) + 1):
        for changed in itertools.combinations(others, count):
            choices = [[v for v in a.levels if v != study.default[a.name]] for a in changed]
            for values in itertools.product(*choices):
                names = [a.name for a in changed]
                levels = {**study.default, axis: level, **dict(zip(names, values, strict=True))}
                if find_void(study.voids, levels) is None:
                    return levels
    return None


def _named(study: Study) -> Design:
    arms: list[Arm] = []
    names = [study.default_arm, *(name for name in study.arms if name != study.default_arm)]
    for name in names:
        named = study.arms.get(name)
        given = named.levels if named is not None else {}
        levels = dict(study.default) if name == study.default_arm else {**study.default, **given}
        void = find_void(study.voids, levels)
        if void is not None:
            raise LavitError(
                f"{study.file}: arms.{name}: is void: {void.describe()} ({void.why})",
                "take the arm or the rule out",
            )
        also = named.also if named is not None else ()
        made = _arm(study, levels)
        arm = Arm(name, slugify(name), levels, (*made.overrides, *also))
        twin = next((a for a in arms if a.overrides == arm.overrides), None)
        if twin is not None:
            raise LavitError(f"{study.file}: arms.{name}: is the same as the arm '{twin.name}'", "take one of them out")
        arms.append(arm)
    return Design(tuple(arms), ())


class _Removals:
    """Collects void combinations by rule, in the order in which they are met."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Void, list[Levels]]] = {}

    def add(self, void: Void, levels: Levels) -> None:
        self._found.setdefault(id(void), (void, []))[1].append(levels)

    def collect(self) -> tuple[Removed, ...]:
        return tuple(Removed(void, tuple(arms)) for void, arms in self._found.values())


def _with_unique_slugs(arms: Iterable[Arm]) -> tuple[Arm, ...]:
    """Slugs that would be one file on a file system that ignores case get a digest of the name."""
    seen: dict[str, str] = {}
    out = []
    for arm in arms:
        slug = arm.slug
        if seen.setdefault(slug.lower(), arm.name) != arm.name:
            slug = f"{slug[:71]}-{_digest(arm.name)}"
        out.append(replace(arm, slug=slug))
    return tuple(out)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]
