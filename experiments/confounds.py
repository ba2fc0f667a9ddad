"""The confound guard: proof that the arms of a study differ in their axes and seed only.

Every arm's resolved config is compared, leaf by leaf, with the default arm's at the same seed. A leaf may differ only
where an override of the arm's levels set it (the axis' own group or key), or in a node that repeats such a group whole
(`tokenizer.merger: ${merger}`). A single value that follows an axis by interpolation is named in the result, and so is
what an arm's own `also` sets in a study that has axes: a contrast of the axis is then one of that setting as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from experiments.key import select
from experiments.plan import Plan, Run

_ABSENT = object()
#: What never counts: where things are written, what a trunk keeps on its way, and the study's own text.
_IGNORED = ("runs", "tracking", "study", "seed", "job", "stages", "incidental", "unpriced", "train.branches")


def leaves(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All (dotted path, value) of a plain config; an empty list or dict is a value."""
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(config, list) and config:
        for index, value in enumerate(config):
            yield from leaves(value, f"{path}.{index}")
    else:
        yield path, config


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Dotted paths at which two configs differ, types included (1 is not True, and not 1.0)."""
    a, b = dict(leaves(one)), dict(leaves(other))
    paths = dict.fromkeys([*a, *b])
    return [p for p in paths if _differ(a.get(p, _ABSENT), b.get(p, _ABSENT))]


def _differ(a: Any, b: Any) -> bool:
    return type(a) is not type(b) or a != b


def allowed(plan: Plan, run: Run) -> tuple[str, ...]:
    """Paths that the run's and the default's levels set: the nodes in which a difference is the study's own.

    Overrides that the engine adds to an arm (a matched budget) count as its levels'; an arm's own ``also`` does not,
    unless the study has no axes, and named arms are all that it compares.
    """
    paths: list[str] = []
    for name, axis in plan.study.axes.items():
        levels = [axis.levels.get(run.levels.get(name, ""), ()), axis.levels.get(plan.study.default.get(name, ""), ())]
        paths += [path for overrides in levels for path in map(override_path, overrides)]
    if (arm := plan.arms.get(run.arm)) is not None:
        also = arm.also if plan.study.axes else ()
        paths += [override_path(override) for override in arm.overrides if override not in also]
    return tuple(dict.fromkeys(paths))


def override_path(override: str) -> str:
    """The config node that an override sets: ``+tokens@x=..`` sets ``x``, ``hydra/group`` style slashes are dots."""
    key = override.split("=", 1)[0].lstrip("+~")
    group, _, package = key.partition("@")
    return (package or group).replace("/", ".")


def _within(path: str, nodes: tuple[str, ...]) -> bool:
    return any(path == node or path.startswith(f"{node}.") for node in nodes)


def find_confounds(plan: Plan) -> list[dict[str, Any]]:
    """Differences between arms that no axis explains; an empty list is the proof that there are none.

    Returns:
        One entry per run and path: ``{"arm", "seed", "path", "default", "value"}``, and ``"set_by"`` where an arm's
        own ``also`` sets it.
    """
    first = next(iter(plan.arms), "")
    reference = {run.seed: run for run in plan.runs if run.arm == first}
    dropped = _dropped_nodes(plan)
    branches = {branch.arm for branch in plan.branches}  # each is another arm at another budget, and named so
    found = []
    for run in plan.runs:
        twin = reference.get(run.seed)
        if twin is None or twin is run or run.arm in branches:
            continue
        nodes = (*allowed(plan, run), *dropped)
        nodes = (*nodes, *_copies(run.config, twin.config, nodes))
        mine, theirs = dict(leaves(run.config)), dict(leaves(twin.config))
        for path in differing(run.config, twin.config):
            if not _within(path, _IGNORED) and not _within(path, nodes):
                value, default = mine.get(path, "(absent)"), theirs.get(path, "(absent)")
                entry = {"arm": run.arm, "seed": run.seed, "path": path, "default": default, "value": value}
                found.append(entry | _set_by(plan, (run.arm, first), path))
    return found


def _set_by(plan: Plan, arms: tuple[str, ...], path: str) -> dict[str, str]:
    """Which of the arms' own ``also`` sets a path."""
    names = [name for name in arms if _within(path, tuple(map(override_path, plan.arms[name].also)))]
    return {"set_by": f"also of the arm {' and '.join(names)}"} if names else {}


def _copies(one: Mapping[str, Any], other: Mapping[str, Any], nodes: tuple[str, ...]) -> list[str]:
    """Paths at which both configs hold the very mapping that they hold at one of the nodes: what interpolates it."""
    found = []
    for node in nodes:
        wanted = _select(one, node), _select(other, node)
        if all(isinstance(value, Mapping) and value for value in wanted):
            paths = [p for p in _mappings(one) if _select(one, p) == wanted[0] and _select(other, p) == wanted[1]]
            found += [path for path in paths if path != node]
    return found


def _mappings(config: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            below = f"{path}.{key}" if path else str(key)
            yield below
            yield from _mappings(value, below)


def _select(config: Mapping[str, Any], path: str) -> Any:
    try:
        return select(config, path)
    except KeyError:
        return None


def _dropped_nodes(plan: Plan) -> tuple[str, ...]:
    """Nodes that the void rules take away or set in some arms: the arm has no such part there, or no such choice."""
    return tuple(dict.fromkeys(node for rule in plan.rules for node in (*rule.drop, *rule.set)))
