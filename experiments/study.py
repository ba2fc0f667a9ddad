"""A study: a question and the arms that answer it, read from conf/study/NAME.yaml and checked before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from experiments.voids import Void


@dataclass(frozen=True)
class Axis:
    """What varies: a name and its levels, each a list of Hydra overrides. The first level is the default."""

    name: str
    levels: dict[str, tuple[str, ...]]  # level name -> overrides that make it
    kind: str = "group"  # group | key | map

    @property
    def default(self) -> str:
        """The level of the default arm."""
        return next(iter(self.levels))


@dataclass(frozen=True)
class NamedArm:
    """An arm that a study names itself: some levels, and any further overrides."""

    levels: dict[str, str]
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """A checked study file; see `read_study` for what is checked."""

    name: str
    question: str
    design: str  # full | one_at_a_time | arms
    axes: dict[str, Axis]
    voids: tuple[Void, ...]
    seeds: tuple[int, ...]
    headline: str  # benchmark/metric
    default: dict[str, str]  # axis -> level of the arm that the others are compared with
    family: tuple[str, ...] | None = None  # arms whose p-values are corrected together; None: every arm but the default
    margin: float | None = None  # smallest difference of the headline that matters, in its own units
    sd_seed: float | None = None  # between-seed SD of the headline from a pilot: detectable effects in its units
    arms: dict[str, NamedArm] = field(default_factory=dict)
    until: str | None = None  # last stage that is run
    also: tuple[str, ...] = ()  # overrides that hold in every arm
    file: str = ""  # where it was read, for messages
