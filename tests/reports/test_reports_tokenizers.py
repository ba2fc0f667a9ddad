"""The report of a study that stops at the tokenizer: complete, and without a trace of what such a study has not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from page_reader import PageReader
from synthetic_tokenizers import write_tokenizer_study

import reports
from reports.audit import audit
from reports.budget import own_stages
from reports.controls import ceilings, floors
from reports.figures.samples import choose_samples
from reports.findings import find, warnings
from reports.layout import build_tables
from reports.results import Results, analyse
from reports.table import Table


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The study's statistics."""
    return analyse(reports.load(write_tokenizer_study(tmp_path_factory.mktemp("tokenizers") / "study")))


@pytest.fixture(scope="module")
def tables(tokenizers: Results) -> dict[str, Table]:
    return {table.name: table for table in build_tables(tokenizers)}


def labels(table: Table) -> list[str]:
    return [column.label for column in table.columns]


def test_planted_effects_are_found_with_their_cost(tokenizers: Results) -> None:
    found = {finding.title: finding for finding in find(tokenizers)}
    selector = found["selector: random instead of learned"]
    assert selector.sentence.startswith("learned beats random by 0.")
    assert "Cosine on objects [" in selector.sentence
    assert "visual tokens" in " ".join(selector.lines)
    assert found["quantizer: none instead of cosine"].sentence.startswith("quantizer=none beats cosine by 0.0")
    revival = found["revival: off instead of on"]
    assert revival.sentence.startswith("There is no evidence that revival=off and revival=on differ")
    assert "this design would have seen" in revival.sentence


def test_only_tables_that_apply_are_there(tables: dict[str, Table], results: Results) -> None:
    assert list(tables) == ["main", "ceilings", "effects", "codebook"]
    assert {"main", "controls", "tokenizer", "kinds"} <= {table.name for table in build_tables(results)}


def test_no_column_is_empty(tables: dict[str, Table]) -> None:
    for table in tables.values():
        for column in table.columns:
            assert any(not row.cells[column.key].absent for row in table.rows), column.key
    assert not {"Underst.", "Gen.", "CIDEr", "accuracy", "exact"} & set(labels(tables["main"]))
    assert {"selector", "quantizer", "revival", "Cosine on objects", "Cosine", "Probe", "PSNR"} <= set(
        labels(tables["main"])
    )
    assert "r area" not in labels(tables["codebook"]), "this study's data do not tell it"


def test_costs_are_those_of_the_tokenizer_stage(tokenizers: Results, tables: dict[str, Table]) -> None:
    assert own_stages(tokenizers.frame) == ("tokenizer",)
    flops = next(column for column in tables["main"].columns if column.key == "cost.flops")
    assert flops.label == "FLOPs (G)"
    assert tables["main"].rows[0].cells["cost.flops"].mean == 4e9


def test_the_headline_has_its_interval_and_what_is_missing_its_reason(tables: dict[str, Table]) -> None:
    codebook = tables["codebook"]
    rows = {row.key: row.cells for row in codebook.rows}
    cell = rows["selector=random"]["score.tokenizer/cosine_objects"]
    assert cell.delta is not None
    assert cell.delta.low < -0.10 < cell.delta.high
    assert cell.called
    assert "after Holm over 3 arms" in codebook.caption
    assert "exploratory" not in codebook.caption
    dead = rows["quantizer=none"]["metric.tokenizer/dead_codes"]
    assert dead.absent
    notes = dict(codebook.notes)
    assert [notes[letter] for letter in dead.notes] == [
        "The tokenizer has no codebook (tokenizer.quantise=false), so its tokens have no codes."
    ]
    gap = tables["ceilings"].rows[0].cells["gap.tokenizer/probe_objects@undecoded"]
    assert gap.interval is not None
    assert gap.interval.high < 0


