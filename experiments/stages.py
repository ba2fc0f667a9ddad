"""The stages as data: what the `stages` node of the config declares, checked and put in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.errors import LavitError, did_you_mean

_KEYS = ("run", "needs", "reads", "seeded")


@dataclass(frozen=True)
class StageSpec:
    """One stage: the function that runs it, what it needs, and the only parts of the config that it may
    read."""

    name: str
    run: str  # dotted path of a function
    needs: tuple[str, ...]  # other stages
    reads: tuple[str, ...]  # dotted config keys
    seeded: bool


def read_stages(node: Any, until: str | None = None) -> dict[str, StageSpec]:
    """Return the stages by name, each after all that it needs.

    Args:
        node: the config's `stages`.
        until: keep this stage and what it needs, directly or not; None keeps all.
    """
    if not isinstance(node, Mapping) or not node:
        raise LavitError(f"stages in the config: {node!r} are no stages", "see conf/config.yaml")
    specs = {str(name): _read_stage(str(name), body, node) for name, body in node.items()}
    order: dict[str, StageSpec] = {}
    _visit(specs, list(specs) if until is None else [until], order, ())
    return order


def stage_names(config: Mapping[str, Any]) -> list[str]:
    """Names of all stages of a config, in order."""
    return list(read_stages(config.get("stages")))


def _read_stage(name: str, body: Any, stages: Mapping[Any, Any]) -> StageSpec:
    if not isinstance(body, Mapping):
        raise LavitError(f"stages.{name} in the config: {body!r} is not a stage", f"it needs {', '.join(_KEYS)}")
    for key in body:
        if key not in _KEYS:
            raise LavitError(f"stages.{name}.{key} in the config: unknown key", did_you_mean(key, _KEYS))
    for need in body.get("needs") or []:
        if need not in stages:
            raise LavitError(f"stages.{name}.needs names '{need}', which is not a stage", did_you_mean(need, stages))
    if not isinstance(body.get("run"), str) or not body.get("reads"):
        raise LavitError(f"stages.{name} in the config needs `run` (a dotted path) and `reads` (config keys)")
    return StageSpec(
        name,
        body["run"],
        tuple(body.get("needs") or ()),
        tuple(body["reads"]),
        bool(body.get("seeded", True)),
    )


def _visit(
    specs: Mapping[str, StageSpec], names: list[str], order: dict[str, StageSpec], above: tuple[str, ...]
) -> None:
    """Depth first: a stage comes after what it needs; the config's order decides among equals."""
    for name in names:
        if name in above:
            raise LavitError(f"stages in the config need each other in a circle: {' -> '.join([*above, name])}")
        if name not in order:
            _visit(specs, list(specs[name].needs), order, (*above, name))
            order[name] = specs[name]
