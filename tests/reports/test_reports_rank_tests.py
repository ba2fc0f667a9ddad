"""Rank tests over many benchmarks: computed from ten on, in the right direction, and told in report.json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import reports
from reports import rank_tests


def write(folder: Path, benchmarks: int) -> Path:
    """Three arms over benchmarks of twenty examples: `good` beats the default on all but one, `same` on half."""
    (folder / "records").mkdir(parents=True)
    rng = np.random.default_rng(0)
    ease = rng.normal(0.5, 0.1, (benchmarks, 20))
    for arm in ("default", "good", "same"):
        for seed in (0, 1):
            rows = []
            for b in range(benchmarks):
                gain = {"default": 0.0, "good": 0.3 if b else -0.3, "same": 0.05 * (-1) ** b}[arm]
                for e in range(20):
                    row = {"study": "many", "arm": arm, "seed": seed, "benchmark": f"b{b:02}", "split": "test"}
                    row |= {"example_id": f"e{e}", "cluster_id": f"e{e}", "prediction": "", "reference": "[]"}
                    rows.append(row | {"score": ease[b, e] + gain + rng.normal(0, 0.01)})
            pd.DataFrame(rows).to_parquet(folder / "records" / f"{arm}-s{seed}.parquet", index=False)
    study = {"name": "many", "question": "?", "axes": {}, "default": "default", "headline": "b00/score"}
    study["arms"] = {"default": {}, "good": {}, "same": {}}
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return folder


def test_an_arm_that_wins_almost_everywhere_is_ranked_first(tmp_path: Path) -> None:
    folder = write(tmp_path / "many", 12)
    reports.build(folder)
    told = json.loads((folder / "report.json").read_text())["rank_tests"]
    assert len(told["benchmarks"]) == 12
    assert told["ranks"]["good"] == pytest.approx((11 + 3) / 12)
    assert told["p"] < 0.01
    assert told["f_df"] == [2, 22]
    pairs = {pair["arm"]: pair for pair in told["pairs"]}
    assert pairs["good"]["nemenyi"] < 0.05 < pairs["same"]["nemenyi"]
    assert pairs["good"]["wilcoxon"] < 0.05 < pairs["same"]["wilcoxon"]


def test_few_benchmarks_are_not_ranked(tmp_path: Path) -> None:
    assert rank_tests.rank_tests(reports.analyse(reports.load(write(tmp_path / "few", 9)))) is None


def test_arms_that_are_alike_everywhere() -> None:
    scores = np.zeros((10, 3))
    scores[:, 2] = np.arange(10)
    found = rank_tests.rank(scores, [str(b) for b in range(10)], ["a", "b", "c"], "a")
    assert found.ranks["a"] == found.ranks["b"]
    assert {pair.arm: pair.nemenyi for pair in found.pairs}["b"] == pytest.approx(1.0)
    assert {pair.arm: pair.wilcoxon for pair in found.pairs}["b"] == 1.0
