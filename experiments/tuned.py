"""The best values of a search, as a file that other studies take them from: `<runs>/<search>/tuned.yaml`.

A study with `tuned: SEARCH` gives each arm the values that the search found for the arm with the same levels.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from experiments.axes import write_override
from experiments.design import Arm, Design
from experiments.errors import LavitError
from experiments.store import write_atomic

if TYPE_CHECKING:
    from experiments.planner import Planner
    from experiments.search import Search
    from experiments.study import Study

TUNED = "tuned.yaml"


def write_tuned(search: Search) -> Path:
    """Write the best values of each arm, complete or not."""
    objective, tune = search.tune.objective, search.tune
    arms: list[dict[str, Any]] = []
    for own in search.arms:
        best, default = own.record.best(objective), own.record.default
        arms.append(
            {
                "arm": own.arm.name,
                "levels": dict(own.arm.levels),
                "complete": best is not None and len(own.record.judged) >= tune.per_arm,
                "trials": len(own.record.judged),
                "values": dict(best.values) if best is not None else None,
                "objective": best.objective if best is not None else None,
                "trial": best.number if best is not None else None,
                "keys": dict(best.keys) if best is not None else {},
                "default": {"values": dict(own.default), "objective": default.objective if default else None},
                "context": own.record.context,
                "identity": own.record.identity,
            }
        )
    body = {
        "study": search.study.name,
        "scale": search.scale,
        "objective": objective.text,
        "direction": objective.direction,
        "sampler": tune.sampler,
        "per_arm": tune.per_arm,
        "seeds": list(search.study.seeds),
        "complete": all(arm["complete"] for arm in arms),
        "arms": arms,
    }
    head = "# The best values of each arm, found by a search; a study with `tuned: NAME` takes them from here.\n"
    path = search.folder / TUNED
    write_atomic(path, head + yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110))
    return path


@dataclass(frozen=True)
class Tuning:
    """The values that a search found, for the arms of another study."""

    study: str
    search: Search
    body: dict[str, Any]
    remarks: tuple[str, ...]

    def apply(self, study: Study, design: Design) -> Design:
        """The design with each arm's values as further overrides."""
        return replace(design, arms=tuple(self._tuned(study, arm) for arm in design.arms))

    def describe(self, study: Study, arm: Arm) -> str:
        """`optimizer.lr=0.0021 tuned: the best of 6 trials of search_lr (pretrain/val/vqa/accuracy 0.61)`."""
        entry = self.entry(study, arm.levels, arm.name)
        values = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in entry["values"].items())
        number = f"{self.body['objective']} {entry['objective']:.4g}"
        return f"{values}, the best of {entry['trials']} trials of {self.study} ({number})"

    def entry(self, study: Study, levels: Mapping[str, str], name: str) -> dict[str, Any]:
        """What the search found for the arm with these levels, its default's level where an axis is not among them."""
        default = self.search.study.default
        wanted = {axis: levels.get(axis, default[axis]) for axis in self.search.study.axes}
        found = next((arm for arm in self.body["arms"] if arm["levels"] == wanted), None)
        if found is None:
            text = ", ".join(f"{axis}={level}" for axis, level in wanted.items())
            raise LavitError(
                f"{study.file}: tuned: the search '{self.study}' has tuned no arm for '{name}' ({text})",
                f"add the level to {self.search.study.file} where it is missing, and run the search of all arms",
            )
        return found

    def _tuned(self, study: Study, arm: Arm) -> Arm:
        entry = self.entry(study, arm.levels, arm.name)
        overrides = [write_override(key, value) for key, value in entry["values"].items()]
        return arm if set(overrides) <= set(arm.overrides) else replace(arm, overrides=(*arm.overrides, *overrides))


def read_tuned(planner: Planner, study: Study, rest: Sequence[str]) -> Tuning:
    """Read what the study's search found.

    Raises:
        LavitError: there is no such search, it has not finished, or it was run at another scale; names the command
            that runs it.
    """
    from experiments.search import make_search
    from experiments.stages import stage_names
    from experiments.study import read_study

    name = str(study.tuned)
    known = planner.composer.options("study")
    if name not in known:
        raise LavitError(f"{study.file}: tuned: there is no study '{name}'", f"there is: {', '.join(known)}")
    other, other_rest = read_study(planner.composer, [f"study={name}", *rest], stage_names)
    if other.design != "search" or other.tune is None:
        raise LavitError(f"{study.file}: tuned: '{name}' is no search", "name a study with design: search")
    for axis in study.axes.values():
        keys = {text.split("=", 1)[0] for level in axis.levels.values() for text in level}
        if both := keys & {parameter.key for parameter in other.tune.space}:
            raise LavitError(
                f"{study.file}: axes.{axis.name}: sets {', '.join(both)}, which '{name}' tunes",
                "take the axis out, or the key out of the search",
            )
    search = make_search(planner, other, other_rest, [f"study={name}", *rest])
    command = shlex.join(["lavit", "run", f"study={name}", *rest])
    path = search.folder / TUNED
    body = _read(path, f"{study.file}: tuned: ", command)
    if body["scale"] != search.scale:
        raise LavitError(
            f"{study.file}: tuned: {path} was found at scale={body['scale']}, and this is scale={search.scale}",
            f"run `{command}` first",
        )
    now = {own.arm.name: own.record.identity for own in search.arms}
    stale = [arm["arm"] for arm in body["arms"] if now.get(arm["arm"], arm["identity"]) != arm["identity"]]
    remarks = []
    if stale:
        remarks.append(
            f"the search {name} ran with other code, data, settings or another space than now "
            f"({', '.join(stale)}): `{command}` tunes anew"
        )
    return Tuning(name, search, body, tuple(remarks))


def _read(path: Path, where: str, command: str) -> dict[str, Any]:
    if not path.is_file():
        raise LavitError(f"{where}the search has not run: there is no {path}", f"run `{command}` first")
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
        complete, arms = body["complete"], [(arm["levels"], arm["values"]) for arm in body["arms"]]
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise LavitError(f"{where}{path} is not a file of tuned values", f"run `{command}` again") from error
    if not complete or not arms:
        counts = "; ".join(f"{arm['arm']}: {arm['trials']} of {body['per_arm']} trials" for arm in body["arms"])
        raise LavitError(f"{where}the search has not finished ({counts}): {path}", f"run `{command}` first")
    return dict(body)


def tuned_lines(tuned: Mapping[str, str]) -> list[str]:
    """One line an arm, for plan and report."""
    return [f"{arm}: {text}" for arm, text in tuned.items()]
