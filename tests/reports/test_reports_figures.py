"""Figures: each says in its data what it draws, and is left out where there is nothing to show."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_study import full_factorial, write_study

import reports
from reports.figures.pareto import front

POINT = st.tuples(st.integers(0, 20), st.integers(0, 20))


@pytest.fixture(scope="module")
def factorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("factorial")
    write_study(folder, arms=full_factorial(), images=24)
    reports.build(folder)
    return folder


@given(st.lists(POINT, min_size=1, max_size=12))
def test_front_is_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    def beaten(i: int) -> bool:
        x, y = points[i]
        return any(a <= x and b >= y and (a, b) != (x, y) for a, b in points)

    kept = front(points)
    assert {points[i] for i in kept} == {points[i] for i in range(len(points)) if not beaten(i)}
    assert len(kept) == len({points[i] for i in kept})


def test_a_factorial_study_gets_them_all_with_their_data(factorial: Path) -> None:
    names = {path.stem for path in (factorial / "figures").glob("*.csv")}
    assert names >= {"forest", "interactions", "heatmap", "curves", "pareto", "variance"}
    for name in names:
        for suffix in ("svg", "pdf"):
            assert (factorial / "figures" / f"{name}.{suffix}").stat().st_size > 1000
    page = (factorial / "report.html").read_text()
    assert all(f'id="figure-{name}"' in page for name in ("interactions", "heatmap", "pareto", "variance"))


def test_pareto_and_variance_tell_the_truth(factorial: Path) -> None:
    pareto = pd.read_csv(factorial / "figures" / "pareto.csv")
    on_flops = pareto[pareto["cost"] == "training FLOPs"]
    best = on_flops.loc[on_flops["quality"].idxmax()]
    assert best["pareto"]
    cheapest = on_flops[on_flops["spent"] == on_flops["spent"].min()]
    assert cheapest.loc[cheapest["quality"].idxmax(), "pareto"]
    variance = pd.read_csv(factorial / "figures" / "variance.csv")
    whole = variance["variance_seed"] + variance["variance_example"]
    assert (variance["seed_share"] - variance["variance_seed"] / whole).abs().max() < 1e-9


def test_corners_of_an_interaction_give_its_estimate(factorial: Path) -> None:
    import json

    contrasts = json.loads((factorial / "report.json").read_text())["contrasts"]
    drawn = pd.read_csv(factorial / "figures" / "interactions.csv")
    name = drawn["interaction"].iloc[0]
    first, second = name.split("*")
    found = next(c for c in contrasts if c["kind"] == "interaction" and c["axis"] == name and c["metric"] == "CIDEr")
    a, b = found["level"].split("*")
    rows = drawn[drawn["interaction"] == name].set_index([first, second])["mean"]
    a0, b0 = found["against"].split("*")
    assert rows[(a, b)] - rows[(a0, b)] - rows[(a, b0)] + rows[(a0, b0)] == pytest.approx(found["estimate"])


def test_one_at_a_time_has_no_interaction_and_one_seed_no_variance(tmp_path: Path) -> None:
    write_study(tmp_path, images=30, seeds=(0,))
    reports.build(tmp_path)
    names = {path.stem for path in (tmp_path / "figures").glob("*.csv")}
    assert not names & {"interactions", "variance"}
    assert "pareto" in names
