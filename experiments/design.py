"""From axes to arms: designs are pure functions of a study."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.study import Study
from experiments.voids import Void


@dataclass(frozen=True)
class Arm:
    """One combination of levels: what a row of the table is."""

    name: str  # the difference from the default, `default` for the default itself
    slug: str  # the name as a file name
    levels: dict[str, str]  # axis -> level
    overrides: tuple[str, ...]  # Hydra overrides that make it, the study's `also` included
    note: str = ""  # said where the design had to move this arm


@dataclass(frozen=True)
class Removed:
    """Arms that a void rule took out of the design."""

    void: Void
    arms: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Design:
    """The arms of a study, the default first, and what was removed."""

    arms: tuple[Arm, ...]
    removed: tuple[Removed, ...]


def expand(study: Study, design: str | None = None) -> Design:
    """Return the arms of a study (under another design when `design` names one)."""
    raise NotImplementedError
