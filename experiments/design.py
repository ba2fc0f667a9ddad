"""From axes to arms: designs are pure functions of a study."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module

from experiments.errors import LavitError, did_you_mean
from experiments.nesting import Levels, active_levels, cells, count_cells
from experiments.slugs import marked, slugify
from experiments.study import NamedArm, Study
from experiments.voids import Void, find_void

MAX_ARMS = 20_000


@dataclass(frozen=True)
class Arm:
    """One combination of levels: what a row of the table is."""

    name: str  # the difference from the default, `default` for the default itself
    slug: str  # the name as a file name
    levels: Levels  # of the axes that take one here
    overrides: tuple[str, ...]  # Hydra overrides that make it (the study's `also` comes before them)
    note: str = ""  # said where the design had to move this arm
    cell: Levels = field(default_factory=dict)  # a level of every axis: the default's where one takes none
    also: tuple[str, ...] = ()  # those of `overrides` that no level makes: such an arm pairs with no other


@dataclass(frozen=True)
class Removed:
    """Combinations that a void rule took out of the design."""

    void: Void
    arms: tuple[Levels, ...]


@dataclass(frozen=True)
class Design:
    """The arms of a study, the default first, what was removed, and what the design was made for."""

    arms: tuple[Arm, ...]
    removed: tuple[Removed, ...]
    steps: tuple[tuple[str, str], ...] = ()  # (arm, the arm that it follows) in a cumulative design
    model: tuple[str, ...] = ()  # terms that a fraction claims to estimate: an axis, or "axis*axis"
    method: str = ""  # how a fraction was chosen, in words
    aliases: tuple[str, ...] = ()  # chains of terms that a textbook fraction cannot tell apart: "a = b*c"


def expand(study: Study, design: str | None = None) -> Design:
    """Return the arms of a study, the default first.

    Args:
        study: a checked study.
        design: another design than the study's own, to compare with (one that needs no options).

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
    found = _BUILDERS[design](study) if design in _BUILDERS else _build(design, study)
    if design != "arms":
        found = replace(found, arms=tuple(_with_named(study, found.arms)))
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
    differing = [f"{a}={levels[a]}" for a in study.axes if a in levels and levels[a] != study.default[a]]
    return ", ".join(differing) or study.default_arm


def differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """The axes in which two arms differ."""
    return [axis for axis in first if first[axis] != second.get(axis)]


def matched_pairs(arms: Iterable[Arm], axis: str, low: str, high: str) -> list[tuple[Arm, Arm]]:
    """Pairs of arms that differ in `axis` only: `low` in the first, `high` in the second. Another axis may take a
    level in one of the two alone, where that is the default's."""
    arms = [arm for arm in arms if not arm.also]
    rest = {_others(arm, axis): arm for arm in arms if arm.levels.get(axis) == high}
    pairs = []
    for arm in arms:
        partner = rest.get(_others(arm, axis)) if arm.levels.get(axis) == low else None
        if partner is not None:
            pairs.append((arm, partner))
    return pairs


def crossed(arms: Iterable[Arm], first: str, second: str) -> bool:
    """Whether two axes' interaction can be estimated: four arms that cross two levels of each, all else
    equal."""
    seen: dict[tuple[tuple[str, str], ...], set[tuple[str, str]]] = {}
    for arm in arms:
        if first in arm.levels and second in arm.levels and not arm.also:
            seen.setdefault(_others(arm, first, second), set()).add((arm.levels[first], arm.levels[second]))
    for crossing in seen.values():
        for (a, x), (b, y) in itertools.combinations(sorted(crossing), 2):
            if a != b and x != y and (a, y) in crossing and (b, x) in crossing:
                return True
    return False


def full_size(study: Study) -> int:
    """Number of combinations of all levels, void ones included; a nested axis counts where it takes levels."""
    return count_cells(study.axes, study.default, MAX_ARMS)


def _others(arm: Arm, *axes: str) -> tuple[tuple[str, str], ...]:
    return tuple((a, v) for a, v in (arm.cell or arm.levels).items() if a not in axes)


def combinations(study: Study, fixed: Mapping[str, str] | None = None) -> Iterator[Levels]:
    """All combinations of levels, the default's level first in each axis, the last axis varying fastest; where an axis
    takes no level it stands at the default's."""
    return cells(study.axes, study.default, fixed)


