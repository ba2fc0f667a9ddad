"""Build a report: every file of it, from a study's folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from reports.audit import audit
from reports.document import make_document
from reports.examples import choose_examples
from reports.figures.codebook import draw_codebook
from reports.figures.curves import draw_curves
from reports.figures.forest import draw_forest
from reports.figures.heatmap import draw_heatmap
from reports.figures.interplay import draw_interactions
from reports.figures.kept import draw_kept
from reports.figures.marginal import draw_marginal
from reports.figures.pareto import draw_pareto
from reports.figures.samples import choose_samples, draw_samples
from reports.figures.variance import draw_variance
from reports.findings import find, warnings
from reports.frame import load
from reports.html.page import Rendered, build_page
from reports.html.scripts import SURROGATE
from reports.layout import build_tables
from reports.render.console import render_console
from reports.render.csv import render_csv, render_json
from reports.render.html import render_html
from reports.render.latex import PREAMBLE, render_latex
from reports.render.markdown import render_markdown
from reports.results import Results, analyse
from reports.table import Table

FIGURES = (
    draw_forest,
    draw_marginal,
    draw_interactions,
    draw_heatmap,
    draw_curves,
    draw_pareto,
    draw_variance,
    draw_kept,
    draw_codebook,
)
"""In the order of the page; each returns None where a study has nothing for it to show."""

PICTURED = ("kept",)  # figures made of evaluated images


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


def build(
    study_dir: Path | str, out_dir: Path | str | None = None, tables: Path | None = None, images: bool | None = None
) -> ReportSummary:
    """Read a study's folder and write report.html, report.json, tables/ and figures/.

    The same inputs give the same bytes.

    Args:
        study_dir: a folder with `study.yaml` and `records/*.parquet`, and what else `lavit run` leaves there.
        out_dir: where to write; by default the study's folder.
        tables: folder of table declarations; by default the project's `conf/table`.
        images: pictures on the page or none; None leaves out those of datasets, whose licence is their own.

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
    album = choose_examples(results, images)
    shown = [figure for figure in figures if images is not False or figure.name not in PICTURED]
    page = build_page(results, made, rendered, shown, grid if images is not False else None, album, findings, checks)
    html = out / "report.html"
    html.write_text(page, encoding="utf-8")
    document = make_document(results, findings, made)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    (out / "report.json").write_text(SURROGATE.sub("\ufffd", text) + "\n", encoding="utf-8")
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
