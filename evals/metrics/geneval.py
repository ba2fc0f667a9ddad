"""GenEval: does an image hold the objects that its prompt names, so many, so coloured, so placed?

Ghosh et al. 2023, "GenEval", section 3, with the thresholds of the authors' code: detections count above a confidence
of 0.3 (0.9 where objects are counted), the 16 surest of a class at most, and boxes may overlap. Only as many of the
surest objects of a class are looked at as the prompt names; their colours and places alone are judged.

A box is (left, top, right, bottom) in pixels, y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

VERSION = "geneval-1"
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
CONFIDENCE, COUNTING_CONFIDENCE, MOST = 0.3, 0.9, 16
_NEAR = 0.1  # of the two boxes' sizes: nearer centres stand in no relation
_DIRECTION = 0.5  # of the distance, along an axis, to be called by its name

Box = Sequence[float]
Colouring = Callable[[str, int], str]
"""(class, place of the object among the class's detections) → colour."""


@dataclass(frozen=True)
class Detection:
    """An object that a detector found: its box, how sure it is, and its place among all detections of the class."""

    box: tuple[float, float, float, float]
    confidence: float
    place: int


@dataclass(frozen=True)
class Judgement:
    """Whether an image is right; if not, why, one line an unmet demand in the words of the authors' code."""

    correct: bool
    reason: str


def keep(detections: Mapping[str, Sequence[Sequence[float]]], tag: str) -> dict[str, list[Detection]]:
    """The detections that count, the surest first; classes without any are left out.

    Args:
        detections: class → rows (left, top, right, bottom, confidence).
        tag: the prompt's kind; ``counting`` asks for more confidence.
    """
    least = COUNTING_CONFIDENCE if tag == "counting" else CONFIDENCE
    kept = {}
    for name, rows in detections.items():
        # Of equally sure ones the later first, as the authors' reversed ascending order has it.
        order = sorted(range(len(rows)), key=lambda place, rows=rows: (rows[place][4], place), reverse=True)  # type: ignore[misc]
        sure = [place for place in order if rows[place][4] > least][:MOST]
        if sure:
            kept[name] = [Detection(_box(rows[place]), float(rows[place][4]), place) for place in sure]
    return kept


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes whose right and bottom edges are pixels of theirs."""
    shared = _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    union = _area(a) + _area(b) - shared
    return shared / union if union else 0.0


def relations(a: Box, b: Box) -> list[str]:
    """How ``a`` stands to ``b``: of left of, right of, above, below those that hold; none where they are too near."""
    offset = [(a[axis] + a[axis + 2] - b[axis] - b[axis + 2]) / 2 for axis in (0, 1)]
    clear = []
    for axis in (0, 1):
        slack = _NEAR * (abs(a[axis + 2] - a[axis]) + abs(b[axis + 2] - b[axis]))
        clear.append(math.copysign(max(abs(offset[axis]) - slack, 0.0), offset[axis]))
    if all(abs(part) < 1e-3 for part in clear):
        return []
    distance = math.hypot(*offset)
    x, y = clear[0] / distance, clear[1] / distance
    held = {"left of": x < -_DIRECTION, "right of": x > _DIRECTION, "above": y < -_DIRECTION, "below": y > _DIRECTION}
    return [name for name, holds in held.items() if holds]


def judge(metadata: Mapping[str, Any], kept: Mapping[str, Sequence[Detection]], colour_of: Colouring) -> Judgement:
    """Hold an image's detections against its prompt's demands.

    Args:
        metadata: a line of GenEval's prompt file: ``include`` (all of them, each ``class``, ``count`` and perhaps
            ``color`` or ``position``: [relation, which earlier demand]) and ``exclude`` (none of them).
        kept: from :func:`keep`.
        colour_of: names an object's colour.
    """
    unmet: list[str] = []
    groups: list[Sequence[Detection] | None] = []  # the objects that met each demand
    for demand in metadata.get("include", []):
        found = kept.get(demand["class"], [])[: demand["count"]]
        trouble = _missing(demand, found, colour_of)
        if trouble is None and "position" in demand:
            trouble = _misplaced(demand, found, groups)
        groups.append(found if trouble is None else None)
        if trouble is not None:
            unmet.append(trouble)
    for demand in metadata.get("exclude", []):
        count = len(kept.get(demand["class"], []))
        if count >= demand["count"]:
            unmet.append(f"expected {demand['class']}<{demand['count']}, found {count}")
    return Judgement(not unmet, "\n".join(unmet))


def summarise(tags: Sequence[str], prompts: Sequence[str], correct: Sequence[bool]) -> dict[str, Any]:
    """The totals of the authors' summary, as shares of 1.

    Args:
        tags: the kind of each image's prompt.
        prompts: what tells prompts apart; several images may be of one.
        correct: whether each image is right.

    Returns:
        ``overall`` (mean over kinds), ``by_tag``, ``images`` and ``prompts`` (right for at least one image): shares;
        ``n_images`` and ``n_prompts``.
    """
    known = [tag for tag in TAGS if tag in tags] + [tag for tag in dict.fromkeys(tags) if tag not in TAGS]
    by_tag = {tag: _mean([right for own, right in zip(tags, correct, strict=True) if own == tag]) for tag in known}
    solved: dict[str, bool] = {}
    for prompt, right in zip(prompts, correct, strict=True):
        solved[prompt] = solved.get(prompt, False) or right
    return {
        "overall": _mean(list(by_tag.values())),
        "by_tag": by_tag,
        "images": _mean(correct),
        "prompts": _mean(list(solved.values())),
        "n_images": len(correct),
        "n_prompts": len(solved),
    }


def _missing(demand: Mapping[str, Any], found: Sequence[Detection], colour_of: Colouring) -> str | None:
    """What lacks in number or colour."""
    name, count = demand["class"], demand["count"]
    if len(found) < count:
        return f"expected {name}>={count}, found {len(found)}"
    if "color" in demand:
        seen = [colour_of(name, item.place) for item in found]
        if seen.count(demand["color"]) < count:
            others = ", ".join(f"{seen.count(colour)} {colour}" for colour in COLOURS if colour in seen)
            wanted = demand["color"]
            return f"expected {wanted} {name}>={count}, found {seen.count(wanted)} {wanted}; and {others}"
    return None


def _misplaced(
    demand: Mapping[str, Any], found: Sequence[Detection], groups: Sequence[Sequence[Detection] | None]
) -> str | None:
    """The first object that does not stand to every one of its target as it should."""
    name, (wanted, target) = demand["class"], demand["position"]
    others = groups[target]
    if others is None:
        return f"no target for {name} to be {wanted}"
    for item in found:
        for other in others:
            held = relations(item.box, other.box)
            if wanted not in held:
                return f"expected {name} {wanted} target, found {' and '.join(held)} target"
    return None


def _box(row: Sequence[float]) -> tuple[float, float, float, float]:
    return float(row[0]), float(row[1]), float(row[2]), float(row[3])


def _area(box: Box) -> float:
    return max(box[2] - box[0] + 1, 0) * max(box[3] - box[1] + 1, 0)


def _mean(values: Sequence[float] | Sequence[bool]) -> float:
    return sum(values) / len(values)