def make_arm(study: Study, cell: Levels, note: str = "") -> Arm:
    """The arm of a level of every axis; what takes no level there is left out of it."""
    levels = active_levels(study.axes, cell)
    overrides = [text for axis, level in levels.items() for text in study.axes[axis].levels[level]]
    name = arm_name(study, levels)
    return Arm(name, slugify(name), levels, tuple(overrides), note, cell)


def _full(study: Study) -> Design:
    if full_size(study) > MAX_ARMS:
        raise LavitError(
            f"{study.file}: design: full has {full_size(study)} combinations here, more than {MAX_ARMS}",
            "take levels out, or write design: one_at_a_time",
        )
    arms, removed = [], Removals()
    for levels in combinations(study):
        void = find_void(study.voids, levels)
        if void is not None:
            removed.add(void, levels)
        else:
            arms.append(make_arm(study, levels))
    return Design(tuple(arms), removed.collect())


def _one_at_a_time(study: Study) -> Design:
    others = [(a.name, level) for a in study.axes.values() for level in a.levels if level != study.default[a.name]]
    return neighbours(study, others)


def neighbours(study: Study, changes: Iterable[tuple[str, str]]) -> Design:
    """The default, and for each (axis, level) the default with that level, or the nearest valid arm, which says so."""
    arms, removed = [make_arm(study, dict(study.default))], Removals()
    for axis, level in changes:
        levels = {**study.default, axis: level}
        void = find_void(study.voids, levels)
        if void is None:
            arms.append(make_arm(study, levels))
            continue
        removed.add(void, levels)
        moved = _nearest_valid(study, axis, level)
        if moved is None or any(arm.cell == moved for arm in arms):
            continue
        extra = ", ".join(f"{a}={moved[a]}" for a in differences(moved, levels))
        note = f"{axis}={level} alone is void ({void.why}): nearest valid arm, {extra}"
        arms.append(make_arm(study, moved, note))
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
    name = study.default_arm
    named = study.arms.get(name, NamedArm({}))
    default = replace(make_arm(study, dict(study.default)), name=name, slug=slugify(name))
    default = replace(default, overrides=(*default.overrides, *named.also), also=named.also)
    return Design(tuple(_with_named(study, [default])), ())


def _with_named(study: Study, arms: Sequence[Arm]) -> list[Arm]:
    """The arms of a design and, after them, those that the study names."""
    out = list(arms)
    for name, named in study.arms.items():
        if name == study.default_arm:
            if named.also and not arms[0].also:
                raise LavitError(
                    f"{study.file}: arms.{name}.also: the default arm of design: {study.design} is one of its "
                    "combinations, and takes no further overrides",
                    "write them under the study's own `also`, or give the arm another name",
                )
            continue
        cell = {**study.default, **named.levels}
        void = find_void(study.voids, cell)
        if void is not None:
            raise LavitError(
                f"{study.file}: arms.{name}: is void: {void.describe()} ({void.why})",
                "take the arm or the rule out",
            )
        made = make_arm(study, cell)
        overrides = (*made.overrides, *named.also)
        arm = replace(made, name=name, slug=slugify(name), overrides=overrides, also=named.also)
        twin = next((a for a in out if a.overrides == arm.overrides), None)
        if twin is not None:
            raise LavitError(f"{study.file}: arms.{name}: is the same as the arm '{twin.name}'", "take one of them out")
        if any(a.name == name for a in out):
            raise LavitError(f"{study.file}: arms.{name}: another arm has that name", "give it a name of its own")
        out.append(arm)
    return out


class Removals:
    """Collects void combinations by rule, in the order in which they are met."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Void, list[Levels]]] = {}

    def add(self, void: Void, levels: Levels) -> None:
        self._found.setdefault(id(void), (void, []))[1].append(levels)

    def collect(self) -> tuple[Removed, ...]:
        return tuple(Removed(void, tuple(arms)) for void, arms in self._found.values() if not void.nested)


def _with_unique_slugs(arms: Iterable[Arm]) -> tuple[Arm, ...]:
    """Slugs that would be one file on a file system that ignores case get a digest of the name."""
    seen: dict[str, str] = {}
    out = []
    for arm in arms:
        slug = arm.slug
        if seen.setdefault(slug.lower(), arm.name) != arm.name:
            slug = marked(slug, arm.name)
        out.append(replace(arm, slug=slug))
    return tuple(out)


def _build(name: str, study: Study) -> Design:
    """Dispatch to `experiments.designs.NAME.build`: those designs load more than a plain one needs."""
    return import_module(f"experiments.designs.{name}").build(study)


_BUILDERS = {"full": _full, "one_at_a_time": _one_at_a_time, "arms": _named}
