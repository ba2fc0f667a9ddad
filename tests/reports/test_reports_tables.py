"""What tables are made of: the best group, published numbers, panels of axes, effects, and published statements."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from synthetic_study import full_factorial, write_study

from experiments.errors import LavitError
from reports.best import best_group, seeds_cube
from reports.cited import cited_rows, parse_published, read_published
from reports.declare import read_declarations
from reports.frame import load
from reports.layout import build_tables
from reports.measure import Cube
from reports.render.csv import render_json
from reports.render.latex import render_latex
from reports.render.numbers import number
from reports.results import Results, analyse
from reports.spread import Spread
from reports.table import Cell, Column, Footnotes, Table, ranked

MADE: list[tuple[Results, list[Table]]] = []  # each study's tables are made once


def table_of(results: Results, name: str) -> Table:
    found = next((tables for known, tables in MADE if known is results), None)
    if found is None:
        found = build_tables(results)
        MADE.append((results, found))
    return next(table for table in found if table.name == name)


def cube_of(means: list[float], seeds: int = 3, examples: int = 200, seed_sd: float = 0.2) -> Cube:
    rng = np.random.default_rng(0)
    ease_E = rng.normal(0, 1, examples)
    noise_ASE = rng.normal(0, 0.5, (len(means), seeds, examples))
    runs_AS1 = rng.normal(0, seed_sd, (len(means), seeds, 1))
    arms = tuple(f"arm{i}" for i in range(len(means)))
    return Cube(arms, tuple(range(seeds)), np.array(means)[:, None, None] + ease_E + noise_ASE + runs_AS1, examples)


EVEN = Spread({}, ())


def test_the_best_group_is_the_best_and_what_is_not_told_from_it() -> None:
    cube = cube_of([5.0, 5.05, 2.0, 1.0])
    rows = [{arm: 1.0} for arm in cube.arms]
    assert best_group(cube, rows, False, EVEN) == {0, 1}
    assert best_group(cube, rows, True, EVEN) == {3}
    column = Column("x", "x", better="higher", decimals=2)
    cells = [Cell(mean=value) for value in (5.0, 5.05, 2.0, 1.0)]
    assert [c.rank for c in ranked(column, cells, {0, 1})] == [1, 1, 0, 0]
    assert [c.rank for c in ranked(column, cells, {1})] == [2, 1, 0, 0]


def test_one_seed_tests_nothing_so_only_the_best_is_bold(tmp_path: Path) -> None:
    cube = cube_of([5.0, 4.9], seeds=1)
    assert best_group(cube, [{arm: 1.0} for arm in cube.arms], False, EVEN) == set()
    main = build_tables(analyse(load(write_study(tmp_path, images=12, seeds=(0,), pictures=1))))[0]
    assert "Best bold, second underlined." in main.caption
    assert sum(row.cells["score.caption/CIDEr"].rank == 1 for row in main.rows) == 1


def test_a_metric_of_runs_is_compared_over_seeds() -> None:
    values = {"a": {0: 1.0, 1: 1.1, 2: 0.9}, "b": {0: 1.05, 1: 1.0, 2: 1.0}, "c": {0: 9.0, 1: 9.1, 2: 8.9}}
    cube = seeds_cube(("a", "b", "c"), values)
    assert best_group(cube, [{arm: 1.0} for arm in cube.arms], True, EVEN) == {0, 1}


def test_bold_may_be_declared_as_the_best_alone(tmp_path: Path, study_folder: Path) -> None:
    columns = [{"score": "caption/CIDEr", "better": "higher", "scale": 100}]
    for bold in ("best", "best_group"):
        text = yaml.safe_dump({"title": "T", "columns": columns, "bold": bold})
        (tmp_path / "main.yaml").write_text(text)
        main = build_tables(analyse(load(study_folder), tmp_path))[0]
        ranks = {row.key: row.cells["score.caption/CIDEr"].rank for row in main.rows}
        assert (list(ranks.values()).count(1) > 1) == (bold == "best_group")
        assert ranks["llm=frozen"] == 0
        assert ("not told from it" in main.caption) == (bold == "best_group")
    (tmp_path / "main.yaml").write_text(yaml.safe_dump({"columns": columns, "bold": "all"}))
    with pytest.raises(LavitError, match="bold is 'all'"):
        read_declarations(tmp_path)


def test_published_figures_are_stored_in_stored_units_and_print_as_printed() -> None:
    lavit = read_published("lavit").systems[0]
    assert lavit.values["coco/CIDEr"] == pytest.approx(1.34)
    assert lavit.values["coco_t2i/FID"] == 7.4
    columns = [Column("arm", "Arm", kind="text"), Column("score.vqav2/accuracy", "VQAv2", scale=100, better="higher")]
    notes = Footnotes()
    rows = cited_rows(["lavit", "lavit_others", "lavit_t2i"], columns, notes)
    names = [row.key for row in rows]
    assert "Flamingo-9B" in names and "GILL (OPT-6.7B)" not in names, "only what has a number in a shown column"
    assert number(columns[1], rows[0].cells["score.vqav2/accuracy"].mean or 0) == "66.0"
    assert all(row.role == "cited" and not row.own and row.cells["score.vqav2/accuracy"].rank == 0 for row in rows)
    first = dict(notes.listed())["a"]
    assert "Jin et al., ICLR 2024, arXiv:2309.04669, README" in first and "not rerun" in first


def test_every_table_of_published_numbers_has_its_source() -> None:
    with pytest.raises(LavitError, match="no published numbers 'lavitt'"):
        read_published("lavitt")
    with pytest.raises(LavitError, match="lacks authors, title, venue, table"):
        parse_published("x", "systems: []")
    source = "source: {authors: A, title: B, venue: C, table: D}\n"
    with pytest.raises(LavitError, match="scale says nothing of 'CIDEr'"):
        parse_published("x", source + "systems: [{name: S, values: {coco/CIDEr: 1}}]")
    with pytest.raises(LavitError, match="unknown key 'sistems'"):
        parse_published("x", source + "sistems: []")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The study scored on the paper's benchmarks."""
    folder = write_study(tmp_path_factory.mktemp("published") / "study", images=30, pictures=1)
    for path in (folder / "records").glob("*.parquet"):
        records = pd.read_parquet(path)
        records["benchmark"] = records["benchmark"].replace({"caption": "coco", "vqa": "vqav2"})
        records.to_parquet(path, index=False)
    study = folder / "study.yaml"
    study.write_text(study.read_text().replace("caption/CIDEr", "coco/CIDEr"))
    return analyse(load(folder))


