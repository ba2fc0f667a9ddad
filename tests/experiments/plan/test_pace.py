"""Times: measured where something like it has finished, rough and saying so where not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.pace import Pace, makespan, planned_steps
from experiments.plan import StageJob

SCALE = {"name": "smoke", "seconds": {"pretrain": 10}, "steps": {"pretrain": 100}}


def finish(
    store: Path, key: str, wall: float, config: dict[str, Any], scale: str = "smoke", stage: str = "pretrain"
) -> None:
    folder = store / stage / key
    folder.mkdir(parents=True)
    (folder / "DONE.json").write_text(json.dumps({"wall_s": wall}))
    (folder / "request.yaml").write_text(yaml.safe_dump({"scale": scale, "config": config}))


def config(steps: int = 100, arm: str = "a", **more: Any) -> dict[str, Any]:
    return {"train": {"steps": steps}, "regime": {"name": arm, "more": arm}, **more}


def test_nothing_is_known(tmp_path: Path) -> None:
    assert Pace(tmp_path, {}, "smoke").estimate("pretrain", config()) == (None, "")


def test_rough_figures_follow_the_steps(tmp_path: Path) -> None:
    pace = Pace(tmp_path, SCALE, "smoke")
    assert pace.estimate("pretrain", config()) == (10.0, "rough")
    assert pace.estimate("pretrain", config(300)) == (30.0, "rough")


def test_finished_stages_of_the_same_scale_count(tmp_path: Path) -> None:
    finish(tmp_path, "k1", 4.0, config(50))
    finish(tmp_path, "k2", 400.0, config(50), scale="quick")
    assert Pace(tmp_path, SCALE, "smoke").estimate("pretrain", config(200)) == (16.0, "measured (1)")
    assert Pace(tmp_path, SCALE, "standard").estimate("pretrain", config()) == (10.0, "rough")


def test_the_nearest_configs_count_and_their_median(tmp_path: Path) -> None:
    for index, wall in enumerate((5.0, 6.0, 40.0)):
        finish(tmp_path, f"a{index}", wall, config())
    finish(tmp_path, "b", 90.0, config(arm="b"))
    pace = Pace(tmp_path, SCALE, "smoke")
    assert pace.estimate("pretrain", config()) == (6.0, "measured (3)")
    assert pace.estimate("pretrain", config(arm="b")) == (90.0, "measured (1)")


def test_another_config_is_scaled_by_flops(tmp_path: Path) -> None:
    finish(tmp_path, "k1", 8.0, config(50))
    (tmp_path / "pretrain" / "k1" / "ledger.json").write_text(json.dumps({"flops": 4e9}))
    pace = Pace(tmp_path, SCALE, "smoke")
    assert pace.estimate("pretrain", config(100), 3e9) == (16.0, "measured (1)")  # the same but for its steps
    assert pace.estimate("pretrain", config(100, arm="b"), 3e9) == (6.0, "measured (1, by FLOPs)")
    assert pace.estimate("pretrain", config(100, arm="b")) == (16.0, "measured (1)")  # not priced


@pytest.mark.parametrize("text", ["", "{", "[]", '{"wall_s": "x"}'])
def test_a_broken_folder_is_left_out(text: str, tmp_path: Path) -> None:
    finish(tmp_path, "k", 4.0, config())
    (tmp_path / "pretrain" / "k" / "DONE.json").write_text(text)
    assert Pace(tmp_path, SCALE, "smoke").estimate("pretrain", config()) == (10.0, "rough")


def test_only_the_newest_are_read(tmp_path: Path) -> None:
    for index in range(12):
        finish(tmp_path, f"k{index}", float(index), config())
        os.utime(tmp_path / "pretrain" / f"k{index}" / "DONE.json", (index, index))
    assert Pace(tmp_path, SCALE, "smoke").estimate("pretrain", config())[1] == "measured (8)"


def test_planned_steps() -> None:
    assert planned_steps("cooldown", {"cooldown": {"steps": 5}, "train": {"steps": 7}}) == 5
    assert planned_steps("pretrain", {"train": {"steps": 7}}) == 7
    assert planned_steps("evaluate", {"suite": {}, "train": {"steps": True}}) is None


def job(stage: str, key: str, seconds: float | None, done: bool = False, **needs: str) -> StageJob:
    return StageJob(stage, key, "r", {}, 0, needs, "c", "smoke", [], done=done, seconds=seconds)


def test_makespan() -> None:
    jobs = [job("a", "1", 10), job("b", "1", 4), job("b", "2", 4), job("c", "1", 5, a="1", b="1")]
    assert makespan(jobs, 1) == 23
    assert makespan(jobs, 2) == 15
    assert makespan(jobs, 9) == 15
    assert makespan([job("a", "1", 10, done=True), job("c", "1", None, a="1")], 1) == 0
