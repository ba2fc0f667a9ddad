"""Published numbers: `reports/published/NAME.yaml`, one file a source, and the grey rows that cite them.

A file holds `source` (authors, title, venue, arxiv, table, optionally url), `scale` (metric -> by how much its stored
unit is multiplied to give the printed figure), optionally `note` (the protocol of all of them), and `systems`: name,
values (`benchmark/metric` -> the figure as printed) and optionally notes (what differs of this one). Or `claims`
instead of `systems`, see `reports.claims`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from experiments.errors import LavitError, did_you_mean
from reports.table import Cell, Column, Footnotes, Row

KEYS = ("source", "note", "scale", "systems", "claims")
SOURCE = ("authors", "title", "venue", "arxiv", "table", "url")


@dataclass(frozen=True)
class System:
    """A published system: its numbers in stored units by `benchmark/metric`, and what sets it apart."""

    name: str
    values: dict[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """One source and what it printed."""

    name: str
    source: dict[str, str]
    note: str
    systems: tuple[System, ...]
    claims: tuple[dict[str, Any], ...] = ()

    @property
    def reference(self) -> str:
        """`Jin et al., ICLR 2024, arXiv:2309.04669, README ...`."""
        parts = [self.source["authors"], self.source["venue"]]
        parts += [f"arXiv:{self.source['arxiv']}"] if self.source.get("arxiv") else []
        return ", ".join([*parts, self.source["table"]])


@lru_cache(maxsize=32)
def read_published(name: str) -> Published:
    """Read one source.

    Raises:
        LavitError: there is no such file, or it has an unknown key, no source, or a metric without a scale.
    """
    folder = files("reports.published")
    known = sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))
    if name not in known:
        raise LavitError(f"no published numbers '{name}' in reports/published", did_you_mean(name, known))
    return parse_published(name, folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8"))


def parse_published(name: str, text: str) -> Published:
    """Read the text of one source's file."""
    where = f"reports/published/{name}.yaml"
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LavitError(f"{where} is not readable YAML: {error}") from error
    if not isinstance(raw, Mapping):
        raise LavitError(f"{where} holds no mapping", f"its keys are {', '.join(KEYS)}")
    for key in raw:
        if key not in KEYS:
            raise LavitError(f"{where}: unknown key '{key}'", did_you_mean(key, KEYS))
    source = {str(k): str(v) for k, v in (raw.get("source") or {}).items()}
    missing = [key for key in ("authors", "title", "venue", "table") if not source.get(key)]
    if missing:
        raise LavitError(f"{where}: its source lacks {', '.join(missing)}", "a number without a source is not cited")
    scale = {str(k): float(v) for k, v in (raw.get("scale") or {}).items()}
    systems = []
    for system in raw.get("systems") or []:
        values = {}
        for label, printed in system["values"].items():
            metric = str(label).rpartition("/")[2]
            if metric not in scale:
                raise LavitError(f"{where}: scale says nothing of '{metric}'", "write 1 where it is stored as printed")
            values[str(label)] = float(printed) / scale[metric]
        systems.append(System(str(system["name"]), values, tuple(map(str, system.get("notes") or ()))))
    claims = tuple(dict(claim) for claim in raw.get("claims") or ())
    return Published(name, source, " ".join(str(raw.get("note") or "").split()), tuple(systems), claims)


def cited_rows(names: Sequence[str], columns: Sequence[Column], notes: Footnotes) -> list[Row]:
    """A row for every system of these sources that has a number in one of the columns.

    Axes and cost stay blank (unknown); a score that was not published is a dash.
    """
    rows = []
    for published in map(read_published, names):
        letter = ""
        for system in published.systems:
            values = {column.key: system.values.get(label_of(column)) for column in columns}
            if all(value is None for value in values.values()):
                continue
            text = f"Cited from {published.reference}; not rerun: other data, model sizes and compute. {published.note}"
            letter = letter or notes.letter(text.strip())
            marks = (letter, *(notes.letter(note) for note in system.notes))
            cells = {column.key: _cell(column, values[column.key]) for column in columns}
            cells[columns[0].key] = Cell(text=system.name, notes=marks)
            rows.append(Row(system.name, cells, "cited"))
    return rows


def label_of(column: Column) -> str:
    """`coco/CIDEr` of the columns `score.coco/CIDEr` and `metric.coco/CIDEr`; "" of any other."""
    source, _, label = column.key.partition(".")
    return label if source in ("score", "metric") else ""


def _cell(column: Column, value: float | None) -> Cell:
    if value is not None:
        return Cell(mean=value)
    return Cell() if column.kind in ("axis", "cost", "text") else Cell(absent=True)
