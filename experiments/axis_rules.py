"""What holds between the axes of a study: none undoes another, each level composes, the command line narrows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from experiments.axes import Axis, level_name
from experiments.compose import Composer, parse_overrides
from experiments.errors import Complaint, LavitError, did_you_mean


def try_levels(axis: Axis, axes: Mapping[str, Axis], composer: Composer, complain: Complaint) -> None:
    """Compose each level once, where the axis exists, so that a wrong key or value is told by its place in the file."""
    if axis.kind == "group":
        return  # its levels are known to exist
    for level, overrides in axis.levels.items():
        try:
            composer.compose([*_around(axis, axes), *overrides])
        except LavitError as error:
            where = f"axes.{axis.name}.{'key' if axis.kind == 'key' else level}"
            raise complain(where, error.message, error.hint) from error


def _around(axis: Axis, axes: Mapping[str, Axis]) -> list[str]:
    """Overrides of an arm in which the axis exists."""
    return [text for parent, allowed in axis.only_if.items() for text in axes[parent].levels[allowed[0]]]


def refuse_overlap(axes: Mapping[str, Axis], complain: Complaint) -> None:
    """Two axes that set the same key would each undo the other, unless no arm has both."""
    owners: dict[str, list[Axis]] = {}
    for axis in axes.values():
        for override in parse_overrides([text for level in axis.levels.values() for text in level]):
            others = owners.setdefault(override.key_or_group, [])
            if axis in others:
                continue
            if clash := next((other for other in others if not _exclude_each_other(axis, other)), None):
                raise complain(
                    f"axes.{axis.name}", f"sets '{override.key_or_group}', as the axis '{clash.name}' does",
                    "let one axis set it, or make the pair one axis that maps a level to several overrides",
                )  # fmt: skip
            others.append(axis)


def _exclude_each_other(one: Axis, other: Axis) -> bool:
    """Whether the conditions of two axes never hold together."""
    shared = one.only_if.keys() & other.only_if.keys()
    return any(not set(one.only_if[axis]) & set(other.only_if[axis]) for axis in shared)


def narrow(axes: dict[str, Axis], composer: Composer, overrides: Sequence[str]) -> tuple[dict[str, Axis], list[str]]:
    """Hold axes at the one level that an override names; return them and the overrides that do no such thing."""
    inside = {
        override.key_or_group: axis.name
        for axis in axes.values()
        for override in parse_overrides([text for level in axis.levels.values() for text in level])
        if axis.kind == "map"
    }
    rest, narrowed = [], dict(axes)
    for override in parse_overrides(overrides):
        text, key = str(override.input_line), override.key_or_group
        if key == "seed":
            raise LavitError(f"'{text}': a study has seeds of its own", "write study.seeds=[1]")
        if key in inside:
            raise LavitError(
                f"'{text}': the axis '{inside[key]}' sets this key itself",
                f"narrow the axis instead: {inside[key]}=LEVEL",
            )
        touched = [axis for axis in axes.values() if key == (axis.name if axis.kind == "map" else axis.key)]
        if not touched or override.is_delete():
            rest.append(text)
            continue
        name = level_name(override.value())
        for axis in touched:
            if axis.kind != "map":
                composer.compose(
                    [*_around(axis, axes), text]
                )  # an unknown level is refused, with the nearest right one
            elif name not in axis.levels:
                hint = did_you_mean(name, axis.levels)
                raise LavitError(f"'{text}': the axis '{axis.name}' has no level '{name}'", hint)
            narrowed[axis.name] = replace(axis, levels={name: axis.levels.get(name, (text,))}, narrowed=True)
    return {name: _without_choice(axis, narrowed) for name, axis in narrowed.items()}, rest


def _without_choice(axis: Axis, axes: Mapping[str, Axis]) -> Axis:
    """The axis; held at one level where the command line left no arm in which it exists."""
    gone = [p for p, allowed in axis.only_if.items() if not any(level in allowed for level in axes[p].levels)]
    if gone and axis.narrowed:
        raise LavitError(
            f"{axis.name}={axis.default}: the axis '{axis.name}' has levels only where {axis.describe_condition()}, "
            f"and {gone[0]} is {axes[gone[0]].default}",
            "take one of the two overrides out",
        )
    return replace(axis, levels={axis.default: axis.levels[axis.default]}, narrowed=True) if gone else axis
