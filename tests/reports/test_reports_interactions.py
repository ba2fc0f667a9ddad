"""Two-way interactions: known answers, what cannot be told, and that they reach report.json."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_study import write_study

import reports
from reports.contrast import contrast
from reports.interactions import interactions
from reports.measure import Cube
from reports.study import Study


def factorial(names: str) -> Study:
    axes = dict.fromkeys(names, ("low", "high"))
    arms = {
        f"run{i}": {name: axes[name][i >> bit & 1] for bit, name in enumerate(names)} for i in range(2 ** len(names))
    }
    return Study("m", "", "full", axes, arms, "run0", "x", (), None, (0,))


def cube_of(means: list[float]) -> Cube:
    values = np.array(means, float)[:, None, None] * np.ones((1, 2, 2))
    return Cube(tuple(f"run{i}" for i in range(len(means))), (0, 1), values, 2)


def test_interactions_of_a_factorial_are_twice_montgomerys(statistics_fixtures: Path) -> None:
    known = json.loads((statistics_fixtures / "factorial_effects.json").read_text())
    cube = cube_of(known["standard_order_responses"])
    found = {i.axes: i for i in interactions(factorial("ABCD"), cube)}
    assert len(found) == 6
    for pair in itertools.combinations("ABCD", 2):
        interaction = found[pair]
        assert len(interaction.quadruples) == 4
        estimate = contrast(cube, interaction.weights).estimate
        assert estimate == pytest.approx(2 * known["full_2^4_effects"]["".join(pair)])


def test_only_whole_quadruples_count() -> None:
    study = factorial("AB")
    means = [1.0, 2.0, 3.0, 9.0]
    assert contrast(cube_of(means), interactions(study, cube_of(means))[0].weights).estimate == pytest.approx(5.0)
    cube = cube_of(means)
    cube.values_ASC[3] = np.nan
    assert interactions(study, cube) == []


def test_a_planted_interaction_is_found_and_named(tmp_path: Path) -> None:
    axes = {"a": ["no", "yes"], "b": ["no", "yes"]}
    rng = np.random.default_rng(0)
    example = rng.normal(0, 1, 150)
    rows = []
    for a, b in itertools.product(*axes.values()):
        arm = f"a={a} b={b}"
        for seed in range(3):
            truth = 0.2 * (a == "yes") + 1.5 * (a == b == "yes") + rng.normal(0, 0.05)
            for i, base in enumerate(example):
                rows.append((arm, seed, i, base + truth + rng.normal(0, 0.5)))
    write_records(tmp_path, axes, rows)
    reports.build(tmp_path)
    contrasts = json.loads((tmp_path / "report.json").read_text())["contrasts"]
    (found,) = [c for c in contrasts if c["kind"] == "interaction"]
    assert (found["axis"], found["level"], found["against"]) == ("a*b", "yes*yes", "no*no")
    assert found["verdict"] == "interact"
    assert found["low"] < 1.5 < found["high"]
    assert found["family"] == "exploratory"
    with (tmp_path / "study.yaml").open("a") as file:
        file.write("interactions: [[b, a]]\n")
    reports.build(tmp_path)
    contrasts = json.loads((tmp_path / "report.json").read_text())["contrasts"]
    assert [c["family"] for c in contrasts if c["kind"] == "interaction"] == ["interactions"]


def write_records(folder: Path, axes: dict[str, list[str]], rows: list[tuple]) -> None:
    import pandas as pd
    import yaml

    frame = pd.DataFrame(rows, columns=["arm", "seed", "example_id", "score"])
    frame["example_id"] = frame["cluster_id"] = frame["example_id"].astype(str)
    frame = frame.assign(study="planted", benchmark="task", split="test", prediction="", reference="[]")
    (folder / "records").mkdir(parents=True)
    frame.to_parquet(folder / "records" / "all.parquet")
    arms = {arm: dict(part.split("=") for part in arm.split()) for arm in frame["arm"].unique()}
    study = {"name": "planted", "question": "?", "axes": axes, "arms": arms}
    study |= {"default": next(iter(arms)), "headline": "task/score"}
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))


def test_one_at_a_time_tells_no_interaction(tmp_path: Path) -> None:
    write_study(tmp_path, images=30)
    reports.build(tmp_path)
    contrasts = json.loads((tmp_path / "report.json").read_text())["contrasts"]
    assert {c["kind"] for c in contrasts} == {"arm", "main_effect"} or {c["kind"] for c in contrasts} == {"arm"}


def test_records_from_anywhere_make_a_report_by_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from experiments.cli import main

    rng = np.random.default_rng(1)
    rows = [
        (f"a={a}", seed, i, float(rng.random() < 0.4 + 0.3 * (a == "yes")))
        for a in ("no", "yes")
        for seed in range(3)
        for i in range(200)
    ]
    write_records(tmp_path / "in", {"a": ["no", "yes"]}, rows)
    assert main(["report", "--records", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").is_file()
    assert "a=yes" in capsys.readouterr().out
    assert not (tmp_path / "in" / "report.html").exists()
    assert main(["report", "--records", str(tmp_path / "in"), "study=quickstart"]) == 2
    assert main(["report", "--records", str(tmp_path / "nowhere")]) == 2
