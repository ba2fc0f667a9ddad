"""Fractions, cumulative designs and frozen plans in the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from synthetic_study import AXES, full_factorial, write_study

import reports
from experiments.designs.fraction import choose
from experiments.designs.model import main_weights
from reports.audit import audit
from reports.effects import Effect
from reports.frame import load
from reports.results import Results, analyse


def with_document(folder: Path, **more: Any) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **more}, sort_keys=False, allow_unicode=True))
    return folder


def with_header(folder: Path, **more: Any) -> Path:
    path = folder / "runs.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))
    return folder


@pytest.fixture(scope="module")
def fraction(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight of the twelve arms of the factorial, chosen for its main effects."""
    whole = full_factorial()
    chosen = choose(AXES, list(whole.values()), list(AXES), 8)
    arms = {arm: whole[arm] for i, arm in enumerate(whole) if i in chosen}
    folder = write_study(tmp_path_factory.mktemp("fraction") / "study", arms=arms, images=60, pictures=2)
    return with_document(folder, design="fraction", model=list(AXES))


def effect(results: Results, axis: str) -> Effect:
    assert results.headline is not None
    return next(e for e in results.effects.main(results.headline) if e.axis == axis)


def test_a_fractions_main_effects_are_the_least_squares_ones(fraction: Path) -> None:
    results = analyse(load(fraction))
    study = results.frame.study
    assert not results.effects.effects[0].pairs
    cube = results.scores.cube(results.headline)  # type: ignore[arg-type]
    assert cube is not None
    for axis, levels in AXES.items():
        found = effect(results, axis)
        weights = main_weights(AXES, list(study.arms.values()), list(AXES), axis, levels[1], levels[0])
        assert weights is not None
        means = {arm: sum(per_seed.values()) / 3 for arm in study.arms if (per_seed := cube.run_means(arm))}
        assert found.contrast.estimate == pytest.approx(
            sum(w * means[arm] for w, arm in zip(weights, study.arms, strict=True))
        )
        assert found.contrast.df_seed == (8 - 1) * (3 - 1)
        assert found.contrast.family_size == 4
        assert sum(map(len, found.fitted)) == 8
    assert effect(results, "llm").verdict == "hurts"
    assert effect(results, "tokens").contrast.estimate == pytest.approx(-0.8, abs=0.25)  # what was planted


def test_where_arms_have_no_score_the_others_still_tell(fraction: Path) -> None:
    results = analyse(load(fraction))
    drawn = next(m for m in results.scores.primary if m.benchmark == "t2i")
    found = {e.axis: e for e in results.effects.main(drawn)}
    assert found["llm"].contrast.known
    assert found["regime"].contrast.reason == "the arms that have a score do not tell it apart"  # adapters draw nothing


def test_the_page_says_how_the_effects_were_made(fraction: Path, tmp_path: Path) -> None:
    reports.build(fraction, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "by least squares over the arms of the fraction" in page
    assert "matched pairs" not in page
    assert "By least squares over 8 arms" in page


def test_a_cumulative_designs_findings_are_its_steps(tmp_path: Path) -> None:
    frozen = {"llm": "frozen"}
    arms = {"default": {}, "tokens=pooled, llm=frozen": {"tokens": "pooled", **frozen}, "llm=frozen": frozen}
    folder = write_study(tmp_path / "study", arms=arms, images=40, pictures=2)
    steps = [["llm=frozen", "tokens=pooled, llm=frozen"], ["default", "llm=frozen"]]
    results = analyse(load(with_document(folder, design="cumulative", steps=steps)))
    assert "one step after another" in results.effects.basis
    assert effect(results, "tokens").pairs == (("tokens=pooled, llm=frozen", "llm=frozen"),)
    assert effect(results, "llm").pairs == (("llm=frozen", "default"),)


def test_a_frozen_plan_and_its_deviations_are_in_the_report(fraction: Path, tmp_path: Path) -> None:
    frozen: dict[str, Any] = {"date": "2026-11-20 10:00 UTC", "deviations": [], "done_before": [], "history": []}
    line = "optimizer.lr: 0.002 → 0.001 (every arm)"

    results = analyse(load(with_header(fraction, frozen=frozen)))

    def check(**more: Any) -> Any:
        results.frame.header["frozen"] = {**frozen, **more} if more.get("date", "") is not None else None
        return next(check for check in audit(results) if check.name == "Frozen plan")

    assert (check().state, check().text) == ("ok", "frozen on 2026-11-20 10:00 UTC, no deviation")
    late = check(done_before=["default · seed 0"], history=[{"date": "2026-11-19", "reason": "a typo"}])
    assert late.state == "warn"
    assert "a typo" in " ".join(late.items)
    changed = check(deviations=[line])
    assert (changed.state, changed.items) == ("warn", (line,))
    reports.build(with_header(fraction, frozen={**frozen, "deviations": [line]}), tmp_path)
    assert line in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["frozen"]["deviations"] == [line]
    assert check(date=None).state == "info"
