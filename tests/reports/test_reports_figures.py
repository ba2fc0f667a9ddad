"""Figures: each says in its data what it draws, and is left out where there is nothing to show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from synthetic_study import full_factorial, write_study
from synthetic_tokens import add_tokens, keep_map

import reports
from reports.figures.codebook import draw_codebook, measure_use, perplexity
from reports.figures.curves import make_bands
from reports.figures.kept import choose_maps, draw_kept, outline
from reports.figures.pareto import front
from reports.figures.tokenised import tokenizer_records
from reports.frame import load
from reports.results import Results, analyse

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
    assert names >= {"forest", "marginal", "interactions", "heatmap", "curves", "pareto", "variance"}
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
    assert not names & {"marginal", "interactions", "variance", "kept", "codebook"}
    assert "pareto" in names


@pytest.fixture(scope="module")
def tokenised(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = write_study(tmp_path_factory.mktemp("tokenised"), arms=full_factorial(), images=6, questions=1, pictures=1)
    return analyse(load(add_tokens(folder, images=20)))


def test_maps_are_the_share_of_seeds_that_keep_a_patch(tokenised: Results, tmp_path: Path) -> None:
    figure = draw_kept(tokenised, tmp_path)
    assert figure is not None
    data = pd.read_csv(tmp_path / "kept.csv")
    assert list(data.columns) == ["arm", "image", "row", "col", "share"]
    assert data["image"].nunique() == 7
    for (arm, image), own in data.groupby(["arm", "image"]):
        levels = set(tokenised.frame.study.arms[arm].values())
        true = np.mean([keep_map(int(image.split("-")[1]), levels, seed, 6) for seed in (0, 1, 2)], axis=0)
        assert np.allclose(own.sort_values(["row", "col"])["share"], true)
    pooled = [arm for arm, levels in tokenised.frame.study.arms.items() if levels["tokens"] == "pooled"]
    assert not set(pooled) & set(data["arm"])
    assert "keep every patch: tokens=pooled" in figure.caption
    groups = choose_maps(tokenised.frame).groups
    assert ["default", "llm=frozen", "target=continuous", "target=continuous llm=frozen"] in groups
    assert len(groups) == 2


def test_outline_is_where_kept_patches_end() -> None:
    kept = np.zeros((3, 3), bool)
    kept[1, 1] = True
    assert sorted(outline(kept)) == [((1, 1), (1, 2)), ((1, 1), (2, 1)), ((1, 2), (2, 2)), ((2, 1), (2, 2))]
    assert len(outline(np.ones((3, 3), bool))) == 12


def test_codes_are_counted_once_for_arms_that_share_a_tokenizer(tokenised: Results, tmp_path: Path) -> None:
    figure = draw_codebook(tokenised, tmp_path)
    assert figure is not None
    assert "Without codes: target=continuous" in figure.caption
    data = pd.read_csv(tmp_path / "codebook.csv")
    sums = data.groupby("arm")["mean"].sum()
    assert np.allclose(sums, 1)
    assert data[data["arm"] == "default"]["mean"].is_monotonic_decreasing
    uses = measure_use(tokenised.frame)
    assert uses[0].arms == ["default", "llm=frozen"]
    rows = tokenizer_records(tokenised.frame)
    for seed, freq in enumerate(uses[0].frequency_SR):
        own = rows[(rows["arm"] == "default") & (rows["seed"] == seed)]["prediction"]
        counts = pd.Series(" ".join(own).split()).value_counts()
        assert np.allclose(freq[freq > 0], counts / counts.sum())
    assert perplexity(np.array([5, 5, 5, 5])) == pytest.approx(4)


def test_marginal_means_differ_by_the_main_effect(factorial: Path) -> None:
    contrasts = json.loads((factorial / "report.json").read_text())["contrasts"]
    means = pd.read_csv(factorial / "figures" / "marginal.csv", keep_default_na=False)
    means = means[means["arm"] == ""].set_index(["axis", "level"])["mean"].astype(float)
    for axis, first, level in (("tokens", "dynamic", "pooled"), ("llm", "unfrozen", "frozen")):
        found = next(
            c for c in contrasts if c["kind"] == "main_effect" and c["axis"] == axis and c["metric"] == "CIDEr"
        )
        assert means[(axis, level)] - means[(axis, first)] == pytest.approx(found["estimate"])


def test_bands_span_few_seeds_and_are_intervals_of_many() -> None:
    def curves(seeds: int) -> pd.DataFrame:
        values = [{"arm": "a", "seed": s, "step": 10, "flops": 1e9, "value": float(s)} for s in range(seeds)]
        return pd.DataFrame([*values, {"arm": "a", "seed": 0, "step": 20, "flops": 2e9, "value": 3.0}])

    few, many = make_bands(curves(3), ["a"]), make_bands(curves(6), ["a"])
    assert few[["step", "low", "high", "band"]].values.tolist() == [[10, 0.0, 2.0, "least to most"]]
    half = stats.t.ppf(0.975, 5) * np.std(range(6), ddof=1) / np.sqrt(6)
    assert many.iloc[0]["high"] - many.iloc[0]["mean"] == pytest.approx(half)
    assert many.iloc[0]["band"] == "95 % interval"
    assert make_bands(curves(1), ["a"])["band"].tolist() == ["", ""]
