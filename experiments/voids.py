"""Void combinations: levels that mean nothing together, each with the reason why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Void:
    """A rule that removes arms. `when` maps an axis to the levels that it covers; all listed axes must match."""

    when: dict[str, tuple[str, ...]]
    why: str

    def matches(self, levels: Mapping[str, str]) -> bool:
        """Whether an arm with these levels (axis -> level) is void by this rule."""
        return all(levels.get(axis) in covered for axis, covered in self.when.items())

    def describe(self) -> str:
        """`regime=adapter & target=continuous`, several levels of one axis joined by `|`."""
        return " & ".join(f"{axis}={'|'.join(covered)}" for axis, covered in self.when.items())


def find_void(voids: tuple[Void, ...], levels: Mapping[str, str]) -> Void | None:
    """Return the first rule that makes these levels void, or None."""
    return next((void for void in voids if void.matches(levels)), None)
