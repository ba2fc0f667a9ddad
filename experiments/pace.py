"""How long stages take, learned from finished ones; where nothing is finished, a rough figure that says so.

A finished stage counts when it has the same name and scale. Of those, the ones whose config differs in the
fewest values are taken (an adapter is timed by adapters once there is one), and their median is the estimate.
Where nothing but the number of steps differs, times are scaled by steps; else by FLOPs, measured and priced.
"""

from __future__ import annotations

import heapq
import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from experiments.compose import leaves

if TYPE_CHECKING:
    from experiments.plan import StageJob

_NEWEST = 8  # finished folders looked at per stage: parsing YAML is what costs
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Finished:
    """A finished stage: how long it took, at which scale, for how many steps, with which config."""

    seconds: float
    scale: str
    steps: float | None
    leaves: frozenset[tuple[str, str]]
    flops: float = 0.0  # measured; 0 where none were


class Pace:
    """Estimates wall seconds of stages on one core.

    Args:
        store: the folder of finished stages.
        scale: the config's `scale` node: its `name`, `seconds.<stage>` (rough) and `steps.<stage>` (what they
            are for).
        choice: the name of the scale.
    """

    def __init__(self, store: Path, scale: Any, choice: str):
        self.store = store
        self.choice = choice
        node = scale if isinstance(scale, Mapping) else {}
        rough, steps = node.get("seconds"), node.get("steps")
        self._rough: Mapping[str, Any] = rough if isinstance(rough, Mapping) else {}
        self._steps: Mapping[str, Any] = steps if isinstance(steps, Mapping) else {}
        self._finished: dict[str, list[Finished]] = {}

    def estimate(self, stage: str, config: Mapping[str, Any], flops: float | None = None) -> tuple[float | None, str]:
        """Return the expected seconds and where they come from ("measured (n)", "rough" or "").

        Args:
            stage: its name.
            config: its config.
            flops: what it is priced at, if that is known.
        """
        steps = planned_steps(stage, config)
        finished = [f for f in self._of(stage) if f.scale == self.choice]
        if finished:
            own = _leaves(config)
            distance = [len(own ^ f.leaves) for f in finished]
            near = [f for f, d in zip(finished, distance, strict=True) if d == min(distance)]
            by_flops = bool(flops) and min(distance) > 0 and all(f.flops for f in near)
            ratios = [_ratio(flops, f.flops) if by_flops else _ratio(steps, f.steps) for f in near]
            times = [f.seconds * ratio for f, ratio in zip(near, ratios, strict=True)]
            return statistics.median(times), f"measured ({len(near)}{', by FLOPs' if by_flops else ''})"
        rough = self._rough.get(stage)
        if not isinstance(rough, int | float):
            return None, ""
        return float(rough) * _ratio(steps, self._steps.get(stage)), "rough"

    def _of(self, stage: str) -> list[Finished]:
        if stage not in self._finished:
            done = sorted(self.store.glob(f"{stage}/*/DONE.json"), key=lambda p: p.stat().st_mtime, reverse=True)
            read = (read_finished(path.parent) for path in done[:_NEWEST])
            self._finished[stage] = [f for f in read if f is not None]
        return self._finished[stage]


def read_finished(folder: Path) -> Finished | None:
    """Read what a finished folder says about its time; None where it says too little to learn from."""
    try:
        done = json.loads((folder / "DONE.json").read_text())
        request = yaml.load((folder / "request.yaml").read_text(), Loader=_Loader)
        config = request["config"]
        return Finished(
            float(done["wall_s"]),
            str(request.get("scale", "")),
            planned_steps(folder.parent.name, config),
            _leaves(config),
            _measured_flops(folder),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return None  # an estimate may do without it; `lavit status` is what judges the store


def _measured_flops(folder: Path) -> float:
    try:
        return float(json.loads((folder / "ledger.json").read_text()).get("flops", 0.0))
    except (OSError, ValueError, AttributeError, TypeError):
        return 0.0  # not every stage keeps a ledger


def _ratio(wanted: float | None, there: float | None) -> float:
    return wanted / there if wanted and there else 1.0


def planned_steps(stage: str, config: Mapping[str, Any]) -> float | None:
    """Optimizer steps that a stage's config asks for: `<stage>.steps`, or else `train.steps`."""
    for name in (stage, "train"):
        node = config.get(name)
        steps = node.get("steps") if isinstance(node, Mapping) else None
        if isinstance(steps, int | float) and not isinstance(steps, bool) and steps > 0:
            return float(steps)
    return None


def makespan(jobs: Iterable[StageJob], workers: int) -> float:
    """Wall seconds that unfinished jobs take on so many cores, each started as soon as it can be.

    Jobs come in topological order; those of unknown time count nothing.
    """
    free = [0.0] * max(1, workers)
    ended: dict[tuple[str, str], float] = {}
    for job in jobs:
        if job.done:
            ended[job.stage, job.key] = 0.0
            continue
        ready = max((ended.get((stage, key), 0.0) for stage, key in job.needs.items()), default=0.0)
        start = max(ready, heapq.heappop(free))
        ended[job.stage, job.key] = start + (job.seconds or 0.0)
        heapq.heappush(free, ended[job.stage, job.key])
    return max(ended.values(), default=0.0)


def _leaves(config: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    return frozenset((key, repr(value)) for key, value in leaves(config) if not key.endswith(".steps"))
