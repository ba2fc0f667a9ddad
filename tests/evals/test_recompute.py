"""Metrics from records alone."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
from omegaconf import OmegaConf
from test_stage import compose
from tiny_corpus import Averaging, Oracle, TinyCorpus

from evals.errors import EvaluationError
from evals.records import check_controls, load_records, save_records
from evals.runner import build_suite, evaluate, recompute


@pytest.mark.parametrize(("exact", "model"), [(True, Oracle), (False, Averaging)])
def test_every_metric_comes_out_of_the_records(tmp_path, exact, model) -> None:
    entries = [compose("smoke", name).suite["benchmarks"] for name in ("core", "best_of")]
    suite = build_suite({"name": "all", "benchmarks": {**entries[0], **entries[1]}})  # drawings re-ranked as well
    result = evaluate(model(), TinyCorpus(exact=exact), suite, tmp_path / "whole")
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("records.parquet", "protocol.json"):
        shutil.copy(tmp_path / "whole" / name, alone)
    metrics, missing = recompute(alone)
    assert metrics == result.metrics
    assert missing == result.skipped
    assert {name.split("/")[0] for name in metrics} == {"caption", "vqa", "t2i", "tokenizer", "t2i_best_of"}


def test_a_score_that_was_tampered_with_does_not_last(corpus, suite, tmp_path) -> None:
    result = evaluate(Oracle(), corpus, suite, tmp_path)
    own = ("caption", "vqa")
    records = load_records(tmp_path / "records.parquet")
    save_records(tmp_path / "records.parquet", [r.scored(0.25) if r.benchmark in own else r for r in records])
    assert recompute(tmp_path)[0] == result.metrics


def test_what_was_not_left_by_a_suite_is_refused(corpus, suite, tmp_path) -> None:
    with pytest.raises(EvaluationError, match=r"no .*protocol\.json"):
        recompute(tmp_path)
    evaluate(Oracle(), corpus, suite, tmp_path)
    protocol = json.loads((tmp_path / "protocol.json").read_text())
    protocol["vqa"]["entry"] = None
    (tmp_path / "protocol.json").write_text(json.dumps(protocol))
    with pytest.raises(EvaluationError, match="how benchmark 'vqa' was built"):
        recompute(tmp_path)


def test_a_control_out_of_order_is_refused(corpus, suite, tmp_path) -> None:
    records = [r for r in evaluate(Oracle(), corpus, suite, tmp_path).records if r.benchmark == "caption"]
    check_controls(records)
    off = [place for place, record in enumerate(records) if record.control == "vision_off"]
    swapped = list(records)
    swapped[off[0]], swapped[off[1]] = records[off[1]], records[off[0]]
    with pytest.raises(EvaluationError, match=f"'vision_off'.*{records[off[0]].example_id}.*out of order"):
        check_controls(swapped)
    stranger = [*records, dataclasses.replace(records[off[0]], example_id="test-999")]
    with pytest.raises(EvaluationError, match="no real counterpart"):
        check_controls(stranger)


def test_a_suite_is_rebuilt_as_it_was_configured(corpus, suite, tmp_path) -> None:
    evaluate(Oracle(), corpus, suite, tmp_path)
    entry = json.loads((tmp_path / "protocol.json").read_text())["vqa"]["entry"]
    again = build_suite(OmegaConf.create({"name": "again", "benchmarks": {"vqa": entry}}))[0]
    assert again.settings() == suite[1].settings()
