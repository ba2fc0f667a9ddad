"""The table of one evaluation: each metric with its controls, how it came about, and what is absent and why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.store import read_json

_ORDER = ("vision_off", "shuffled", "text_prior", "ceiling", "undecoded")
DIGITS = 6  # of a fingerprint that are shown, as in reports


def read_result(folder: Path) -> dict[str, Any]:
    """What an evaluation left, as plain data: identity, metrics, fingerprints, and what is absent."""
    names = {"metrics": "metrics.json", "absent": "skipped.json", "protocol": "protocol.json"}
    found = {name: read_json(folder / file) or {} for name, file in names.items()}
    identity = (read_json(folder / "eval.json") or {}).get("identity", {})
    return {**found, "identity": identity, "fingerprints": {k: fingerprint(v) for k, v in found["protocol"].items()}}


def fingerprint(protocol: Mapping[str, Any]) -> str:
    """The first digits of a benchmark's fingerprint: equal ones may stand in one column."""
    known = protocol.get("fingerprint")
    if isinstance(known, Mapping):
        return str(known["hash"])[:DIGITS]
    return hashlib.sha256(json.dumps(protocol, sort_keys=True).encode()).hexdigest()[:DIGITS]


def _line(protocol: Mapping[str, Any]) -> str:
    """How a benchmark's numbers came about, in words."""
    known = protocol.get("fingerprint")
    if not isinstance(known, Mapping):
        return str(protocol.get("protocol", ""))
    return f"{known['line']}; {known['hygiene']}" if known.get("hygiene") else str(known["line"])


def render(result: Mapping[str, Any], markdown: bool = False, kinds: bool = False) -> str:
    """The table as text for a console, or as Markdown.

    Args:
        result: from :func:`read_result`.
        markdown: Markdown instead of aligned columns.
        kinds: also the metrics of single kinds of questions (``accuracy.colour``).
    """
    metrics, identity = result["metrics"], result["identity"]
    rows: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        metric, _, control = name.partition("@")
        if kinds or "." not in metric.partition("/")[2]:
            rows.setdefault(metric, {})[control] = value
    controls = [c for c in dict.fromkeys(c for row in rows.values() for c in row) if c and c not in _ORDER]
    columns = [c for c in (*_ORDER, *controls) if any(c in row for row in rows.values())]
    body = [["metric", "value", *columns, "fingerprint"]]
    for metric, row in rows.items():
        mark = result["fingerprints"].get(metric.partition("/")[0], "")
        body.append([metric, *(_number(row.get(column)) for column in ("", *columns)), mark])
    body += [[name, "-", *("" for _ in columns), ""] for name in result["absent"]]
    lines = [_title(identity), "", *(_markdown(body) if markdown else _aligned(body))]
    told = [f"- {name} ({result['fingerprints'][name]}): {_line(body)}" for name, body in result["protocol"].items()]
    lines += ["", "how they came about:", *told] if told else []
    if result["absent"]:
        lines += ["", "absent:", *_reasons(result["absent"])]
    return "\n".join(lines) + "\n"


def _reasons(absent: Mapping[str, str]) -> list[str]:
    """Why cells are absent, each reason once."""
    names: dict[str, list[str]] = {}
    for name, why in absent.items():
        names.setdefault(why, []).append(name)
    return [f"- {', '.join(group)}: {why}" for why, group in names.items()]


def _title(identity: Mapping[str, Any]) -> str:
    limit = identity.get("limit")
    trial = f"; a trial run on at most {limit} examples of each benchmark" if limit is not None else ""
    suite = (identity.get("suite") or {}).get("name")
    name, mark, seed = (identity.get(key) for key in ("checkpoint", "fingerprint", "seed"))
    return f"{name} ({mark}) on suite {suite}, seed {seed}{trial}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _aligned(body: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in body) for column in range(len(body[0]))]
    return [
        "  ".join(
            cell.ljust(width) if place in (0, len(row) - 1) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in body
    ]


def _markdown(body: list[list[str]]) -> list[str]:
    rule = "|---|" + "---:|" * (len(body[0]) - 2) + "---|"
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in body]
    return [lines[0], rule, *lines[1:]]
