"""Coverage and family-wise error of a report, from record files to contrasts: studies whose truth is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import reports

ARMS, SEEDS, IMAGES, QUESTIONS = 12, 3, 60, 2
TRUTH = {"a1": 0.0, "a11": -0.15}


def write(folder: Path, replicate: int) -> Path:
    """Twelve arms of three seeds on 0/1 answers, two to an image; the last arm alone differs in truth."""
    rng = np.random.default_rng([6, replicate])
    (folder / "records").mkdir(parents=True)
    names = [f"a{i}" for i in range(ARMS)]
    study = {"name": "known", "axes": {}, "arms": {a: {} for a in names}, "default": "a0", "headline": "vqa/score"}
    study["family"] = names[1:-1]
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    ease_I = rng.normal(0, 0.1, IMAGES)
    luck_S = rng.normal(0, 0.02, SEEDS)
    parts = []
    for arm in names:
        for seed in range(SEEDS):
            chance_I = (
                0.6 + TRUTH.get(arm, 0.0) + ease_I + luck_S[seed] + rng.normal(0, 0.02) + rng.normal(0, 0.05, IMAGES)
            )
            right_E = rng.random(IMAGES * QUESTIONS) < np.repeat(chance_I, QUESTIONS)
            example = [f"e{i}" for i in range(IMAGES * QUESTIONS)]
            cluster = [f"i{i // QUESTIONS}" for i in range(IMAGES * QUESTIONS)]
            part = {"example_id": example, "cluster_id": cluster, "score": right_E.astype(float)}
            parts.append(pd.DataFrame(part).assign(arm=arm, seed=seed))
    records = pd.concat(parts).assign(study="known", benchmark="vqa", split="test", prediction="", reference="[]")
    records.to_parquet(folder / "records" / "all.parquet", index=False)
    return folder


def judge(folder: Path, replicates: int) -> tuple[dict[str, float], float]:
    """(arm -> share of studies whose interval holds its truth, share of studies with a false finding)."""
    hits = dict.fromkeys(TRUTH, 0)
    false = 0
    for replicate in range(replicates):
        results = reports.analyse(reports.load(write(folder / str(replicate), replicate)))
        headline = results.headline
        assert headline is not None
        for arm, truth in TRUTH.items():
            effect = results.effects.arm(headline, arm)
            assert effect is not None
            hits[arm] += effect.contrast.low <= truth <= effect.contrast.high
        null = [e for e in results.effects.effects if e.kind == "arm" and e.subject in results.frame.study.family]
        assert {e.contrast.family_size for e in null} == {ARMS - 2}
        false += any(e.verdict in ("helps", "hurts") for e in null)
    return {arm: count / replicates for arm, count in hits.items()}, false / replicates


def check(folder: Path, replicates: int) -> None:
    def error(share: float) -> float:
        return 2 * math.sqrt(share * (1 - share) / replicates)

    covered, false = judge(folder, replicates)
    for arm, share in covered.items():
        assert 0.93 - error(0.95) <= share <= 0.97 + error(0.95), arm
    assert false <= 0.05 + error(0.05)


def test_coverage_of_reports_from_records(tmp_path: Path) -> None:
    check(tmp_path, 20)


@pytest.mark.slow
def test_coverage_of_reports_from_records_at_length(tmp_path: Path) -> None:
    check(tmp_path, 200)
