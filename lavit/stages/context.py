"""What a stage is given, and the only way in which it touches the world outside its own folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig


def ignore_progress(step: int, total: int, metrics: dict[str, float]) -> None:
    """Report progress to nobody: the default of a stage that is run by hand."""


def never() -> bool:
    """Nobody asks this stage to stop: the default of a stage that is run by hand."""
    return False


class Preempted(Exception):
    """The stage was asked to stop, has saved where it is, and goes on from there when it is started again."""


@dataclass(frozen=True)
class StageContext:
    """Everything a stage may depend on: its declared config, its seed and the folders of what it needs.

    Attributes:
        stage: name of the stage, e.g. ``pretrain``.
        config: only the subtrees that the stage declares in ``reads``; resolved and read-only, so that
            reading anything undeclared fails instead of silently escaping the content key.
        seed: the run's seed (0 for a stage that is not seeded).
        inputs: finished folder of each stage named in ``needs``.
        out: the folder to fill. It may hold ``resume/`` from an interrupted attempt, to be gone on from.
        progress: called as ``progress(step, total, metrics)``; cheap, throttled by the receiver.
        stop_requested: true once the stage should end soon (the machine is wanted back, the time limit is near). A
            stage that looks at it after each step saves its state into ``out/resume`` and raises :class:`Preempted`;
            one that never looks is interrupted at its next call of ``progress``.
    """

    stage: str
    config: DictConfig
    seed: int
    inputs: dict[str, Path]
    out: Path
    progress: Callable[[int, int, dict[str, float]], None] = field(default=ignore_progress)
    stop_requested: Callable[[], bool] = field(default=never)
