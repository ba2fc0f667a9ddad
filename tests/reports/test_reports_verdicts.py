"""Corrections against statsmodels; verdicts, what would change them, and what other analyses say."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from synthetic_study import write_study

from reports.contrast import ONE_SEED, Contrast, contrast
from reports.cube import Cube, Measure
from reports.declare import Display
from reports.effects import Effect
from reports.findings import find
from reports.frame import load
from reports.outlook import what_would_change
from reports.results import analyse
from reports.sensitivity_audit import sensitivity_check
from reports.study import Study
from reports.verdicts import correct, holm, judge
from reports.wording import Shown

MEASURE = Measure("task", "score", "test")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_is_statsmodels(values: list[float]) -> None:
    with patch("gc.collect"):  # statsmodels collects garbage at every call: up to a second each
        theirs = multipletests(values, method="holm")[1]
    assert holm(np.array(values)) == pytest.approx(theirs, abs=1e-12)


def about(contrast: Contrast, verdict: str, kind: str = "arm") -> Effect:
    return Effect(kind, MEASURE, "a", "default", contrast, verdict=verdict)


def change(contrast: Contrast, verdict: str, margin: float | None = None) -> str:
    return what_would_change(Shown(MEASURE, Display("Task", 1.0, 2)), about(contrast, verdict), margin)


def made(gap: float, luck: float, noise: float, seeds: int = 3, examples: int = 100) -> Contrast:
    """Of an arm that is ``gap`` better, by an estimator that sees the given SDs exactly enough."""
    rng = np.random.default_rng(5)
    values = rng.normal(0, 1, (1, seeds, 1)) + luck * rng.normal(0, 1, (5, seeds, 1))
    values = values + noise * rng.normal(0, 1, (5, 1, examples)) + 0.1 * rng.normal(0, 1, (5, seeds, examples))
    cube = Cube(tuple("abcde"), tuple(range(seeds)), values, examples)
    means = cube.means_AS.mean(axis=1)
    values[0] += gap - (means[0] - means[1])
    return contrast(cube, {"a": 1.0, "b": -1.0})


def test_what_would_change_tells_seeds_from_examples() -> None:
    assert "would be called with" in change(made(0.5, 0.5, 0.1), "no evidence")
    assert "times the examples" in change(made(0.5, 0.01, 5.0), "no evidence")
    assert "nothing feasible" in change(made(1e-9, 0.5, 5.0), "no evidence")
    for verdict, gap in (("helps", 3.0), ("hurts", -3.0)):
        assert "could have been missed" in change(
            correct([about(made(gap, 0.3, 0.1), "")], "holm")[0].contrast, verdict
        )
    assert "Equivalent within ±2.00" in change(made(0.02, 0.9, 0.1), "no evidence", 2.0)
    assert "smaller margin" in change(made(0.02, 0.1, 0.1), "equivalent", 2.0)
    assert "second seed" in change(made(1.0, 0.3, 1.0, seeds=1), "one seed")


def test_what_would_change_of_a_number_of_a_whole_set_is_about_seeds() -> None:
    few = made(0.4, 0.5, 0.0, examples=1)
    assert few.scope == "seeds"
    assert "seeds" in change(few, "no evidence") and "examples as well" not in change(few, "no evidence")
    assert "examples do not enter" in change(made(1e-9, 0.5, 0.0, examples=1), "no evidence")
    assert change(Contrast(reason=ONE_SEED), "not estimable").startswith("a second seed")
    assert change(Contrast(reason="no finished run of b"), "not estimable") == "finishing those runs."


def test_verdicts_know_which_way_is_better() -> None:
    study = Study("s", "", "arms", {}, {"default": {}, "a": {}}, "default", "task/score", ("a",), None, (0, 1, 2))
    for gap, lower, verdict in ((3, [], "helps"), (-3, [], "hurts"), (3, ["task/score"], "hurts")):
        (told,) = judge(correct([about(made(gap, 0.1, 0.1), "")], "holm"), study, None, lower)
        assert told.verdict == verdict


def test_other_analyses_stand_beside_the_verdict(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", images=40, pictures=0)
    results = analyse(load(folder))
    assert [s.effect.subject for s in results.sensitivity] == results.frame.study.others
    for found in results.sensitivity:
        names = [reading.name for reading in found.readings]
        assert names in (["pooled", "own seeds", "seeds only", "two-way bootstrap"], ["own seeds", *names[1:]])
        own, c = found.reading("own seeds"), found.effect.contrast
        assert own is not None and (own.low, own.high) == pytest.approx((c.unpooled_low, c.unpooled_high))
        seeds = found.reading("seeds only")
        cube = results.scores.cube(found.effect.measure)
        assert cube is not None and seeds is not None
        rows = [cube.means_AS[cube.arms.index(arm)] for arm in (found.effect.subject, "default")]
        interval = stats.ttest_rel(*rows).confidence_interval(0.95)
        assert (seeds.low, seeds.high) == pytest.approx((interval.low, interval.high))
        assert all(reading.changed == (reading.verdict != found.effect.verdict) for reading in found.readings[:3])
    check = sensitivity_check(results)
    assert check is not None and len(check.items) == len(results.sensitivity)
    changed = [s.effect.name for s in results.sensitivity if s.reading("own seeds").changed]
    assert all(name in check.text for name in changed)
    cards = [card for card in find(results) if card.title.startswith(("regime", "tokens", "target", "llm"))]
    assert all(any(line.startswith("Sensitivity: own seeds [") for line in card.lines) for card in cards[:4])


def test_no_evidence_always_says_what_would_have_been_seen(tmp_path: Path) -> None:
    for at, (sd, seeds) in enumerate(((1.0, 2), (8.0, 3))):
        folder = write_study(tmp_path / str(at), seeds=tuple(range(seeds)), images=20, pictures=0, seed_sd=sd)
        for card in find(analyse(load(folder))):
            if "no evidence" in card.verdict:
                assert "this design would have seen" in card.sentence, card
