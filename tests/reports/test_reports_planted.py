"""Records made elsewhere with a planted effect, and with planted confounds: the report finds each, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from experiments.cli import main
from reports.audit import audit
from reports.findings import find, warnings
from reports.frame import load
from reports.results import analyse

ARMS = {"default": {}, "x=b": {"x": "b"}, "y=b": {"y": "b"}, "z=b": {"z": "b"}}


def write(folder: Path, effects: dict[str, float], arms: dict[str, dict[str, str]] = ARMS, seed: int = 0) -> Path:
    """Answers that are right or wrong, three to an image: an arm's share is the default's plus its effect."""
    (folder / "records").mkdir(parents=True)
    axes = {axis: ["a", "b"] for axis in "xyz"}
    levels = {arm: {**dict.fromkeys("xyz", "a"), **own} for arm, own in arms.items()}
    document = {"name": "planted", "axes": axes, "arms": levels, "default": "default", "headline": "vqa/score"}
    (folder / "study.yaml").write_text(yaml.safe_dump(document))
    rng = np.random.default_rng(seed)
    images, each = 700, 3
    ease = np.repeat(rng.normal(0, 0.5, images), each) + rng.normal(0, 1.5, images * each)
    names = [f"q{i}" for i in range(images * each)]
    for arm in arms:
        for run in range(3):
            luck = rng.normal(0, 0.002)
            threshold = np.quantile(ease, 0.4 - effects.get(arm, 0.0) - luck)
            right = ease + rng.normal(0, 0.3, len(ease)) > threshold
            table = pd.DataFrame({"example_id": names, "score": right.astype(float)})
            table = table.assign(cluster_id=[f"i{i // each}" for i in range(len(names))], prediction="p", reference="r")
            table = table.assign(study="planted", arm=arm, seed=run, benchmark="vqa", split="test")
            table.to_parquet(folder / "records" / f"{arm}-s{run}.parquet")
    return folder


def change(folder: Path, file: str, **columns: Any) -> None:
    path = folder / "records" / file
    pd.read_parquet(path).assign(**columns).to_parquet(path)


def states(folder: Path) -> dict[str, tuple[str, str]]:
    return {check.name: (check.state, " ".join((check.text, *check.items))) for check in audit(analyse(load(folder)))}


def test_a_planted_effect_of_three_points_is_found_and_no_other(tmp_path: Path) -> None:
    folder = write(tmp_path / "records", {"y=b": 0.03})
    assert main(["report", "--records", str(folder), "--out", str(tmp_path / "report")]) == 0
    document = json.loads((tmp_path / "report" / "report.json").read_text())
    found = {c["arm"]: c for c in document["contrasts"] if c["kind"] == "arm"}
    assert {arm: c["verdict"] for arm, c in found.items()} == {
        "x=b": "no evidence", "y=b": "helps", "z=b": "no evidence",
    }  # fmt: skip
    assert found["y=b"]["low"] < 0.03 < found["y=b"]["high"]
    assert all(found[arm]["low"] <= 0 <= found[arm]["high"] for arm in ("x=b", "z=b"))
    assert all(c["detectable"] > 0 for c in found.values())


def test_an_arm_that_changes_two_things_is_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "records", {}, {"default": {}, "x=b": {"x": "b"}, "both": {"y": "b", "z": "b"}})
    cards = {card.title: " ".join(card.lines) for card in find(analyse(load(folder)))}
    assert "Differs from default in y and z: the difference is that of all of these together" in cards["both"]
    assert sum("all of these together" in text for text in cards.values()) == 1


def test_other_prompts_and_references_are_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "records", {})
    assert states(folder)["Same questions"][0] == "ok"
    change(folder, "x=b-s1.parquet", prompt="Answer in a word.")
    change(folder, "z=b-s0.parquet", reference=["r"] * 5 + ["s"] + ["r"] * 2094)
    state, text = states(folder)["Same questions"]
    assert state == "warn"
    assert "x=b: other prompts than default in 2,100 records of vqa, first example 'q0' of seed 1" in text
    assert "z=b: other references than default in 1 records of vqa, first example 'q5' of seed 0" in text


@pytest.mark.parametrize(
    ("header", "check", "word"),
    [
        ({"confounds": [["y=b", "optimizer.lr 3e-4 instead of 1e-3"]]}, "Only the axes differ", "optimizer.lr"),
        ({"spent": {"y=b": 1500}}, "Equal conditions", "y=b trained on 1,500 understanding examples"),
    ],
)
def test_unequal_training_is_told(tmp_path: Path, header: dict[str, Any], check: str, word: str) -> None:
    folder = write(tmp_path / "records", {})
    spent = header.pop("spent", {})
    runs = [
        {"arm": arm, "seed": seed, "status": "done",
         "ledgers": {"pretrain": {"examples_understanding": spent.get(arm, 1000), "flops": 1e9}}}
        for arm in ARMS for seed in range(3)
    ]  # fmt: skip
    (folder / "runs.json").write_text(json.dumps({"runs": runs, "confounds": [], **header}))
    found = states(folder)
    assert found[check][0] == "warn" and word in found[check][1]
    others = {"Only the axes differ", "Equal conditions"} - {check}
    assert all(found[name][0] == "ok" for name in others)
    assert bool(warnings(analyse(load(folder)))) == bool(spent)
