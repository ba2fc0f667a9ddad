"""Long lists of the page, one row a run or a stage: cells that print, sort and link, without statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.commits import spell
from reports.measure import Cube
from reports.render.numbers import DASH, number, plain
from reports.results import Results
from reports.table import UNITS, Column
from reports.trace import Origin, read_tracking

MOST_FIGURES = 5
MARKS = {"done": "✓", "failed": "!", "missing": "·"}


@dataclass(frozen=True)
class Entry:
    """One cell: what prints, what it sorts by, and how it is set (`text`, `number`, `code`, `state`)."""

    text: str
    sort: str = ""
    kind: str = "text"
    link: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Listing:
    """Heads and rows; the first cell of a row is its name."""

    name: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]


def list_runs(results: Results, runs: Sequence[Origin]) -> Listing:
    """Every run of the study in its order: state, key figures, time, and what leads back to it."""
    tracking, shown = read_tracking(results.frame), _figures(results)
    committed, tracked = any(run.commits for run in runs), any(run.run_id for run in runs)
    heads = ["Arm", "Seed", "State", *(name for name, _, _ in shown), "Time"]
    heads += (["Commit"] if committed else []) + ["Records"] + (["MLflow run"] if tracked else [])
    rows = []
    for run in runs:
        row = [_text(run.arm), Entry(str(run.seed), str(run.seed), "number")]
        row.append(Entry(f"{MARKS.get(run.status, '·')} {run.status}", run.status, "state", hint=plain(run.error, 300)))
        for _, column, cube in shown:
            value = cube.run_means(run.arm).get(run.seed)
            row.append(Entry(DASH, "", "number") if value is None else _number(number(column, value), value))
        row.append(_number(duration(run.seconds), run.seconds) if run.seconds > 0 else Entry(DASH, "", "number"))
        row += [_code(", ".join(map(spell, run.commits)))] if committed else []
        row.append(_code(run.records))
        row += [_code(run.run_id[:12], tracking.link(run.run_id))] if tracked else []
        rows.append((*row, _code(run.command)))
    return Listing("runs", (*heads, "Command that repeats it"), tuple(rows))


def list_ledgers(results: Results) -> Listing | None:
    """What each stage cost, mean over its seeds, once where arms share its jobs; None where no run kept a ledger."""
    frame = results.frame
    if frame.ledgers.empty:
        return None
    means = frame.ledgers.groupby(["arm", "stage", "item"], sort=False)["value"].mean()
    values = {(str(a), str(s), str(i)): float(v) for (a, s, i), v in means.items()}
    items = [i for i in dict.fromkeys(i for _, _, i in values) if any(v for k, v in values.items() if k[2] == i)]
    jobs: dict[tuple[str, str], dict[str, float]] = {}  # arm, stage -> its jobs and their seconds
    for run in frame.runs.itertuples(index=False):
        for stage in {**run.stage_keys, **run.wall_s}:
            key = str(run.stage_keys.get(stage) or f"{run.arm} {run.seed}")
            jobs.setdefault((run.arm, str(stage)), {})[key] = float(run.wall_s.get(stage, math.nan))
    owners: dict[tuple[str, frozenset[str]], list[str]] = {}
    for (arm, stage), own in jobs.items():
        if any((arm, stage, item) in values for item in items):
            owners.setdefault((stage, frozenset(own)), []).append(arm)
    rows = []
    for (stage, keys), arms in owners.items():
        first = arms[0]
        times = [seconds for seconds in jobs[first, stage].values() if math.isfinite(seconds)]
        mean = math.fsum(times) / len(times) if times else math.nan
        row = [_text(_together(arms, frame.arms)), _text(stage), _number(str(len(keys)), len(keys))]
        row.append(_number(duration(mean), mean) if times else Entry(DASH, "", "number"))
        for item in items:
            value = values.get((first, stage, item))
            row.append(Entry(DASH, "", "number") if value is None else _number(amount(value), value))
        rows.append(tuple(row))
    heads = ("Arm", "Stage", "Jobs", "Time of one", *(item.replace("_", " ") for item in items))
    return Listing("ledgers", heads, tuple(rows)) if rows else None


def _together(arms: list[str], every: list[str]) -> str:
    """Who shares a job: `every arm`, an arm, or two of them and how many more."""
    if len(arms) == len(every) > 1:
        return "every arm"
    rest = f" and {len(arms) - 2} more" if len(arms) > 2 else ""
    return ", ".join(plain(arm, 60) for arm in arms[:2]) + rest


def duration(seconds: float) -> str:
    """`96 s`, `12.5 min`, `3.1 h`; a dash where no time is known."""
    if not seconds >= 0:
        return DASH
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def amount(value: float) -> str:
    """`5.2 T`, `19.2 k`, `620`: three digits and the unit's letter."""
    for size, suffix in UNITS:
        if abs(value) >= size:
            return f"{value / size:.3g} {suffix}" if abs(value) / size < 999.5 else f"{value / size:.0f} {suffix}"
    return f"{value:.4g}"


def _figures(results: Results) -> list[tuple[str, Column, Cube]]:
    shown: list[tuple[str, Column, Cube]] = []
    for measure in results.outcomes[:MOST_FIGURES]:
        cube = results.scores.cube(measure)
        if cube is not None:
            display = results.display(measure)
            shown.append((display.name, Column("", "", scale=display.scale, decimals=display.decimals), cube))
    return shown


def _text(text: str) -> Entry:
    return Entry(plain(text, 80), plain(text, 80))


def _number(text: str, value: float) -> Entry:
    return Entry(text, repr(value), "number")


def _code(text: str, link: str = "") -> Entry:
    return Entry(plain(text, 300) or DASH, plain(text, 300), "code", link)
