"""The stages as data: what the `stages` node of the config declares, checked and put in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.errors import LavitError, did_you_mean
from experiments.key import select

EVALUATE = "evaluate"  # the stage that leaves the records of a run that goes to the end
_KEYS = ("run", "needs", "reads", "seeded", "closes", "unless_null")


@dataclass(frozen=True)
class StageSpec:
    """One stage: the function that runs it, what it needs, and the only parts of the config that it may
    read."""

    name: str
    run: str  # dotted path of a function
    needs: tuple[str, ...]  # other stages
    reads: tuple[str, ...]  # dotted config keys
    seeded: bool
    closes: str | None = None  # it runs only where a study stops at this stage
    unless_null: str | None = None  # dotted config key; a run whose config holds null there has no such stage

    def belongs_to(self, config: Mapping[str, Any]) -> bool:
        """Whether a run with this resolved config has the stage at all."""
        if self.unless_null is None:
            return True
        try:
            return select(config, self.unless_null) is not None
        except KeyError:
            return False

    @property
    def leaves_records(self) -> bool:
        """Whether it leaves one record an example, and its metrics under their own names: what a report is made of."""
        return self.closes is not None or self.name == EVALUATE


def read_stages(node: Any, until: str | None = None) -> dict[str, StageSpec]:
    """Return the stages of a plan by name, each after all that it needs.

    Args:
        node: the config's `stages`.
        until: keep this stage, what it needs, directly or not, and the stage that closes it; None keeps all but those
            that close another.
    """
    specs = read_all_stages(node)
    if until is None:
        names = [name for name, spec in specs.items() if spec.closes is None]
    else:
        names = [until, *(name for name, spec in specs.items() if spec.closes == until)]
    order: dict[str, StageSpec] = {}
    _visit(specs, names, order, ())
    return order


def read_all_stages(node: Any) -> dict[str, StageSpec]:
    """Return every declared stage by name, in the order of the config, closing ones among them."""
    if not isinstance(node, Mapping) or not node:
        raise LavitError(f"stages in the config: {node!r} are no stages", "see conf/config.yaml")
    specs = {str(name): _read_stage(str(name), body, node) for name, body in node.items()}
    _check_closing(specs)
    return specs


def stage_names(config: Mapping[str, Any]) -> list[str]:
    """Names of the stages at which a study may stop, in order: all but those that close another."""
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
        str(body["closes"]) if body.get("closes") is not None else None,
        str(body["unless_null"]) if body.get("unless_null") is not None else None,
    )


def _check_closing(specs: Mapping[str, StageSpec]) -> None:
    """A closing stage closes a stage that any plan may hold, it alone, and no other stage needs it."""
    open_ended = [name for name, spec in specs.items() if spec.closes is None]
    closed: dict[str, str] = {}
    for name, spec in specs.items():
        wrong = next((need for need in spec.needs if need not in open_ended), None)
        if wrong is not None:
            raise LavitError(
                f"stages.{name}.needs names '{wrong}', which closes '{specs[wrong].closes}'",
                "a closing stage runs only where a study stops, so no other stage can need it",
            )
        if spec.closes is None:
            continue
        if spec.closes not in open_ended:
            hint = did_you_mean(spec.closes, open_ended)
            raise LavitError(f"stages.{name}.closes names '{spec.closes}', which is no stage to stop at", hint)
        if closed.setdefault(spec.closes, name) != name:
            raise LavitError(
                f"stages.{name}.closes: '{spec.closes}' is closed by '{closed[spec.closes]}' already",
                "one stage leaves the records of a run",
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
