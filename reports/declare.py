"""Read table declarations: `conf/table/NAME.yaml` declares one table, and a new file is a new table.

A declaration holds `title`, `order` and `columns`; each column names exactly one source:

    axes: true | [AXIS, ...]        a column for each axis of the study
    ledger: ITEM                    cost, summed (or `reduce: max`) over `stages`, by default the arm's own
    tokens: [BENCHMARK, ...]        mean visual tokens in the records of the first benchmark that counts them
    headline: true                  the study's headline, as the table that names it shows it
    score: BENCHMARK/NAME           a score, or a part of one, with its difference to the default
    slices: BENCHMARK/NAME          a column for each kind of example
    equal_flops: BENCHMARK/NAME     its value at equal training FLOPs, read from the validation curve
    equal_budget: true              the headline against the study's reference at the budget that it matches
    control: BENCHMARK/NAME@CONTROL the score of a control
    gap: BENCHMARK/NAME@CONTROL     score less control, with its interval
    metric: NAME                    a run's metric
    rest: true                      a column for every benchmark that no table names

and may add `group, label, hint, scale, decimals, better: higher|lower, unit: si, delta: false, needs: ITEM`.
`match` flags levels whose metric should agree; `statements` are sentences that the findings always contain.
`until: STAGE` keeps a table for studies that stop at that stage, `until: end` for those that stop nowhere.
`bold: best_group` (the default) prints in bold the best of a column and every arm that is not told from it, `bold:
best` the best alone. `published: [NAME, ...]` puts cited rows above, from `reports/published/NAME.yaml`.
Instead of one row an arm, `panels: axes` makes a small table for each axis, one row a level, of the first `most`
columns that were measured; `effects: [main, interactions, arms]` one row a comparison of the headline; and `claims:
NAME` one row a statement of `reports/published/NAME.yaml` beside what this study found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.errors import LavitError, did_you_mean

SOURCES = (
    "axes", "ledger", "tokens", "score", "headline", "slices", "equal_flops", "equal_budget", "control", "gap",
    "metric", "rest",
)  # fmt: skip
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
KEYS = (
    "title", "order", "until", "columns", "match", "statements", "bold", "published", "panels", "most", "effects",
    "claims",
)  # fmt: skip
BOLD = ("best_group", "best")
EFFECTS = ("main", "interactions", "arms")
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
    bold: str = "best_group"
    published: tuple[str, ...] = ()
    panels: str = ""
    most: int = 3
    effects: tuple[str, ...] = ()
    claims: str = ""

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
    rows = [key for key in ("effects", "claims") if isinstance(raw, Mapping) and raw.get(key)]
    if not isinstance(raw, Mapping) or not (rows or isinstance(raw.get("columns"), list)):
        raise LavitError(f"{path} declares no columns", f"a table has the keys {', '.join(KEYS)}")
    for key in raw:
        if key not in KEYS:
            raise LavitError(f"{path}: unknown key '{key}'", did_you_mean(key, KEYS))
    bold, effects = str(raw.get("bold", BOLD[0])), _names(raw.get("effects"))
    if bold not in BOLD:
        raise LavitError(f"{path}: bold is '{bold}'", f"one of {', '.join(BOLD)}")
    for name in effects:
        if name not in EFFECTS:
            raise LavitError(f"{path}: effects names '{name}'", f"one or more of {', '.join(EFFECTS)}")
    if raw.get("panels") not in (None, "axes"):
        raise LavitError(f"{path}: panels is '{raw['panels']}'", "panels: axes makes one for each axis")
    columns = raw.get("columns") or []
    for column in columns:
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
        columns=tuple(dict(column) for column in columns),
        match=raw.get("match"),
        statements=tuple(raw.get("statements") or ()),
        until=str(raw["until"]) if raw.get("until") is not None else None,
        bold=bold,
        published=_names(raw.get("published")),
        panels=str(raw.get("panels") or ""),
        most=int(raw.get("most", 3)),
        effects=effects,
        claims=str(raw.get("claims") or ""),
    )


def _names(declared: Any) -> tuple[str, ...]:
    """One name or several, as YAML gives them."""
    if not declared:
        return ()
    return (str(declared),) if isinstance(declared, str) else tuple(str(name) for name in declared)
