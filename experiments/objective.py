"""What a search goes by: one validation number that a stage leaves in the store, as the mean over a trial's seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments.errors import LavitError, did_you_mean
from experiments.stages import StageSpec
from experiments.store import Store, read_json

if TYPE_CHECKING:
    from experiments.plan import Plan, Run

_CURVES = ("history.jsonl", "curve.jsonl")  # where `val/...` stands; metrics.json has what is measured once, at the end


@dataclass(frozen=True)
class Objective:
    """`pretrain/val/vqa/accuracy`: the last value of `val/vqa/accuracy` that the stage `pretrain` left."""

    stage: str
    name: str
    direction: Literal["minimize", "maximize"]

    @property
    def text(self) -> str:
        """As the study file writes it."""
        return f"{self.stage}/{self.name}"

    def better(self, one: float, other: float) -> bool:
        """Whether one value beats another."""
        return one > other if self.direction == "maximize" else one < other

    @property
    def worst(self) -> float:
        """What a training that diverged counts as."""
        return -math.inf if self.direction == "maximize" else math.inf


def measured(folder: Path, spec_leaves_records: bool) -> dict[str, float]:
    """The validation numbers of a finished stage by name, the last of each curve.

    Training losses are none, and neither are the metrics of a stage that leaves records: those are the test split's,
    and what is chosen by them cannot be reported by them.
    """
    found: dict[str, float] = {}
    if not spec_leaves_records:
        metrics = read_json(folder / "metrics.json")
        found |= {name: float(value) for name, value in (metrics or {}).items() if _is_number(value)}
    for line in _lines(folder):
        if "name" in line and "value" in line:
            line = {line["name"]: line["value"]}
        found |= {name: float(v) for name, v in line.items() if name.startswith("val/") and _is_number(v)}
    return found


def curve(folder: Path, name: str) -> list[tuple[int, float]]:
    """The points (step, value) of a curve so far, also while its stage runs."""
    return [(int(line["step"]), float(line[name])) for line in _lines(folder) if _is_number(line.get(name))]


def read_objective(objective: Objective, store: Store, run: Run, specs: Mapping[str, StageSpec]) -> float:
    """The objective of one finished run; not finite where its training diverged without an error.

    Raises:
        LavitError: the stage left no such number; names the folder and what there is.
    """
    folder = store.folder(objective.stage, run.stage_keys[objective.stage])
    found = measured(folder, specs[objective.stage].leaves_records)
    if objective.name not in found:
        raise unknown_objective(objective, folder, found)
    return found[objective.name]


def check_objective(objective: Objective, plan: Plan, specs: Mapping[str, StageSpec], file: str) -> None:
    """Refuse an objective that no finished stage of that name in the store has, before anything is paid for."""
    leaves_records = specs[objective.stage].leaves_records
    shown: tuple[Path, dict[str, float]] | None = None
    for done in sorted((plan.store_dir / objective.stage).glob("*/DONE.json")):
        found = measured(done.parent, leaves_records)
        if objective.name in found:
            return
        shown = shown or (done.parent, found)
    if shown is not None:
        raise unknown_objective(objective, *shown, file)


def unknown_objective(
    objective: Objective, folder: Path, found: Mapping[str, Any], file: str = "the study"
) -> LavitError:
    """The error for a name that a stage does not measure."""
    listed = did_you_mean(objective.text, [f"{objective.stage}/{name}" for name in found])
    return LavitError(
        f"{file}: tune.objective: the stage '{objective.stage}' leaves no '{objective.name}' on the validation split "
        f"(looked in {folder}: {', '.join(_CURVES)}, metrics.json)",
        listed if found else "this stage measures nothing while it trains: name another",
    )


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    for name in _CURVES:
        path = folder / name
        if not path.is_file():
            continue
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # the last line of a curve that is being written
                continue
            if isinstance(line, dict):
                yield line


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
