"""The printed plan says all of it, in a hundred columns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.plan import Plan
from experiments.render_plan import render_plan
from experiments.render_text import duration

Plans = Callable[..., Plan]


@pytest.mark.parametrize(
    "overrides",
    [
        ["study=quickstart"],
        ["study=lavit_paper", "study.seeds=1"],
        ["study=quickstart", "study.until=tokenizer", "study.default={target: continuous}"],
        ["study=quickstart", "llm=frozen", "study.power={sd_seed: 0.07}"],
        ["study=quickstart", "study.axes.b={a_level_of_a_long_name: [], another_level_of_a_long_name: 'train.steps=3'}",
         "study.axes.c={one_more_level_of_a_long_name: [], yet_another_of_a_long_name: 'optimizer.lr=3'}"],
    ],
)  # fmt: skip
def test_every_line_fits(overrides: list[str], plan: Plans) -> None:
    text = plan(*overrides).render()
    assert max(map(len, text.splitlines())) <= 100


def test_what_it_says(plan: Plans) -> None:
    text = render_plan(plan("study=lavit_paper"), workers=2)
    for words in (
        "12 arms x 3 seeds = 36 runs", "regime=adapter & target=continuous (4 combinations left out)",
        "an adapter has no visual", "tokenizer     6          36      30     0", "4 of 4 main effects, 5 of 6 two-way",
        "not regime x target: void", "one arm vs default", "3.31 (2.39)", "design: one_at_a_time has 5 arms, 15 runs",
        "on 2 cores (rough figures", "times the work", "conclusions are conditional on them",
    ):  # fmt: skip
        assert words in text or words in " ".join(text.split())


def test_special_cases_are_said(plan: Plans) -> None:
    assert "with one seed there is no interval" in plan("study=quickstart", "study.seeds=1").render()
    assert "nothing to run" in plan("study=quickstart", is_done=lambda stage, key: True).render()
    assert "not known" in plan("study=quickstart", "~scale.seconds").render()
    moved = plan("study=quickstart", "study.default={target: continuous}").render()
    assert "nearest valid arm, target=discrete" in " ".join(moved.split())
    many = plan("study=quickstart", f"study.axes.lr={{key: optimizer.lr, levels: {list(range(1, 60))}}}")
    assert "more" in many.render()


def test_effects_in_the_metrics_own_units(plan: Plans) -> None:
    text = plan("study=quickstart", "study.power={sd_seed: 0.1}").render()
    assert "in caption/CIDEr (pilot SD 0.1)" in " ".join(text.split())
    assert "0.341 (0.261)" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.4, "0 s"),
        (119, "119 s"),
        (200, "3 min 20 s"),
        (3000, "50 min"),
        (7500, "2 h 05 min"),
        (4e5, "4 d 15 h"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
