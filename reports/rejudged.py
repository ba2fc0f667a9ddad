"""The table of a study whose drawings were judged again after another pixel decoder painted them.

Read from a folder of the minimal contract (``study.yaml``, ``records/``), whose records carry what the first judgement
gave of the same example in ``aux``, under ``before_<name>``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from reports.contrast import contrast
from reports.frame import load
from reports.measure import Cube, Measure, Scores
from reports.table import Cell, Column, Row, Table

BEFORE = "before_"
PARTS = ("objects",)  # shown beside the primary score where the judge gives them
CAPTION = (
    "Drawings of finished runs, painted by another pixel decoder and judged again; no arm was run again. Mean over "
    "seeds ± their SD; `before`: the same drawings as the study painted them; `change`: example by example, with its "
    "95 % interval over seeds and examples; `ceiling`: real images through tokenizer and pixel decoder."
)


def rejudged_table(folder: Path, decoder: str) -> Table:
    """One row an arm that draws: its scores with the new decoder and before, the change, and both ceilings."""
    frame = load(folder)
    scores = Scores(frame)
    drawn = [arm for arm in frame.arms if frame.done(arm)]
    columns = [Column("arm", "arm", kind="text")]
    cells: dict[str, dict[str, Cell]] = {arm: {"arm": Cell(text=arm)} for arm in drawn}
    for measure in _measures(scores):
        for key, label, new, old in _columns(scores, measure):
            column = Column(
                f"{measure.label}.{key}",
                label,
                group=measure.label,
                better="higher" if key != "change" else None,
                scale=100.0,
                signed=key == "change",
            )
            columns.append(column)
            for arm in drawn:
                cells[arm][column.key] = _change(new, old, arm) if old is not None else _score(new, arm)
    rows = tuple(Row(arm, cells[arm]) for arm in drawn)
    title = f"{frame.study.name}: drawings judged again with pixels={decoder}"
    return Table("rejudged", title, CAPTION, tuple(columns), rows)


def _measures(scores: Scores) -> Iterator[Measure]:
    for measure in scores.primary:
        yield measure
        for name in PARTS:
            if name in scores.parts(measure):
                yield replace(measure, name=name, part=True)


def _columns(scores: Scores, measure: Measure) -> Iterator[tuple[str, str, Cube | None, Cube | None]]:
    """(key, label, cube, cube to take away or None) of each column of a measure."""
    before = replace(measure, name=f"{BEFORE}{measure.name}", part=True)
    new, old = scores.cube(measure), scores.cube(before)
    yield "now", "now", new, None
    yield "before", "before", old, None
    if old is not None:
        yield "change", "change", new, old
    for control in scores.controls(measure):
        yield control, control, scores.cube(replace(measure, control=control)), None
        yield f"{control}.before", f"{control} before", scores.cube(replace(before, control=control)), None


def _score(cube: Cube | None, arm: str) -> Cell:
    means = cube.run_means(arm) if cube is not None else {}
    if not means:
        return Cell(absent=True)
    values = np.array(list(means.values()))
    spread = float(values.std(ddof=1)) if len(values) > 1 else None
    return Cell(mean=float(values.mean()), spread=spread, seeds=tuple(means.items()))


def _change(new: Cube | None, old: Cube, arm: str) -> Cell:
    gap = new.minus(old) if new is not None else None
    if gap is None or not gap.run_means(arm):
        return Cell(absent=True)
    found = contrast(gap, {arm: 1.0}, pooled=False)
    return Cell(mean=found.estimate, interval=found, seeds=tuple(gap.run_means(arm).items()))
