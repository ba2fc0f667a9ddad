"""The whole report: what it finds, its files, and that the same inputs give the same bytes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from page_reader import PageReader
from synthetic_study import full_factorial, write_study

import reports
from reports.budget import at_equal_flops
from reports.controls import floors
from reports.findings import find, warnings
from reports.results import Results


def test_planted_effects_are_found_and_absent_ones_are_not(results: Results) -> None:
    verdicts = {f.title: f for f in find(results)}
    frozen = verdicts["llm: frozen instead of unfrozen"]
    assert frozen.verdict in ("trade-off", "hurts", "hurts on 2 of 3")
    assert frozen.sentence.startswith("unfrozen beats frozen by")
    pooled = verdicts["tokens: pooled instead of dynamic"]
    assert pooled.sentence.startswith("dynamic beats pooled by")
    adapter = verdicts["regime: adapter instead of unified"]
    assert adapter.sentence.startswith("There is no evidence that adapter and unified differ")
    assert "would have seen" in adapter.sentence
    assert adapter.change
    background = verdicts["Background of drawn images"]
    assert "discrete arms commit to a background where continuous ones average it" in background.sentence


def test_every_arm_is_compared_with_its_controls(results: Results) -> None:
    gaps = floors(results.scores)
    assert len(gaps) == 5 * 2 * 2
    assert all(gap.clear for gap in gaps if gap.measure.benchmark == "caption")
    said = " ".join(f.sentence for f in find(results))
    assert "above its shuffled-image control with the interval clear of zero" in said


def test_unmatched_tokens_are_flagged(results: Results) -> None:
    assert any("tokens are not matched" in warning for warning in warnings(results))


def test_equal_flops_are_read_at_the_cheapest_arms_end(results: Results) -> None:
    budget, values = at_equal_flops(results.frame, "val/caption/CIDEr")
    assert budget == pytest.approx(3.1e12)
    last = results.frame.curves.query("arm == 'regime=adapter' and name == 'val/caption/CIDEr' and step == 600")
    assert values["regime=adapter"][0] == pytest.approx(last[last["seed"] == 0]["value"].iloc[0])
    assert set(values) == set(results.frame.arms)


def test_all_files_are_written(built: tuple[reports.ReportSummary, Path]) -> None:
    summary, out = built
    assert summary.html == out / "report.html"
    for table in ("main", "controls", "tokenizer", "kinds"):
        assert {p.suffix for p in (out / "tables").glob(f"{table}.*")} == {
            ".tex",
            ".md",
            ".html",
            ".csv",
            ".json",
        }
    for figure, also in (("forest", set()), ("curves", set()), ("samples", {".png"})):
        assert {p.suffix for p in (out / "figures").glob(f"{figure}.*")} == {".svg", ".pdf", ".csv"} | also
    assert "default" in summary.console_table
    assert max(len(line) for line in summary.console_table.splitlines()[:12]) <= 118
    assert summary.table_markdown.startswith("**Every arm")


def test_report_json_lists_every_contrast(built: tuple[reports.ReportSummary, Path]) -> None:
    document = json.loads((built[1] / "report.json").read_text())
    wanted = {
        "kind",
        "benchmark",
        "metric",
        "against",
        "estimate",
        "low",
        "high",
        "se",
        "df",
        "p",
        "p_adjusted",
    }
    wanted |= {"n_seeds", "n_examples", "verdict"}
    for contrast in document["contrasts"]:
        assert wanted <= set(contrast)
        assert ("arm" in contrast) == (contrast["kind"] == "arm")
        if contrast["estimate"] is not None and contrast["se"] is not None:
            assert contrast["low"] <= contrast["estimate"] <= contrast["high"]
    frozen = [c for c in document["contrasts"] if c.get("arm") == "llm=frozen" and c["metric"] == "CIDEr"]
    assert len(frozen) == 1
    assert frozen[0]["estimate"] == pytest.approx(-1.2, abs=0.3)
    assert frozen[0]["n_examples"] == 60
    assert frozen[0]["family_size"] == 4


def test_a_second_build_gives_the_same_bytes_and_imports_nothing_heavy(
    built: tuple[reports.ReportSummary, Path], study_folder: Path, tmp_path: Path
) -> None:
    """In another process, with another seed of the hashes, from a copy of the study in another folder."""
    elsewhere, tmp_path = tmp_path / "another" / "place", tmp_path / "out"
    shutil.copytree(study_folder, elsewhere)
    code = (
        f"import sys, reports; reports.build({str(elsewhere)!r}, {str(tmp_path)!r});"
        "heavy = {'torch', 'lightning', 'mlflow', 'hydra', 'transformers'};"
        "assert not heavy & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, env=environment)
    files = {p.relative_to(built[1]): p for p in built[1].rglob("*") if p.is_file()}
    assert files.keys() == {p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()}
    for name, path in files.items():
        assert path.read_bytes() == (tmp_path / name).read_bytes(), name


def test_the_page_asks_for_nothing(built: tuple[reports.ReportSummary, Path]) -> None:
    text = built[0].html.read_text()
    page = PageReader(text)
    assert page.tags.count("script") == 6  # three of data, the library of the charts, the charts, the page
    assert not page.handlers
    assert page.asks_for_nothing()
    unscripted = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert not re.search(r"url\((?!#|&quot;#)", unscripted)
    assert len(text) < 3_000_000


def test_a_full_factorial_speaks_of_axes(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "full", arms=full_factorial(), images=40, questions=1, pictures=0)
    results = reports.analyse(reports.load(folder))
    assert results.effects.by_axis
    assert results.headline is not None
    effects = {e.axis: e for e in results.effects.main(results.headline)}
    assert {axis: len(e.pairs) for axis, e in effects.items()} == {"regime": 4, "tokens": 6, "target": 4, "llm": 6}
    assert effects["llm"].contrast.low < -1.2 < effects["llm"].contrast.high
    said = {f.title: f for f in find(results)}
    assert "Mean over 6 matched pairs" in " ".join(said["tokens: pooled instead of dynamic"].lines)
    assert said["llm: frozen instead of unfrozen"].sentence.startswith("unfrozen beats frozen by")


def test_one_seed_and_unfinished_studies_build(study_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(study_folder, folder)
    for path in (folder / "records").glob("*-s[12].parquet"):
        path.unlink()
    (folder / "records" / "llm-frozen-s0.parquet").unlink()
    (folder / "curves.parquet").unlink()
    summary = reports.build(folder)
    assert any("One seed per arm" in line for line in summary.findings)
    assert "llm=frozen has no finished run" in summary.html.read_text()
    json.loads((folder / "report.json").read_text())
