"""Corpus BLEU and numbers of a whole set among the contrasts: their estimates, intervals, verdicts and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from experiments.errors import LavitError
from reports.families import compute_effects
from reports.frame import load
from reports.measure import Scores
from reports.report import build
from reports.resample import corpus_bleu

ARMS = ("default", "better", "same")
IMAGES = 60


def write(
    folder: Path, seeds: int = 3, spoil: bool = False, metrics: Any = None, headline: str = "caption/CIDEr"
) -> Path:
    """Captions of ten words: of each arm another share of n-grams is matched; FID as ``metrics(arm, seed)`` says."""
    (folder / "records").mkdir(parents=True)
    document = {"name": "b", "axes": {"x": list(ARMS)}, "arms": {arm: {"x": arm} for arm in ARMS}}
    document |= {"default": "default", "headline": headline}
    (folder / "study.yaml").write_text(yaml.safe_dump(document))
    runs = []
    for at, arm in enumerate(ARMS):
        for seed in range(seeds):
            rng = np.random.default_rng([at, seed])
            rows = []
            for image in range(IMAGES):
                share = {"default": 0.6, "better": 0.75, "same": 0.6}[arm] + rng.normal(0, 0.02)
                matched = [int(rng.binomial(10 - n, share ** (n + 1))) for n in range(4)]
                sums = [*matched, *(10 - n for n in range(4)), 10, 11]
                aux = {
                    "Bleu_4": 0.5 + 0.1 * rng.random(),
                    "sums": {"BLEU": sums[:-1] if spoil and image == 7 else sums},
                }
                rows.append(
                    {"example_id": f"i{image}", "cluster_id": f"i{image}", "score": share, "aux": json.dumps(aux)}
                )
            table = pd.DataFrame(rows).assign(study="b", arm=arm, seed=seed, benchmark="caption", split="test")
            table = table.assign(metric="CIDEr", prediction="p", reference="r")
            table.to_parquet(folder / "records" / f"{arm}-s{seed}.parquet")
            found = metrics(arm, seed) if metrics else {}
            runs.append({"arm": arm, "seed": seed, "status": "done", "metrics": found})
    (folder / "runs.json").write_text(json.dumps({"runs": runs}))
    return folder


def effects_of(folder: Path, **options: Any) -> Any:
    frame = load(folder)
    scores = Scores(frame)
    return scores, compute_effects(frame.study, scores, **options)


def test_corpus_bleu_is_compared_as_a_whole(tmp_path: Path) -> None:
    build(write(tmp_path / "study"))
    document = json.loads((tmp_path / "study" / "report.json").read_text())
    by = {(c["metric"], c.get("arm")): c for c in document["contrasts"] if c["kind"] == "arm"}
    totals = {}
    for path in sorted((tmp_path / "study" / "records").glob("*.parquet")):
        sums = np.array([json.loads(text)["sums"]["BLEU"] for text in pd.read_parquet(path)["aux"]], float)
        totals.setdefault(path.stem.split("-")[0], []).append(float(corpus_bleu(sums.sum(axis=0))))
    found = by["Bleu_4", "better"]
    assert found["estimate"] == pytest.approx(np.mean(totals["better"]) - np.mean(totals["default"]), abs=1e-12)
    assert (found["verdict"], found["family"], found["n_examples"]) == ("helps", "exploratory", IMAGES)
    assert found["replicates"] == 1000
    width = found["high"] - found["low"]
    assert found["bootstrap_low"] == pytest.approx(found["low"], abs=0.5 * width)
    assert found["bootstrap_low"] < found["estimate"] < found["bootstrap_high"]
    assert by["Bleu_4", "same"]["verdict"] == "no evidence"
    assert {metric for metric, _ in by} == {"CIDEr", "Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4"}
    assert by["CIDEr", "better"]["bootstrap_low"] < by["CIDEr", "better"]["bootstrap_high"]
    assert "covers too little" in document["bootstrap"]


def test_a_corpus_metric_may_be_the_headline(tmp_path: Path) -> None:
    scores, effects = effects_of(write(tmp_path / "study", headline="caption/Bleu_4"))
    assert scores.headline.form == "corpus"
    assert {e.family for e in effects.effects if e.measure == scores.headline and e.kind == "arm"} == {"declared"}
    assert [e.verdict for e in effects.shown(scores.headline)] == ["helps", "no evidence"]


def test_sums_of_another_length_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LavitError, match=r"example 'i7'.*10 numbers"):
        effects_of(write(tmp_path / "study", spoil=True))


def fid(arm: str, seed: int) -> dict[str, float]:
    return {"t2i/FID": {"default": 30.0, "better": 20.0, "same": 30.1}[arm] + 0.3 * np.sin(seed + len(arm))}


def test_a_number_of_a_whole_set_is_compared_over_seeds(tmp_path: Path) -> None:
    scores, effects = effects_of(write(tmp_path / "study", metrics=fid), lower=["t2i/FID"], further=["t2i/FID"])
    found = effects.arm(scores.find("t2i/FID"), "better")
    assert found.verdict == "helps"
    assert found.contrast.estimate == pytest.approx(-10, abs=1)
    assert (found.contrast.scope, found.contrast.n_examples, found.family) == ("seeds", 0, "exploratory")
    assert effects.arm(scores.find("t2i/FID"), "same").verdict == "no evidence"


@pytest.mark.parametrize(
    ("seeds", "metrics", "why"),
    [
        (1, fid, "one seed"),
        (3, lambda arm, seed: {"t2i/FID": 20.0 + len(arm)}, "same in every seed"),
        (3, lambda arm, seed: {**fid(arm, seed), "n/t2i": 500.0 + 500 * (arm == "better")}, "500 and 1,000 images"),
    ],
)
def test_what_has_no_interval_says_why(tmp_path: Path, seeds: int, metrics: Any, why: str) -> None:
    scores, effects = effects_of(write(tmp_path / "study", seeds, metrics=metrics), further=["t2i/FID"])
    found = effects.arm(scores.find("t2i/FID"), "better")
    assert not found.contrast.known
    assert found.verdict == "not estimable"
    assert why in found.contrast.reason


def test_a_whole_set_number_as_headline_of_a_report(tmp_path: Path) -> None:
    folder = write(tmp_path / "study", metrics=fid, headline="t2i/FID")
    build(folder)
    document = json.loads((folder / "report.json").read_text())
    assert document["findings"][0]["verdict"].startswith("helps")
    assert document["findings"][0]["sentence"].startswith("better beats default")
