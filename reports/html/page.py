"""Put the page together: one file that needs no network, runs known scripts and escapes all foreign text.

A content security policy in the page allows those scripts alone (by their hashes) and pictures from data URIs; even
text that slipped through the escaping could neither run nor load anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from reports.charts import chart_data
from reports.check import Check
from reports.examples import Album
from reports.figures.samples import Grid
from reports.figures.style import Figure
from reports.findings import warnings
from reports.html.pictures import Embedder, embed_album, embed_grid
from reports.html.scripts import as_json, asset, chart_scripts, policy_hashes
from reports.html.strip import status_strip
from reports.listing import list_ledgers, list_runs
from reports.origin_audit import mixed_references
from reports.render.latex import PREAMBLE
from reports.render.numbers import plain
from reports.results import Results
from reports.table import Table
from reports.trace import origins, read_tracking, trace_data
from reports.wording import Finding

SCRIPTS = ("report.js", "trace.js", "examples.js")
PAGE = 2_950_000  # bytes that a page with pictures may have; without, it has what its tables and answers need


@dataclass(frozen=True)
class Rendered:
    """The renderings of one table."""

    latex: str
    markdown: str
    html: str
    csv: str


def build_page(
    results: Results,
    tables: Sequence[Table],
    rendered: dict[str, Rendered],
    figures: Sequence[Figure],
    grid: Grid | None,
    album: Album,
    findings: Sequence[Finding],
    checks: Sequence[Check],
) -> str:
    """The whole page as text."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.loader = FunctionLoader(asset)
    template = environment.get_template("report.html.j2")
    script = "".join(map(asset, SCRIPTS))
    charts = chart_data(results)
    libraries = list(chart_scripts()) if charts else []
    runs = origins(results)
    trace, graphs = as_json(trace_data(results, tables, runs)), as_json(charts) if charts else ""
    headline = results.headline
    groups = ([f for f in findings if f.value], [f for f in findings if not f.value])
    facts: dict[str, Any] = {
        "study": results.frame.study,
        "strip": status_strip(results),
        "notes": [*warnings(results), *mixed_references(results)],
        "headline_name": results.display(headline).name if headline else results.frame.study.headline,
        "basis": results.effects.basis,
        "findings": [(columns_for(len(group)), group) for group in groups if group],
        "tables": list(tables),
        "rendered": rendered,
        "figures": list(figures),
        "has_examples": bool(album.examples),
        "runs": list_runs(results, runs),
        "untraced": any(run.run_id for run in runs) and not read_tracking(results.frame).server,
        "ledgers": list_ledgers(results),
        "trace": trace,
        "tally": {s: sum(c.state == s for c in checks) for s in ("warn", "ok", "info")},
        "checks": list(checks),
        "preamble": PREAMBLE,
        "style": asset("report.css") + (asset("charts.css") if charts else ""),
        "charts": graphs,
        "has_pareto": bool(charts and charts["measures"]),
        "has_curves": bool(charts and charts["curves"]),
        "scripts": [*libraries, script],
        "script_hashes": policy_hashes([*libraries, script]),
        "plain": plain,
        "Markup": Markup,
    }
    bare = template.render(**facts, grid=None, embed=None, rule=album.rule, data=_data(results, album, {}))
    room = PAGE - len(bare.encode("utf-8", "replace"))
    grid, embed, room = embed_grid(grid, Embedder(room))
    pictures, left = embed_album(album, Embedder(room))
    rule = album.rule + (f" {left:,} drawings had no room on the page; they lie under samples/." if left else "")
    return template.render(**facts, grid=grid, embed=embed, rule=rule, data=_data(results, album, pictures))


def _data(results: Results, album: Album, pictures: dict[str, str]) -> str:
    """The examples for the browser."""
    arms = [plain(arm, 80) for arm in album.arms]
    seeds = results.frame.seeds
    return as_json({"arms": arms, "seeds": seeds, "pictures": pictures, "examples": album.examples})


def columns_for(count: int) -> int:
    """How many cards stand in a row, three or four, so that the last row is as full as can be."""
    return count if count <= 4 else min((4, 3), key=lambda columns: (-count % columns, -columns))