def test_cited_rows_stand_above_ours_and_change_no_rank(published: Results) -> None:
    table = table_of(published, "paper")
    roles = [row.role for row in table.rows]
    assert roles[0] == "cited" and roles.index("default") == roles.count("cited")
    assert [row.rule for row in table.rows].index(True) == roles.index("default")
    ours = [row for row in table.rows if row.role != "cited"]
    assert max(row.cells["score.coco/CIDEr"].rank for row in ours) >= 1
    assert "never ranked, never tested" in table.caption
    told = json.loads(render_json(table))
    assert told["rows"][0]["cells"]["score.coco/CIDEr"]["mean"] == pytest.approx(1.34)
    assert "from" not in told["rows"][0]["cells"]["score.coco/CIDEr"]
    own = told["rows"][roles.index("default") + 1]["cells"]["score.coco/CIDEr"]
    assert len(own["from"]["runs"]) == 3 and len(own["from"]["against"]["runs"]) == 3
    latex = render_latex(table)
    assert latex.index("\\cited{LaVIT") < latex.index("\\defaultrow")


def test_panels_take_one_axis_each(results: Results) -> None:
    table = table_of(results, "panels")
    main = table_of(results, "main")
    titles = {panel.columns[0].label: panel.title for panel in table.panels}
    assert list(titles) == list(results.frame.study.axes)
    assert titles["llm"] == "llm: unfrozen beats frozen"
    assert titles["regime"] == "regime: no evidence of a difference"
    tokens = next(panel for panel in table.panels if panel.columns[0].label == "tokens")
    assert [(row.key, row.role) for row in tokens.rows] == [("dynamic", "default"), ("pooled", "level")]
    mine, theirs = (
        tokens.rows[1].cells["score.caption/CIDEr"],
        next(row for row in main.rows if row.key == "tokens=pooled").cells["score.caption/CIDEr"],
    )
    assert (mine.mean, mine.spread, mine.delta) == (theirs.mean, theirs.spread, theirs.delta)
    assert tokens.rows[1].own == ("tokens=pooled",)


@pytest.fixture(scope="module")
def factorial(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("full") / "study"
    return analyse(load(write_study(folder, arms=full_factorial(), images=30, pictures=1)))


def test_panels_of_a_factorial_are_means_over_matched_pairs(factorial: Results) -> None:
    table = table_of(factorial, "panels")
    assert "averaged over matched pairs" in table.caption
    headline = factorial.headline
    assert headline is not None
    for panel in table.panels:
        effect = next(e for e in factorial.effects.main(headline) if e.axis == panel.columns[0].label)
        first, second = (row.cells[f"score.{headline.label}"] for row in panel.rows)
        assert first.mean is not None and second.mean is not None
        assert second.mean - first.mean == pytest.approx(effect.contrast.estimate)
        assert set(panel.rows[1].own) == {arm for arm, _ in effect.pairs}


def test_effects_are_listed_with_what_cannot_be_estimated(factorial: Results, results: Results) -> None:
    table = table_of(factorial, "effects")
    rows = {row.key: row for row in table.rows}
    main = factorial.effects.main(factorial.headline)  # type: ignore[arg-type]
    shown = rows["tokens: pooled instead of dynamic"]
    found = next(e for e in main if e.axis == "tokens").contrast
    assert shown.cells["estimate"].mean == found.estimate
    assert shown.cells["interval"].ends == (found.low, found.high)
    assert shown.cells["unpooled"].ends == (found.unpooled_low, found.unpooled_high)
    assert len(shown.own) == 12
    void = rows["regime=adapter with target=continuous"]
    assert void.message == "not estimable: an adapter has no visual loss, so its target has no level to take"
    assert all(cell.mean is None and cell.ends is None for cell in void.cells.values())
    assert sum(row.rule for row in table.rows) == 1, "between main effects and interactions"
    arms = table_of(results, "effects")
    assert [row.key for row in arms.rows] == results.frame.study.others
    assert "Interactions: not estimable" in arms.caption


def test_published_statements_stand_beside_ours(results: Results) -> None:
    table = table_of(results, "published_ablations")
    assert [row.key for row in table.rows] == ["quality: continuous against discrete"], "`fixed` is no level here"
    row = table.rows[0]
    assert row.cells["said"].text == "severely worse"
    assert row.cells["difference"].mean == results.effects.arm(results.headline, "target=continuous").contrast.estimate  # type: ignore[arg-type, union-attr]
    assert "not comparable in size" in table.caption
