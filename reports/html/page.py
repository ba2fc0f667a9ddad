"""Put the page together: one file that needs no network, runs known scripts and escapes all foreign text.

A content security policy in the page allows those scripts alone (by their hashes) and pictures from data URIs; even
text that slipped through the escaping could neither run nor load anything.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from reports.charts import chart_data
from reports.check import Check
from reports.examples import Album
from reports.figures.samples import Grid
from reports.figures.style import Figure
from reports.findings import warnings
from reports.html.scripts import as_json, asset, chart_scripts, policy_hashes
from reports.listing import list_ledgers, list_runs
from reports.origin_audit import mixed_references
from reports.render.latex import PREAMBLE
from reports.render.numbers import plain
from reports.results import Results
from reports.table import Table, common_unit
from reports.trace import origins, read_tracking, trace_data
from reports.wording import Finding

SCRIPTS = ("report.js", "trace.js", "examples.js")
MOST = 2_900_000  # bytes of a page: pictures of examples take what the rest leaves
LEAST = 250_000  # bytes of pictures, however long the rest is
SMALL = 6_000  # a PNG up to this size is embedded as it is


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
    embedder = Embedder()
    runs = origins(results)
    headline = results.headline
    sized = [f for f in findings if f.value]
    fill = partial(
        template.render,
        study=results.frame.study,
        strip=_strip(results),
        notes=[*warnings(results), *mixed_references(results)],
        headline_name=results.display(headline).name if headline else results.frame.study.headline,
        basis=results.effects.basis,
        findings=[(columns_for(len(group)), group) for group in (sized, [f for f in findings if not f.value]) if group],
        tables=list(tables),
        rendered=rendered,
        figures=list(figures),
        grid=grid,
        has_examples=bool(album.examples),
        rule=album.rule,
        runs=list_runs(results, runs),
        untraced=any(run.run_id for run in runs) and not read_tracking(results.frame).server,
        ledgers=list_ledgers(results),
        trace=as_json(trace_data(results, tables, runs)),
        tally={s: sum(c.state == s for c in checks) for s in ("warn", "ok", "info")},
        checks=list(checks),
        preamble=PREAMBLE,
        style=asset("report.css") + (asset("charts.css") if charts else ""),
        charts=as_json(charts) if charts else "",
        has_pareto=bool(charts and charts["measures"]),
        has_curves=bool(charts and charts["curves"]),
        scripts=[*libraries, script],
        script_hashes=policy_hashes([*libraries, script]),
        plain=plain,
        Markup=Markup,
    )
    rest = len(fill(data=_data(results, album, {}), embed=lambda path: "").encode())
    for _, drawn in grid.lines() if grid is not None else ():
        for example in grid.examples if grid is not None else ():
            if example in drawn:
                embedder.embed(drawn[example])
    pictures = _pictures(album, embedder, max(LEAST, MOST - rest))
    return fill(data=_data(results, album, pictures), embed=embedder.embed)


class Embedder:
    """Turns pictures into data URIs, each once; larger ones become small WebP."""

    def __init__(self) -> None:
        self.made: dict[Path, str] = {}

    def embed(self, path: Path) -> str:
        """The picture as a data URI."""
        if path not in self.made:
            self.made[path] = self._encode(path)
        return self.made[path]

    @property
    def size(self) -> int:
        """Bytes embedded so far."""
        return sum(len(uri) for uri in self.made.values())

    def _encode(self, path: Path) -> str:
        raw = path.read_bytes()
        if path.suffix == ".png" and raw[:8] == b"\x89PNG\r\n\x1a\n" and len(raw) <= SMALL:
            return "data:image/png;base64," + base64.b64encode(raw).decode()
        from PIL import Image

        with Image.open(io.BytesIO(raw)) as picture:
            small = picture.convert("RGB")
        small.thumbnail((192, 192))
        buffer = io.BytesIO()
        small.save(buffer, format="WEBP", quality=80, method=4)
        return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _pictures(album: Album, embedder: Embedder, room: int) -> dict[str, str]:
    """The examples' pictures in their order, until those of the page fill the room."""
    found: dict[str, str] = {}
    for example in album.examples:
        keys = [example["image"]] if example["image"] else []
        keys += [chip["i"] for chips in example["arms"] for chip in chips if "i" in chip]
        for key in keys:
            if key not in found and embedder.size < room:
                found[key] = embedder.embed(album.pictures[key])
    return found


def _data(results: Results, album: Album, pictures: Mapping[str, str]) -> str:
    """The examples for the browser, as JSON that cannot close its own element."""
    examples = []
    for example in album.examples:
        arms = [
            [{k: v for k, v in chip.items() if k != "i" or v in pictures} for chip in chips]
            for chips in example["arms"]
        ]
        image = example["image"] if example["image"] in pictures else None
        examples.append({**example, "image": image, "arms": arms})
    document = {
        "arms": [plain(arm, 80) for arm in album.arms],
        "seeds": results.frame.seeds,
        "pictures": dict(pictures),
        "examples": examples,
    }
    return as_json(document)


def columns_for(count: int) -> int:
    """How many cards stand in a row, three or four, so that the last row is as full as can be."""
    return count if count <= 4 else min((4, 3), key=lambda columns: (-count % columns, -columns))


def _strip(results: Results) -> list[dict[str, Any]]:
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
