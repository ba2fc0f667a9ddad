"""What a design may be given in a study file: `design: {fraction: 8, estimate: [main]}` and the like."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from experiments.axes import Axis
from experiments.errors import Complaint, did_you_mean

OPTIONS = {"leave_one_out": (), "cumulative": (), "fraction": ("estimate",)}  # design -> keys beside its own
_FRACTION = 'write design: {fraction: NUMBER OF ARMS}, or {fraction: 8, estimate: [main, "llm*tokens"]}'


def read_options(design: str, value: Any, axes: Mapping[str, Axis], complain: Complaint) -> dict[str, Any]:
    """Check what a design was given.

    Returns:
        `leave_one_out`: {"off": {axis: level}}; `cumulative`: {"order": [axis, ...]}; `fraction`: {"arms": n,
        "terms": ["llm", ..., "llm*tokens", ...]}.
    """
    node = value if isinstance(value, dict) else {design: None}
    for key in node:
        if key != design and key not in OPTIONS[design]:
            raise complain(f"design.{key}", "unknown key", did_you_mean(key, (design, *OPTIONS[design])))
    own = node[design]
    if design == "fraction":
        return _fraction(own, node.get("estimate"), axes, complain)
    if own is None:
        return {}
    if design == "leave_one_out":
        if not isinstance(own, dict):
            raise complain(f"design.{design}", f"{own!r} is not a mapping of axes to levels", "write {llm: frozen}")
        return {"off": {_axis(a, axes, design, complain): _level(axes[a], v, design, complain) for a, v in own.items()}}
    if not isinstance(own, list) or not own:
        raise complain(f"design.{design}", f"{own!r} is no order of axes", "write {cumulative: [llm, tokens]}")
    order = [_axis(axis, axes, design, complain) for axis in own]
    if len(set(order)) != len(order):
        raise complain(f"design.{design}", f"{own!r} names an axis twice", "each axis is added once")
    return {"order": order}


def _fraction(arms: Any, estimate: Any, axes: Mapping[str, Axis], complain: Complaint) -> dict[str, Any]:
    if not isinstance(arms, int) or isinstance(arms, bool) or arms < 2:
        raise complain("design.fraction", f"{arms!r} is no number of arms from 2", _FRACTION)
    asked = ["main"] if estimate is None else [estimate] if isinstance(estimate, str) else estimate
    if not isinstance(asked, list) or not asked or not all(isinstance(term, str) for term in asked):
        raise complain("design.estimate", f"{estimate!r} is no list of terms", _FRACTION)
    varied = [axis.name for axis in axes.values() if len(axis.levels) > 1]
    terms = list(varied)  # an interaction means nothing without its main effects
    for text in asked:
        if text == "main":
            continue
        if text == "two_way":
            terms += ["*".join(pair) for pair in itertools.combinations(varied, 2)]
            continue
        pair = [part.strip() for part in text.split("*")]
        if len(pair) != 2 or pair[0] == pair[1]:
            hint = 'write main, two_way, or two axes: "llm*tokens"'
            raise complain("design.estimate", f"{text!r} is no term of the model", hint)
        for axis in pair:
            _axis(axis, axes, "estimate", complain)
        if all(axis in varied for axis in pair):  # narrowed axes interact with nothing
            terms.append("*".join(sorted(pair, key=list(axes).index)))
    return {"arms": arms, "terms": list(dict.fromkeys(terms))}


def _axis(name: Any, axes: Mapping[str, Axis], key: str, complain: Complaint) -> str:
    if not isinstance(name, str) or name not in axes:
        raise complain(f"design.{key}", f"there is no axis {name!r}", did_you_mean(name, axes))
    return name


def _level(axis: Axis, value: Any, key: str, complain: Complaint) -> str:
    return axis.read_level(value, f"design.{key}.{axis.name}", complain)
