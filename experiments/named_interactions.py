"""The interactions that a study names before it runs: a family of their own, apart from those that are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.axes import Axis
from experiments.errors import Complaint, did_you_mean


def read_interactions(value: Any, axes: Mapping[str, Axis], complain: Complaint) -> tuple[tuple[str, str], ...]:
    """Pairs of axes, each checked against the study's.

    Args:
        value: what the file has under `interactions`.
        axes: the study's axes.
        complain: makes the error, with file and place.
    """
    if value is None:
        return ()
    how = "write pairs of axes: [[tokens, llm]]"
    if not isinstance(value, list) or not value:
        raise complain("interactions", f"{value!r} is not a list of pairs", how)
    found: list[tuple[str, str]] = []
    for place, pair in enumerate(value):
        at = f"interactions[{place}]"
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(axis, str) for axis in pair):
            raise complain(at, f"{pair!r} is not a pair of axes", how)
        first, second = pair
        for axis in (first, second):
            if axis not in axes:
                raise complain(at, f"there is no axis '{axis}'", did_you_mean(axis, axes))
        if first == second:
            raise complain(at, f"'{first}' stands twice", "an interaction is of two different axes")
        if {first, second} in [set(known) for known in found]:
            raise complain(at, f"{first} and {second} are named twice", "name each pair once")
        found.append((first, second))
    return tuple(found)
