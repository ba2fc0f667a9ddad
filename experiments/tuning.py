"""What a study file says about a search: `tune`, and the options of `design: {search: tpe, ...}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.axes import Axis
from experiments.compose import Composer
from experiments.errors import Complaint, did_you_mean
from experiments.objective import Objective
from experiments.search_space import Parameter, grid_size, read_space
from experiments.stages import StageSpec

SAMPLERS = ("tpe", "gp", "grid", "random", "qmc")
PRUNERS = ("none", "median")
OVER = ("full", "one_at_a_time")
_KEYS = ("per_arm", "space", "objective", "direction")
_OPTIONS = ("search", "seed", "startup", "batch", "pruner", "storage", "over")
_AT_ONCE = ("grid", "random", "qmc")  # what they try next depends on no result


@dataclass(frozen=True)
class Tune:
    """A search: every arm gets `per_arm` trials of its own over one space.

    Attributes:
        per_arm: trials of each arm, the default values' trial included.
        space: what is tuned.
        objective: what is compared, as the mean over the study's seeds.
        sampler: tpe, gp, grid, random or qmc.
        seed: of the sampler.
        startup: the first trials of an arm, in which no result has a part: the default's, then points spread evenly.
        batch: trials that an arm is given at once, and that are told to the sampler in the order of their numbers:
            what is tried depends on this number, and on nothing that differs between two machines.
        pruner: median ends a training that is below the median of the arm's finished trials at the same step.
        storage: an SQLAlchemy URL, `journal`, or None for a sqlite file in the study's folder.
        over: the design of the arms that are tuned.
    """

    per_arm: int
    space: tuple[Parameter, ...]
    objective: Objective
    sampler: str = "tpe"
    seed: int = 0
    startup: int = 1
    batch: int = 1
    pruner: str = "none"
    storage: str | None = None
    over: str = "full"

    def at_once(self, asked: int) -> int:
        """How many trials an arm that was given so many is given next."""
        if self.sampler in _AT_ONCE:
            return self.per_arm - asked
        return min(self.startup - asked if asked < self.startup else self.batch, self.per_arm - asked)


def read_tune(
    node: Any,
    options: Mapping[str, Any],
    axes: Mapping[str, Axis],
    composer: Composer,
    overrides: Sequence[str],
    stages: Mapping[str, StageSpec],
    complain: Complaint,
) -> Tune:
    """Read and check `tune` and the options of `design: {search: SAMPLER, ...}`."""
    if not isinstance(node, dict):
        raise complain("tune", f"{node!r}: a search needs it", "write tune: {per_arm: 6, space: ..., objective: ...}")
    for key in node:
        if key in ("seed", "seeds"):
            raise complain(f"tune.{key}", "a seed is never tuned", "write seeds: N beside tune: the mean is taken")
        if key not in _KEYS:
            raise complain(f"tune.{key}", "unknown key", did_you_mean(key, _KEYS))
    for key in options:
        if key not in _OPTIONS:
            raise complain(f"design.{key}", "unknown option of a search", did_you_mean(key, _OPTIONS))
    sampler = _one_of(options.get("search", "tpe"), SAMPLERS, "design.search", complain)
    space = read_space(node.get("space"), axes, composer, overrides, complain)
    per_arm = _per_arm(node.get("per_arm"), sampler, space, complain)
    startup = options.get("startup", max(3, per_arm // 3))
    storage = options.get("storage")
    if storage is not None and not (storage == "journal" or (isinstance(storage, str) and "://" in storage)):
        raise complain(
            "design.storage", f"{storage!r} is no storage", "write journal, or a URL such as postgresql://host/name"
        )
    return Tune(
        per_arm=per_arm,
        space=space,
        objective=_objective(node.get("objective"), node.get("direction"), stages, complain),
        sampler=sampler,
        seed=_whole(options.get("seed", 0), 0, "design.seed", complain),
        startup=min(per_arm, _whole(startup, 1, "design.startup", complain)),
        batch=_whole(options.get("batch", 1), 1, "design.batch", complain),
        pruner=_one_of(options.get("pruner", "none"), PRUNERS, "design.pruner", complain),
        storage=storage,
        over=_one_of(options.get("over", "full"), OVER, "design.over", complain),
    )  # fmt: skip


def _objective(value: Any, direction: Any, stages: Mapping[str, StageSpec], complain: Complaint) -> Objective:
    hint = "write STAGE/NAME of a number on the validation split, for example pretrain/val/vqa/accuracy"
    if not isinstance(value, str) or not value.strip("/").count("/"):
        raise complain("tune.objective", "missing" if value is None else f"{value!r} is no objective", hint)
    stage, _, name = value.strip("/").partition("/")
    if stage not in stages:
        raise complain("tune.objective", f"there is no stage '{stage}'", did_you_mean(stage, stages))
    if name.startswith("train/"):
        raise complain("tune.objective", f"'{name}' is measured on what was trained on", hint)
    if stages[stage].leaves_records and not name.startswith("val/"):
        raise complain(
            "tune.objective",
            f"'{name}' of the stage '{stage}' is measured on the test split: what is chosen by it cannot be reported",
            hint,
        )
    if direction not in ("minimize", "maximize"):
        raise complain(
            "tune.direction",
            "missing" if direction is None else f"{direction!r}",
            "write direction: maximize, or direction: minimize",
        )
    return Objective(stage, name, direction)


def _per_arm(value: Any, sampler: str, space: Sequence[Parameter], complain: Complaint) -> int:
    size = grid_size(space)
    if sampler == "grid":
        endless = [parameter.key for parameter in space if parameter.grid() is None]
        if size is None:
            raise complain(f"tune.space.{endless[0]}", "a grid needs points: N here", "or a step, or choices: [...]")
        if value is not None and value != size:
            raise complain(
                "tune.per_arm", f"{value!r}, but the grid has {size} points", f"write {size}, or leave it out"
            )
        return size
    number = _whole(value, 1, "tune.per_arm", complain)
    if size is not None and number > size:
        raise complain(
            "tune.per_arm", f"{number} trials, but the space has {size} points", "write design: {search: grid}"
        )
    return number


def _whole(value: Any, low: int, where: str, complain: Complaint) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= 10_000:
        problem = "missing" if value is None else f"{value!r}"
        raise complain(where, problem, f"write a whole number from {low}")
    return value


def _one_of(value: Any, known: Sequence[str], where: str, complain: Complaint) -> str:
    value = "none" if value is None and "none" in known else value
    if not isinstance(value, str) or value not in known:
        raise complain(where, f"there is no {value!r}", did_you_mean(value, known))
    return value
