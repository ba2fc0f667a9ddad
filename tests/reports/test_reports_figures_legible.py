"""Figures hold up whatever the study is like: nothing is cut off, over other text, tiny, or taken for mathematics."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from legible import faults
from synthetic_study import ARMS, full_factorial, write_study
from synthetic_tokens import add_tokens

from reports import report
from reports.figures.labels import short_names, spread_labels
from reports.figures.samples import choose_samples, draw_samples
from reports.figures.style import Figure, drawing, series_style
from reports.frame import load
from reports.results import analyse

MODULES = ("forest", "marginal", "interplay", "heatmap", "curves", "pareto", "variance", "kept", "codebook", "samples")
HOSTILE = {
    "default": r"$\frac{1}{2}$ & 50 % #1_{x}^y",
    "regime=adapter": "</text><script>alert(1)</script>",
    "tokens=pooled": 'id="axes_1" href="#axes_1" url(#p1)',
    "target=continuous": "\u202e漢字 ü−×\u0007 unbalanced $ dollar",
    "llm=frozen": "an arm of sixty letters that begins like another one does, 1",
    "tokens=pooled llm=frozen": "an arm of sixty letters that begins like another one does, 2",
}


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Path], dict[str, Figure]]:
    """Draws every figure of a study and fails on the first that a reader could not read; PDF is left out for speed."""
    from matplotlib.figure import Figure as Canvas

    savefig = Canvas.savefig

    def quick(figure: Any, target: Any, **how: Any) -> None:
        if not str(target).endswith(".pdf"):
            savefig(figure, target, **how)

    for name in MODULES:
        module = importlib.import_module(f"reports.figures.{name}")

        def checked(figure: Any, own: str, *rest: Any, _save: Any = module.save, **more: Any) -> str:
            assert faults(figure) == [], own
            return _save(figure, own, *rest, **more)

        monkeypatch.setattr(module, "save", checked)
    monkeypatch.setattr(Canvas, "savefig", quick)

    def draw_all(folder: Path) -> dict[str, Figure]:
        results = analyse(load(folder))
        drawn = [found for make in report.FIGURES if (found := make(results, tmp_path / "figures"))]
        grid = choose_samples(results.frame)
        drawn += [draw_samples(grid, tmp_path / "figures")] if grid else []
        for figure in drawn:
            ElementTree.fromstring(figure.svg.replace("xlink:href", "href"))
            assert figure.caption and figure.alt and len(figure.data)
        return {figure.name: figure for figure in drawn}

    return draw_all


def texts(figure: Figure) -> str:
    """What a figure writes."""
    return " ".join(
        "".join(node.itertext()) for node in ElementTree.fromstring(figure.svg).iter() if "text" in node.tag
    )


def edit(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    for path in (folder / "records").glob("*.parquet"):
        change(pd.read_parquet(path)).to_parquet(path, index=False)
    return folder


def test_a_factorial_of_twelve_arms(tmp_path: Path, draw: Any) -> None:
    drawn = draw(add_tokens(write_study(tmp_path / "study", arms=full_factorial(), images=10, pictures=4)))
    assert set(drawn) >= {*MODULES[:2], *MODULES[3:], "interactions"} - {"interplay"}


def test_names_that_are_markup_mathematics_or_alike(tmp_path: Path, draw: Any) -> None:
    arms = {arm: levels for arm, levels in full_factorial().items() if arm in HOSTILE}
    drawn = draw(add_tokens(write_study(tmp_path / "study", arms=arms, images=10, pictures=2, rename=HOSTILE)))
    for name, figure in drawn.items():
        assert "<script" not in figure.svg
        assert "\u202e" not in figure.svg
        assert "mathdefault" not in figure.svg, name
    written = texts(drawn["curves"])
    assert r"$\frac{1" in written
    assert "does, 1" in written and "does, 2" in written
    assert 'id="axes_1"' in texts(drawn["heatmap"])  # as it is, not as an id of the page


def test_of_many_arms_some_are_named_and_it_is_said(tmp_path: Path, draw: Any) -> None:
    arms = {"default": {}, **{f"variant number {i:02d} of the default": {} for i in range(23)}}
    drawn = draw(add_tokens(write_study(tmp_path / "study", arms=arms, images=6, questions=1, pictures=1), images=4))
    assert "the other 16 in grey" in drawn["curves"].caption
    assert "the others in grey" in drawn["pareto"].caption
    assert drawn["curves"].data["arm"].nunique() == drawn["pareto"].data["arm"].nunique() == 24


@pytest.mark.parametrize("case", ["one seed", "one arm", "an arm without runs", "nothing differs", "below zero"])
def test_studies_that_lack_something(tmp_path: Path, draw: Any, case: str) -> None:
    arms = {"default": {}} if case == "one arm" else ARMS
    seeds = (0,) if case == "one seed" else (0, 1, 2)
    folder = write_study(tmp_path / "study", arms=arms, images=8, questions=1, pictures=2, seeds=seeds)
    add_tokens(folder, images=5, pictures=case != "one seed")
    if case == "an arm without runs":
        for path in (folder / "records").glob("llm-frozen*"):
            path.unlink()
    if case == "nothing differs":
        edit(folder, lambda rows: rows.assign(score=0.5, tokens=9.0))
    if case == "below zero":
        edit(folder, lambda rows: rows.assign(score=-1000 - rows["score"]))
        curves = pd.read_parquet(folder / "curves.parquet")
        curves["value"] = -curves["value"]
        curves.loc[::7, "value"] = np.nan
        curves.loc[::9, "flops"] = np.nan
        curves.to_parquet(folder / "curves.parquet", index=False)
    drawn = draw(folder)
    if case == "one seed":
        assert "One seed: no band" in drawn["curves"].caption
        assert "pictures were not kept" in drawn["kept"].caption
    assert ("forest" in drawn) == (case != "one arm")
    assert "curves" in drawn


@pytest.mark.slow
def test_same_bytes_again(tmp_path: Path) -> None:
    folder = add_tokens(write_study(tmp_path / "study", images=6, questions=1, pictures=2), images=4)
    results = analyse(load(folder))
    for out in ("a", "b"):
        for make in report.FIGURES:
            make(results, tmp_path / out)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert any(name.endswith(".png") for name in files)
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_a_fault_is_seen() -> None:
    with drawing("fault") as pyplot:
        figure = pyplot.figure(figsize=(3, 2))
        figure.text(0.5, 0.5, "one name")
        figure.text(0.52, 0.51, "another")
        figure.text(0.95, 0.1, "off the page", fontsize=4)
        found = " ".join(faults(figure))
    assert all(words in found for words in ("over", "cut off", "4.0 points"))


def test_series_differ_without_colour() -> None:
    looks = [series_style(i) for i in range(60)]
    assert len({(str(look.dash), look.marker) for look in looks}) == 60


@given(st.lists(st.floats(-100, 100), max_size=20), st.floats(0.01, 5))
def test_labels_keep_their_distance_order_and_bounds(wanted: list[float], gap: float) -> None:
    placed = spread_labels(wanted, gap, -150, 150)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    steps = np.diff([placed[i] for i in order])
    assert (steps >= gap - 1e-6).all()
    assert all(-150 - 1e-6 <= p <= 150 + 1e-6 for p in placed)
    if len(wanted) > 1 and np.diff(sorted(wanted)).min() >= gap:
        assert np.allclose(placed, wanted)


@settings(max_examples=60)
@given(st.lists(st.text(max_size=70), unique=True, max_size=12), st.integers(10, 40))
def test_short_names_are_short_and_never_two_alike(names: list[str], limit: int) -> None:
    short = short_names(names, limit)
    assert len(set(short.values())) == len(names)
    assert all(0 < len(text) <= limit and not re.search(r"[\n\r\u202e]", text) for text in short.values())
    alike = short_names(["default", "regime=adapter tokens=pooled", "regime=adapter, llm=frozen"], 30)
    assert list(alike.values()) == ["default", "adapter+pooled", "adapter+frozen"]
    numbered = short_names([f"variant number {i} of the default arm" for i in (12, 13)], 20)
    assert ["12" in numbered[name] for name in numbered] == [True, False]


@pytest.mark.slow
def test_levels_of_a_study_may_be_anything(tmp_path: Path, draw: Any) -> None:
    folder = write_study(tmp_path / "study", arms=full_factorial(), images=6, questions=1, pictures=0)
    path = folder / "study.yaml"
    text = path.read_text()
    for level, odd in (("frozen", "$a_1$ frozen for all of the many steps"), ("pooled", "-10"), ("adapter", "true!")):
        text = re.sub(rf"\b(?<!un){level}$", f"'{odd}'", text, flags=re.M)
    path.write_text(text)
    assert "-10" in yaml.safe_load(text)["axes"]["tokens"]
    drawn = draw(folder)
    assert "−10" in texts(drawn["marginal"]) or "-10" in texts(drawn["marginal"])
