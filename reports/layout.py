"""Lay a declared table out: its columns side by side, one row an arm, cited systems above them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reports.captions import BEST, BEST_GROUP, corrected, means_over, most_seeds, scaled
from reports.cited import cited_rows
from reports.claims import build_claims
from reports.columns import ColumnMaker
from reports.declare import SOURCES, Declaration
from reports.effects_table import build_effects
from reports.panels import build_panels
from reports.provenance import provenance
from reports.results import Results
from reports.score_columns import Made, sentence
from reports.table import Cell, Column, Row, Table


def build_tables(results: Results) -> list[Table]:
    """Every declared table that has something to show; `main` is always there."""
    behind = provenance(results.frame)
    made = [_build(results, declaration) for declaration in results.declarations]
    return [replace(table, provenance=behind) for table in made if table is not None]


def _build(results: Results, declaration: Declaration) -> Table | None:
    if declaration.effects:
        return build_effects(results, declaration)
    if declaration.claims:
        return build_claims(results, declaration)
    if declaration.panels:
        return build_panels(results, declaration)
    return _Builder(results, declaration).build()


@dataclass
class _Builder:
    results: Results
    declaration: Declaration

    def __post_init__(self) -> None:
        self.maker = ColumnMaker(self.results, self.declaration)
        self.notes = self.maker.notes
        self.study = self.results.frame.study
        self.arms = self.results.frame.arms
        self.absent: dict[str, list[str]] = {}  # why -> what no arm has

    def build(self) -> Table | None:
        made: Made = []
        for declared in self.declaration.columns:
            found = self.maker.make(declared)
            if not found:
                self._note_absent(str(next(declared[source] for source in SOURCES if source in declared)))
            made += found
        if not any(column.kind != "axis" for column, _ in made) and self.declaration.name != "main":
            return None
        columns = (Column("arm", "Arm", kind="text"), *(column for column, _ in made))
        cited = cited_rows(self.declaration.published, columns, self.notes)
        rows: list[Row] = []
        for arm in self.arms:
            cells = {"arm": self._arm(arm), **{column.key: cells[arm] for column, cells in made}}
            role = "default" if arm == self.study.default else "arm"
            rows.append(Row(arm, cells, role, rule=bool(cited) and not rows))
        return Table(
            self.declaration.name,
            self.declaration.title,
            self._caption(columns, rows, bool(cited)),
            columns,
            (*cited, *rows),
            self.notes.listed(),
            self.study.headline,
            self._footer(columns),
        )

    def _note_absent(self, label: str) -> None:
        """Remember why a declared column is left out, where every finished run says so."""
        name = label.partition("@")[0]
        if self.study.until and name.split("/")[0] not in {m.benchmark for m in self.results.scores.primary}:
            return  # such a study never asks for it
        arms = [arm for arm in self.arms if self.results.frame.done(arm)]
        reasons = list(dict.fromkeys(self.results.frame.why_skipped(arm, name) for arm in arms))
        if reasons and all(reasons):
            self.absent.setdefault("; ".join(reasons), []).append(label)

    def _footer(self, columns: tuple[Column, ...]) -> tuple[str, ...]:
        """By which rule each benchmark of the table was evaluated, and which of its columns no arm has."""
        labels = [column.key.split(".", 1)[-1] for column in columns if "/" in column.key]
        shown = dict.fromkeys(label.split("/")[0] for label in labels)
        lines = [self.results.frame.fingerprints.line(benchmark) for benchmark in shown]
        for why, names in self.absent.items():
            lines.append(f"In no arm: {', '.join(dict.fromkeys(names))}. {sentence(why)}")
        return tuple(line for line in lines if line)

    def _caption(self, columns: tuple[Column, ...], rows: list[Row], cited: bool) -> str:
        cells = [cell for row in rows for cell in row.cells.values()]
        parts = [f"{self.declaration.title}. {means_over(self.results, cells)}"]
        if any(cell.delta is not None and cell.delta.known for cell in cells):
            seeds = most_seeds(self.results)
            covers = "seeds and examples" if seeds > 1 else "examples only"
            parts.append(f"Δ: difference to the default (grey row) with its 95 % interval over {covers}, paired;")
            parts.append(f"coloured where significant after {corrected(self.maker.families, len(self.study.family))}.")
        if any(column.better for column in columns):
            parts.append(BEST_GROUP.format(row="arm") if self.maker.grouped else BEST)
        if cited:
            parts.append("Grey rows above the line are cited, not rerun: never ranked, never tested.")
        parts += scaled(columns)
        return " ".join(parts)

    def _arm(self, arm: str) -> Cell:
        done, planned = len(self.results.frame.done(arm)), len(self.results.frame.seeds)
        texts = []
        if done != planned:
            texts.append(f"{arm}: {'no finished run' if not done else f'{done} of {planned} seeds finished'}.")
        moved = (self.study.extra.get("notes") or {}).get(arm)
        if moved:
            texts.append(str(moved))
        return Cell(text=arm, notes=tuple(self.notes.letter(text) for text in texts))
