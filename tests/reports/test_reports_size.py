"""Large studies: a page keeps its size whatever its pictures, and many arms leave it usable."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic_study import write_study

import reports
from reports.examples import MOST_ARMS, choose_examples
from reports.figures.heatmap import MOST, draw_heatmap
from reports.results import Results


def test_photographs_take_what_the_page_leaves(study_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(study_folder, tmp_path / "study"))
    rng = np.random.default_rng(0)
    for i in range(60):
        photo = Image.fromarray(rng.integers(0, 255, (192, 192, 3), dtype=np.uint8))
        for name in (f"c{i}", f"t{i}", *(f"q{i}-{q}" for q in range(3))):
            photo.save(folder / "images" / f"{name}.png")
    page = reports.build(folder, tmp_path / "out").html.read_text(encoding="utf-8")
    assert 2_000_000 < len(page.encode()) < 3_000_000
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    data = json.loads(found.group(1))
    shown = [example["image"] for example in data["examples"] if example["image"]]
    assert 0 < len(set(shown)) < len(data["examples"])
    assert set(shown) <= set(data["pictures"])


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Forty arms of two seeds; the last is the one that differs most."""
    arms: dict[str, dict[str, str]] = {"default": {}}
    arms |= {f"arm {i}": {"regime": "adapter"} for i in range(38)} | {"worst": {"llm": "frozen"}}
    folder = write_study(tmp_path_factory.mktemp("many") / "study", arms=arms, seeds=(0, 1), images=8, pictures=0)
    return reports.analyse(reports.load(folder))


def test_the_example_browser_shows_few_of_many_arms_and_says_which(many: Results) -> None:
    album = choose_examples(many)
    assert len(album.arms) == MOST_ARMS
    assert album.arms[0] == "default"
    assert "worst" in album.arms
    assert f"Of 40 arms, {MOST_ARMS} are shown" in album.rule
    assert all(len(example["arms"]) == MOST_ARMS for example in album.examples)


def test_the_heat_map_shows_the_arms_that_differ_most(many: Results, tmp_path: Path) -> None:
    figure = draw_heatmap(many, tmp_path)
    assert figure is not None
    assert f"The {MOST} of 39 arms that lie furthest" in figure.caption
    assert set(figure.data["arm"]) == set(many.frame.study.others)
