"""The status strip: what was run, how much of it is finished, on what, and how it is judged."""

from __future__ import annotations

import math
from typing import Any

from reports.render.numbers import plain
from reports.results import Results
from reports.table import common_unit


def status_strip(results: Results) -> list[dict[str, Any]]:
    """The facts at the top: what was run, how much of it is finished, on what, and how it is judged."""
    frame, study = results.frame, results.frame.study
    done, runs = int((frame.runs["status"] == "done").sum()), len(frame.runs)
    failed = int((frame.runs["status"] == "failed").sum())
    seeds = len(frame.seeds)
    facts: list[dict[str, Any]] = [
        {
            "head": f"{_count(len(study.arms), 'arm')} × {_count(seeds, 'seed')}",
            "text": _voids_text(results),
        },
        {
            "head": f"{done} / {runs} runs done",
            "text": f"{failed} failed, {runs - done - failed} missing",
            "warn": done < runs,
        },
    ]
    examples: dict[str, int] = {}
    for measure in results.outcomes:
        if (cube := results.scores.cube(measure)) is not None:
            examples[measure.benchmark] = max(examples.get(measure.benchmark, 0), cube.examples)
    facts.append(
        {
            "head": f"{len(examples)} benchmark{'s' if len(examples) != 1 else ''}",
            "text": f"{sum(examples.values()):,} paired examples",
        }
    )
    flops = _flops(results)
    if flops > 0:
        factor, suffix = common_unit([flops])
        facts.append({"head": f"{flops * factor:.1f} {suffix}FLOPs", "text": "training, shared stages once"})
    git = frame.header.get("git") or {}
    if git:
        dirty = bool(git.get("dirty"))
        text = "uncommitted changes" if dirty else "clean" if git.get("commit") else "no commit recorded"
        facts.append({"head": f"git {str(git.get('commit') or 'unknown')[:8]}", "text": text, "warn": dirty})
    name = results.display(results.headline).name if results.headline else study.headline
    facts.append(
        {
            "head": f"Headline {plain(name, 40)}",
            "text": f"Holm over {len(study.family)} arms, α = 5 %" if study.family else "nothing to compare with",
        }
    )
    return facts


def _flops(results: Results) -> float:
    """Training FLOPs of the study; a stage that several runs share counts once."""
    runs = results.frame.runs
    keys = {(run.arm, run.seed): run.stage_keys for run in runs.itertuples(index=False)}
    rows = results.frame.ledgers[results.frame.ledgers["item"] == "flops"]
    spent = {}
    for row in rows.itertuples(index=False):
        key = keys.get((row.arm, row.seed), {}).get(row.stage, (row.arm, row.seed))
        spent[(row.stage, key)] = float(row.value)
    return math.fsum(spent.values())


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _voids_text(results: Results) -> str:
    voids = len(results.frame.study.removed)
    return f"{voids} void combination{'s' if voids != 1 else ''} left out" if voids else "no void combination"
