"""Build a report: every file of it, from a study's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reports.audit import audit
from reports.discordance import discordances
from reports.effects import Effect
from reports.examples import choose_examples
from reports.figures.curves import draw_curves
from reports.figures.forest import draw_forest
from reports.figures.heatmap import draw_heatmap
from reports.figures.interplay import draw_interactions
from reports.figures.pareto import draw_pareto
from reports.figures.samples import choose_samples, draw_samples
from reports.figures.variance import draw_variance
from reports.findings import find, warnings
from reports.frame import load
from reports.html.page import Rendered, build_page
from reports.layout import build_tables
from reports.price import matched_budgets, plan_against_actual
from reports.render.console import render_console
from reports.render.csv import finite, numbers_of, render_csv, render_json
from reports.render.html import render_html
from reports.render.latex import PREAMBLE, render_latex
from reports.render.markdown import render_markdown
from reports.results import Results, analyse
from reports.table import Table
from reports.wording import Finding

FIGURES = (draw_forest, draw_interactions, draw_heatmap, draw_curves, draw_pareto, draw_variance)
"""In the order of the page; each returns None where a study has nothing for it to show."""


@dataclass(frozen=True)
class ReportSummary:
    """What a caller prints after building a report.

    Attributes:
        table_markdown: the main table in Markdown.
        console_table: the main table in plain text, at most 118 columns wide.
        html: the page.
        findings: what the numbers say, one sentence each, warnings first.
    """

    table_markdown: str
    console_table: str
    html: Path
    findings: list[str]


def build(study_dir: Path | str, out_dir: Path | str | None = None, tables: Path | None = None) -> ReportSummary:
    """Read a study's folder and write report.html, report.json, tables/ and figures/.

    The same inputs give the same bytes.

    Args:
        study_dir: a folder with `study.yaml` and `records/*.parquet`, and what else `lavit run` leaves there.
        out_dir: where to write; by default the study's folder.
        tables: folder of table declarations; by default the project's `conf/table`.

    Raises:
        LavitError: the folder cannot be read as a study, see `reports.frame.load`.
    """
    out = Path(out_dir) if out_dir is not None else Path(study_dir)
    results = analyse(load(study_dir), tables)
    made = build_tables(results)
    rendered = {table.name: _render(table, results) for table in made}
    _write_tables(out / "tables", made, rendered)
    figures = [figure for draw in FIGURES if (figure := draw(results, out / "figures")) is not None]
    grid = choose_samples(results.frame)
    if grid is not None:
        draw_samples(grid, out / "figures")
    findings = find(results)
    checks = audit(results)
    page = build_page(results, made, rendered, figures, grid, choose_examples(results), findings, checks)
    html = out / "report.html"
    html.write_text(page, encoding="utf-8")
    document = _document(results, findings, made)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    (out / "report.json").write_text(text + "\n", encoding="utf-8")
    main = next((t for t in made if t.name == "main"), made[0])
    said = [*warnings(results), *(finding.sentence for finding in findings)]
    return ReportSummary(rendered[main.name].markdown, render_console(main), html, said)


def _render(table: Table, results: Results) -> Rendered:
    label = f"tab:{results.frame.study.name}-{table.name}"
    return Rendered(render_latex(table, label), render_markdown(table), render_html(table), render_csv(table))


def _write_tables(folder: Path, tables: list[Table], rendered: dict[str, Rendered]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "preamble.tex").write_text(PREAMBLE, encoding="utf-8")
    for table in tables:
        own = rendered[table.name]
        texts = {
            "tex": own.latex,
            "md": own.markdown,
            "html": own.html,
            "csv": own.csv,
            "json": render_json(table),
        }
        for suffix, text in texts.items():
            (folder / f"{table.name}.{suffix}").write_text(text, encoding="utf-8")


def _document(results: Results, findings: list[Finding], tables: list[Table]) -> dict[str, Any]:
    """report.json: every number of the page, in stored units."""
    study = results.frame.study
    budget, values = results.equal_flops
    return {
        "study": study.name,
        "question": study.question,
        "headline": study.headline,
        "default": study.default,
        "family": list(study.family),
        "arms": [
            {"arm": arm, "levels": study.arms[arm], "seeds": results.frame.done(arm)} for arm in results.frame.arms
        ],
        "contrasts": [_contrast(effect) for effect in results.effects.effects],
        "mcnemar": _mcnemar(results),
        "controls": [
            {
                "arm": gap.arm,
                "benchmark": gap.measure.benchmark,
                "metric": gap.measure.name,
                "control": gap.control,
                "score": gap.score,
                "value": gap.floor,
                "clear": gap.clear,
                **numbers_of(gap.contrast),
            }
            for gap in (*results.floors, *results.ceilings)
        ],
        "means": _means(results),
        "equal_flops": {
            "budget": finite(budget),
            "curve": f"val/{study.headline}",
            "values": {arm: {str(s): v for s, v in per_seed.items()} for arm, per_seed in values.items()},
        },
        "plan_against_actual": [
            {
                "stage": c.stage,
                "item": c.item,
                "planned": c.planned,
                "measured": c.measured,
                "difference": finite(c.difference),
                "flagged": c.flagged,
                "jobs": c.jobs,
                "basis": c.basis,
            }
            for c in plan_against_actual(results.frame)
        ],
        "matched_budgets": [
            {"arm": b.arm, "planned": finite(b.planned), "measured": b.measured, "flagged": b.flagged}
            for b in matched_budgets(results.frame)
        ],
        "unequal_variance": [
            {
                "benchmark": m.benchmark,
                "metric": m.name,
                "kind_of_example": m.kind,
                "arm": arm,
                "ratio": ratio,
            }
            for m, arms in results.effects.unequal.items()
            for arm, ratio in arms.items()
        ],
        "findings": [
            {
                "title": f.title,
                "verdict": f.verdict,
                "sentence": f.sentence,
                "what_would_change_this": f.change,
            }
            for f in findings
        ],
        "fingerprints": [
            {"arm": arm, "seed": seed, "benchmark": benchmark, **found}
            for (arm, seed), own in results.frame.fingerprints.by_run.items()
            for benchmark, found in own.items()
        ],
        "absent": results.frame.skipped,
        "frozen": results.frame.header.get("frozen"),
        "warnings": warnings(results),
        "tables": [table.name for table in tables],
    }


def _contrast(effect: Effect) -> dict[str, Any]:
    measure = effect.measure
    found: dict[str, Any] = {"kind": effect.kind, "benchmark": measure.benchmark, "metric": measure.name}
    found |= {"split": measure.split, "kind_of_example": measure.kind}
    if effect.kind == "arm":
        found["arm"] = effect.subject
    else:
        found |= {
            "axis": effect.axis,
            "level": effect.subject,
            "pairs": [list(pair) for pair in effect.pairs],
            "quadruples": [list(four) for four in effect.quadruples],
            "fitted": [list(side) for side in effect.fitted],
        }
    found |= {"against": effect.against, "family": effect.family, "verdict": effect.verdict}
    return found | {"unequal_variance": list(effect.unequal)} | numbers_of(effect.contrast)


def _mcnemar(results: Results) -> list[dict[str, Any]]:
    """McNemar's test of each arm against the default, seed by seed, where scores are right or wrong."""
    found = []
    for effect in results.effects.effects:
        cube = results.scores.cube(effect.measure) if effect.kind == "arm" and effect.contrast.known else None
        for told in discordances(cube, effect.subject, effect.against) if cube else []:
            measure = effect.measure
            row = {"arm": effect.subject, "against": effect.against, "benchmark": measure.benchmark}
            found.append(row | {"metric": measure.name, "kind_of_example": measure.kind} | asdict(told))
    return found


def _means(results: Results) -> list[dict[str, Any]]:
    """Each run's mean on each measure."""
    found = []
    for measure in results.scores.primary:
        cube = results.scores.cube(measure)
        for arm in results.frame.arms if cube else []:
            assert cube is not None
            for seed, mean in cube.run_means(arm).items():
                row = {"arm": arm, "seed": seed, "benchmark": measure.benchmark, "metric": measure.name}
                found.append({**row, "split": measure.split, "mean": mean, "n_examples": cube.examples})
    return found
