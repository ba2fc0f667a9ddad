"""What the jobs of a stage are expected to cost together: a line of the plan's price table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.plan import StageJob


@dataclass(frozen=True)
class StagePrice:
    """What the jobs of a stage are expected to cost: fewest and most of one job, and FLOPs of all."""

    trained: tuple[float, float]  # parameters that learn
    positions: tuple[float, float]
    flops: tuple[float, float]
    memory: tuple[float, float]  # bytes at the peak of a training step
    flops_all: float  # of all jobs, shared ones once
    flops_left: float  # of those that are not done


def stage_price(jobs: list[StageJob]) -> StagePrice | None:
    """What jobs cost; None where one of them is not priced, or none trains anything."""
    ledgers = [job.ledger for job in jobs]
    if not all(ledgers) or not any(ledger.get("flops") for ledger in ledgers):
        return None

    def span(values: list[float]) -> tuple[float, float]:
        return min(values), max(values)

    return StagePrice(
        span([ledger.get("params_trainable", 0) for ledger in ledgers]),
        span([ledger.get("positions", 0) for ledger in ledgers]),
        span([ledger.get("flops", 0.0) for ledger in ledgers]),
        span([job.memory.get("peak", 0) for job in jobs]),
        sum(ledger.get("flops", 0.0) for ledger in ledgers),
        sum(ledger.get("flops", 0.0) for job, ledger in zip(jobs, ledgers, strict=True) if not job.done),
    )
