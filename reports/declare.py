"""Read table declarations: `conf/table/NAME.yaml` declares one table, and a new file is a new table.

A declaration holds `title`, `order` and `columns`; each column names exactly one source:

    axes: true | [AXIS, ...]        a column for each axis of the study
    ledger: ITEM                    cost, summed (or `reduce: max`) over `stages`, by default the arm's own
    tokens: [BENCHMARK, ...]        mean visual tokens in the records of the first benchmark that counts them
    score: BENCHMARK/NAME           a score, or a part of one, with its difference to the default
    slices: BENCHMARK/NAME          a column for each kind of example
    equal_flops: BENCHMARK/NAME     its value at equal training FLOPs, read from the validation curve
    control: BENCHMARK/NAME@CONTROL the score of a control
    gap: BENCHMARK/NAME@CONTROL     score less control, with its interval
    metric: NAME                    a run's metric
    rest: true                      a column for every benchmark that no table names

and may add `group, label, hint, scale, decimals, better: higher|lower, unit: si, delta: false, needs: ITEM`.
`match` flags levels whose metric should agree; `statements` are sentences that the findings always contain.
`until: STAGE` keeps a table for studies that stop at that stage, `until: end` for those that stop nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.errors import LavitError, did_you_mean

SOURCES = ("axes", "ledger", "tokens", "score", "slices", "equal_flops", "control", "gap", "metric", "rest")
OPTIONS = (
    "group",
    "label",
    "hint",
    "scale",
    "decimals",
    "better",
    "unit",
    "delta",
    "needs",
    "stages",
    "reduce",
)
KEYS = ("title", "order", "until", "columns", "match", "statements")
END = "end"


@dataclass(frozen=True)
class Display:
    """How a measure is shown: its name, the factor to its stored unit, decimals, and which way is better."""

    name: str
    scale: float
    decimals: int
    better: str = "higher"


@dataclass(frozen=True)
class Declaration:
    """One declared table."""

    name: str
    title: str
    order: int
    columns: tuple[dict[str, Any], ...]
    match: dict[str, Any] | None
    statements: tuple[dict[str, Any], ...]
    until: str | None = None

    def applies(self, until: str | None) -> bool:
        """Whether the table is for studies that stop at a stage (None: that stop nowhere)."""
        return self.until is None or self.until == (until or END)

    def column(self, label: str) -> dict[str, Any] | None:
        """What the table declares of the score `benchmark/name`; None where it has no column of it."""
        own = (column for column in self.columns if label in (column.get("score"), column.get("metric")))
        return next(own, None)

    def display(self, label: str) -> Display | None:
        """How this table shows the measure `benchmark/name`; None where it has no column of it."""
        column = self.column(label)
        if column is None:
            return None
        group, own = str(column.get("group", "")), str(column.get("label", ""))
        name = own if own[:1].isupper() else f"{group} {own}".strip()
        return Display(name, float(column.get("scale", 1)), decimals(column), str(column.get("better", "higher")))

    def benchmarks(self) -> set[str]:
        """The benchmarks that this table names."""
        named = set()
        for column in self.columns:
            for source in ("score", "slices", "equal_flops", "control", "gap", "metric"):
                if source in column:
                    named.add(str(column[source]).split("/")[0])
        return named


def decimals(column: Mapping[str, Any]) -> int:
    """Decimals of a column; one unless it says otherwise."""
    return int(column.get("decimals", 1))


def default_folder() -> Path:
    """The project's own `conf/table`."""
    return Path(__file__).resolve().parent.parent / "conf" / "table"


def read_declarations(folder: Path | None = None) -> list[Declaration]:
    """Every declared table, by `order`.

    Raises:
        LavitError: a file is no YAML mapping, or has an unknown key or source.
    """
    found = [_read(path) for path in sorted((folder or default_folder()).glob("*.yaml"))]
    return sorted(found, key=lambda d: (d.order, d.name))


def _read(path: Path) -> Declaration:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise LavitError(f"{path} is not readable YAML: {error}") from error
    if not isinstance(raw, Mapping) or not isinstance(raw.get("columns"), list):
        raise LavitError(f"{path} declares no columns", f"a table has the keys {', '.join(KEYS)}")
    for key in raw:
        if key not in KEYS:
            raise LavitError(f"{path}: unknown key '{key}'", did_you_mean(key, KEYS))
    for column in raw["columns"]:
        if not isinstance(column, Mapping):
            raise LavitError(f"{path}: a column is '{column}'", "write a mapping with one source")
        for key in column:
            if key not in SOURCES and key not in OPTIONS:
                raise LavitError(f"{path}: unknown key '{key}' in a column", did_you_mean(key, SOURCES + OPTIONS))
        if sum(source in column for source in SOURCES) != 1:
            raise LavitError(f"{path}: a column needs exactly one source: {dict(column)}", ", ".join(SOURCES))
    return Declaration(
        name=path.stem,
        title=str(raw.get("title", path.stem)),
        order=int(raw.get("order", 99)),
        columns=tuple(dict(column) for column in raw["columns"]),
        match=raw.get("match"),
        statements=tuple(raw.get("statements") or ()),
        until=str(raw["until"]) if raw.get("until") is not None else None,
    )
