"""The best sub-design that fits a budget of wall time: `lavit plan --budget 2h`.

Candidates are the study's own design and others over the same axes, each with all of the study's seeds and with fewer.
Each is priced like the plan itself: shared stages once, finished ones not at all, wall time on so many cores. The best
is the one that estimates most main effects, and of those the one that detects the smallest: see `experiments.offers`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from experiments.design import full_size
from experiments.designs.fraction import needed_arms, valid_arms
from experiments.errors import LavitError
from experiments.offers import MOST_ARMS, MOST_CANDIDATES, Offer, fraction_sizes, offer, with_design
from experiments.plan import Plan
from experiments.stages import stage_names
from experiments.study import Study, read_study

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0, "": 1.0}
_SEEDS = 6  # numbers of seeds that are tried


@dataclass(frozen=True)
class Candidate:
    """A sub-design with its price in wall time."""

    offer: Offer
    wall_seconds: float
    fits: bool

    @property
    def rank(self) -> tuple[float, ...]:
        """Sorts the best first: main effects lost, smallest effect detected, wall time."""
        worst = self.offer.worst
        return (len(self.offer.lost), worst if worst is not None else float("inf"), self.wall_seconds)


@dataclass(frozen=True)
class Budget:
    """Candidates for a budget, the best first; those that fit come before those that do not."""

    seconds: float
    workers: int
    candidates: tuple[Candidate, ...]
    command: tuple[str, ...]  # the command line without the offer's own overrides

    @property
    def best(self) -> Candidate | None:
        """The best candidate that fits; None where none does."""
        return next((candidate for candidate in self.candidates if candidate.fits), None)

    @property
    def cheapest(self) -> Candidate:
        """The candidate that takes the least wall time."""
        return min(self.candidates, key=lambda candidate: candidate.wall_seconds)

    def command_of(self, candidate: Candidate) -> str:
        """The command line that runs a candidate, and plans to the very same arms."""
        return shlex.join(["lavit", "run", *self.command, *candidate.offer.overrides])

    def to_dict(self) -> dict[str, Any]:
        """All candidates as plain data."""
        return {
            "seconds": self.seconds,
            "workers": self.workers,
            "best": self.command_of(self.best) if self.best is not None else None,
            "candidates": [
                {
                    **asdict(candidate.offer),
                    "worst": candidate.offer.worst,
                    "wall_seconds": candidate.wall_seconds,
                    "fits": candidate.fits,
                    "command": self.command_of(candidate),
                }
                for candidate in self.candidates
            ],
        }


def read_duration(text: str) -> float:
    """Seconds of `2h`, `90m`, `1h30m`, `1d`, `30s` or plain `7200`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(min|[dhms]?)", text.strip().lower())
    whole = "".join(f"{number}{unit}" for number, unit in parts)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not parts or whole != re.sub(r"\s+", "", text.lower()) or not seconds > 0:
        raise LavitError(f"--budget {text}: is no time", "write 2h, 90m, 1h30m, 1d, 30s, or seconds")
    return seconds


def propose(
    plan: Plan, seconds: float, workers: int, config_dir: Path | None = None, runs_dir: Path | None = None
) -> Budget:
    """Return the sub-designs of a plan that a budget could buy, best first.

    Args:
        plan: the study's plan.
        seconds: the budget, in wall seconds.
        workers: cores that it is spent on.
        config_dir: the Hydra config folder that the plan was made with.
        runs_dir: the folder of all output that the plan was made with, if not the config's.

    Raises:
        LavitError: the time of a stage is not known, so that nothing can be priced.
    """
    from experiments.planner import Planner

    unknown = [summary.stage for summary in plan.stage_summaries() if summary.seconds_left is None]
    if unknown:
        raise LavitError(
            f"--budget: the time of {', '.join(unknown)} is not known at this scale: nothing of it has finished here",
            "run one arm first, or give the scale its `seconds`",
        )
    planner = Planner(config_dir, runs_dir, count=False)
    study, rest = read_study(planner.composer, plan.overrides, stage_names)
    found: dict[tuple[str, ...], Candidate] = {}
    for other in _sub_designs(study):
        plans: list[Plan] = []

        def price(asked: Study, plans: list[Plan] = plans) -> Plan:
            plans.append(planner.price(asked, rest))
            return plans[-1]

        try:
            made = offer(other, study, price)
        except LavitError:
            continue  # a design that this study cannot have, for the reason that `lavit plan` gives when asked for it
        wall = plans[-1].wall_seconds(workers)
        found.setdefault(made.overrides, Candidate(made, wall, wall <= seconds))
    ordered = sorted(found.values(), key=lambda candidate: (not candidate.fits, *candidate.rank))
    return Budget(seconds, workers, tuple(ordered), tuple(plan.overrides))


def _sub_designs(study: Study) -> Iterator[Study]:
    for design in _designs(study):
        for seeds in _fewer(study.seeds):
            yield replace(design, seeds=seeds)


def _designs(study: Study) -> Iterator[Study]:
    yield study
    varied = [axis for axis in study.axes.values() if len(axis.levels) > 1]
    if len(varied) < 2 or study.design == "arms":
        return
    size = full_size(study)
    if study.design != "full" and size <= MOST_ARMS:
        yield with_design(study, "full")
    if study.design != "one_at_a_time":
        yield with_design(study, "one_at_a_time")
    if size <= MOST_CANDIDATES:
        valid = valid_arms(study)
        for arms in fraction_sizes(needed_arms(replace(study, design_options={}), valid), len(valid)):
            yield with_design(study, "fraction", arms)


def _fewer(seeds: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """All seeds, and fewer, down to two: one says nothing about training runs."""
    counts = range(len(seeds), 1, -1)
    step = max(1, -(-len(counts) // _SEEDS))
    for count in [*counts[::step]] or [1]:
        yield tuple(seeds[:count])