def test_several_metrics_of_a_benchmark_are_kept_apart(tokenizers: Results) -> None:
    scores = tokenizers.scores
    assert scores.primary[0].label == "tokenizer/cosine_objects"
    assert [measure.name for measure in tokenizers.outcomes] == ["cosine_objects", "cosine", "probe_objects", "psnr"]
    kept, scene = scores.find("tokenizer/kept"), scores.find("tokenizer/scene_objects")
    assert kept is not None and scene is not None
    assert scores.cube(kept).run_means("selector=random") == {0: 7.0, 1: 7.0, 2: 7.0}  # type: ignore[union-attr]
    assert scores.parts(scores.primary[0]) == []
    measures = [(e.kind, e.subject, e.measure) for e in tokenizers.effects.effects]
    assert len(measures) == len(set(measures)), "no part is compared twice"


def test_true_features_are_a_ceiling_and_not_a_floor(tokenizers: Results) -> None:
    assert floors(tokenizers.scores) == []
    assert {gap.measure.name for gap in ceilings(tokenizers.scores)} == {"probe_objects", "psnr"}
    said = {finding.title: finding for finding in find(tokenizers)}
    assert "%" in said["Ceiling: Probe of true features"].verdict
    assert said["Ceiling: PSNR of true features"].verdict.startswith("all but "), "no share of decibels"


def test_the_samples_are_what_each_tokenizer_keeps(tokenizers: Results) -> None:
    grid = choose_samples(tokenizers.frame)
    assert grid is not None
    assert grid.benchmark == "tokenizer"
    assert [name for name, _ in grid.lines()] == ["ground truth", "true features", *tokenizers.frame.arms]
    assert not grid.score
    assert "prompt" not in grid.title + grid.rule


def test_unmatched_tokens_and_unequal_training_are_told(tokenizers: Results) -> None:
    assert any("tokens are not matched" in warning for warning in warnings(tokenizers))
    checks = {check.name: check for check in audit(tokenizers)}
    assert checks["Examples"].text.startswith("every arm and seed was scored on the same examples: tokenizer 60;")
    assert checks["Equal conditions"].state == "warn"


def test_the_page_is_whole(tmp_path: Path) -> None:
    folder = write_tokenizer_study(tmp_path / "study", images=30)
    summary = reports.build(folder)
    text = summary.html.read_text()
    page = PageReader(text)
    assert page.asks_for_nothing()
    for name in ("findings", "figure-forest", "figure-curves", "samples", "examples", "audit"):
        assert f'id="{name}"' in text
    assert "equal compute" not in text, "there is no curve on FLOPs"
    assert "CIDEr" not in text
    assert "Cosine on objects" in summary.console_table
    document = json.loads((folder / "report.json").read_text())
    assert document["headline"] == "tokenizer/cosine_objects"
    assert document["tables"] == ["main", "ceilings", "effects", "codebook"]
    ids = {example["id"] for example in _examples(text)}
    assert len(ids) == len(_examples(text))
    assert {name.partition(":")[0] for name in ids} == {
        "tokenizer/cosine_objects", "tokenizer/cosine", "tokenizer/probe_objects", "tokenizer/psnr",
    }  # fmt: skip


def _examples(text: str) -> list[dict]:
    start = text.index('<script type="application/json" id="data">') + len('<script type="application/json" id="data">')
    return json.loads(text[start : text.index("</script>", start)])["examples"]  # type: ignore[no-any-return]


def test_a_headline_that_nothing_scored_is_told_with_what_was(tmp_path: Path) -> None:
    folder = write_tokenizer_study(tmp_path / "study", seeds=(0, 1), images=20)
    study = (folder / "study.yaml").read_text().replace("tokenizer/cosine_objects", "caption/CIDEr")
    (folder / "study.yaml").write_text(study)
    found = find(analyse(reports.load(folder)))
    assert "tokenizer/cosine_objects" in found[0].sentence
    assert "study.headline" in found[0].sentence
    assert reports.build(folder).html.is_file()
