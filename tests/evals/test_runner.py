"""Whole evaluations of models whose score is known beforehand."""

from __future__ import annotations

import hashlib
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from tiny_corpus import Averaging, Blind, Oracle, TinyCorpus

from evals.errors import EvaluationError
from evals.records import load_records
from evals.runner import build_suite, evaluate


def hashes(folder):
    """Content of every final file: parts are scratch."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "resume" not in path.parts
    }


def test_who_knows_everything_gets_everything(corpus, suite, tmp_path) -> None:
    metrics = evaluate(Oracle(), corpus, suite, tmp_path).metrics
    assert metrics["vqa/accuracy"] == metrics["vqa/accuracy.count"] == metrics["vqa/balanced.existence"] == 1
    assert metrics["caption/CIDEr"] > 4
    assert metrics["t2i/exact"] == metrics["t2i/objects"] == metrics["t2i/committed"] == 1
    assert metrics["t2i/exact@ceiling"] == 1
    assert metrics["t2i/exact_chance"] < 0.3
    assert metrics["tokenizer/kept_corr_objects"] == pytest.approx(1)
    assert metrics["tokenizer/codes_used"] == 3
    assert metrics["tokenizer/cosine_objects"] == pytest.approx(0.9)


def test_controls_lie_below_what_they_control(corpus, suite, tmp_path) -> None:
    metrics = evaluate(Oracle(), corpus, suite, tmp_path).metrics
    for name in ("caption/CIDEr", "vqa/accuracy"):
        for control in ("vision_off", "shuffled", "text_prior"):
            assert metrics[f"{name}@{control}"] < 0.8 * metrics[name], (name, control)


def test_who_is_blind_is_at_the_floor(corpus, suite, tmp_path) -> None:
    result = evaluate(Blind(), corpus, suite, tmp_path)
    metrics = result.metrics
    assert metrics["vqa/accuracy"] <= metrics["vqa/majority"]
    assert metrics["vqa/balanced.existence"] == 0.5
    assert metrics["caption/CIDEr@shuffled"] == pytest.approx(
        np.mean([r.score for r in result.records if r.control == "" and r.benchmark == "caption"][:25])
    )


def test_what_cannot_be_done_is_absent_and_the_reason_is_kept(corpus, suite, tmp_path) -> None:
    metrics = evaluate(Blind(), corpus, suite, tmp_path).metrics
    assert not any(name.startswith("t2i/") for name in metrics)
    assert "no visual loss" in json.loads((tmp_path / "skipped.json").read_text())["t2i"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics


def test_records_are_complete_unique_and_in_order(corpus, suite, tmp_path) -> None:
    evaluate(Oracle(), corpus, suite, tmp_path)
    records = load_records(tmp_path / "records.parquet")
    counts = Counter((record.benchmark, record.control) for record in records)
    assert counts == {
        ("caption", ""): 50,
        ("caption", "vision_off"): 20,
        ("caption", "shuffled"): 25,
        ("caption", "text_prior"): 50,
        ("vqa", ""): 120,
        ("vqa", "vision_off"): 80,
        ("vqa", "shuffled"): 100,
        ("vqa", "text_prior"): 120,
        ("t2i", ""): 40,
        ("t2i", "ceiling"): 10,
        ("tokenizer", ""): 40,  # cosine on objects and on all patches
    }
    for benchmark in ("caption", "vqa", "t2i"):
        rows = {
            c: [r for r in records if (r.benchmark, r.control) == (benchmark, c)] for b, c in counts if b == benchmark
        }
        for control in rows:  # a control holds the first examples of the real thing, in the same order
            assert [r.example_id for r in rows[control]] == [r.example_id for r in rows[""]][: len(rows[control])]
    question = next(record for record in records if record.benchmark == "vqa")
    assert question.cluster_id == "-".join(question.example_id.split("-")[:2])
    assert question.kind == "count"
    assert question.references == (question.prediction,)


def test_a_shuffled_question_is_answered_from_another_image(corpus, suite, tmp_path) -> None:
    evaluate(Oracle(), corpus, suite, tmp_path)
    rows = [r for r in load_records(tmp_path / "records.parquet") if r.benchmark == "vqa"]
    kept = {r.example_id: r for r in rows if r.control == ""}
    shuffled = [r for r in rows if r.control == "shuffled"]
    assert all(r.prompt == kept[r.example_id].prompt for r in shuffled)
    assert any(r.prediction != kept[r.example_id].prediction for r in shuffled)
    assert all(r.score == float(r.prediction in r.references) for r in shuffled)


@pytest.mark.parametrize("calls", [0, 1, 3, 5, 7, 9, 11, 13, 14])
def test_an_interrupted_evaluation_goes_on(corpus, suite, tmp_path, calls: int) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    complete = Oracle()
    evaluate(complete, corpus, suite, whole)
    first = Oracle()
    first.fail_after = calls
    with pytest.raises(RuntimeError, match="power"):
        evaluate(first, corpus, suite, broken)
    assert not (broken / "records.parquet").exists()
    second = Oracle()
    evaluate(second, corpus, suite, broken)
    assert second.calls == complete.calls - calls  # nothing is asked twice
    assert hashes(broken) == hashes(whole)


def test_parts_of_another_protocol_are_not_used(corpus, suite, tmp_path, caplog) -> None:
    evaluate(Oracle(), corpus, suite, tmp_path)
    model = Oracle()
    suite[0].count = 40
    result = evaluate(model, corpus, suite, tmp_path)
    assert "another protocol" in caplog.text
    assert sum(r.benchmark == "caption" and r.control == "" for r in result.records) == 40


def test_two_runs_write_the_same_bytes(corpus, suite, tmp_path) -> None:
    evaluate(Oracle(), corpus, suite, tmp_path / "a", seed=3)
    evaluate(Oracle(), TinyCorpus(), suite, tmp_path / "b", seed=3)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_pictures_are_kept_for_the_report(corpus, suite, tmp_path) -> None:
    evaluate(Oracle(), corpus, suite, tmp_path)
    names = sorted(path.name.split("-")[0] for path in (tmp_path / "samples").iterdir())
    assert Counter(names) == {"t2i": 3, "truth": 3, "ceiling": 3}
    images = list((tmp_path / "images").iterdir())
    assert len(images) == 50
    assert all(48 <= Image.open(path).width <= 128 for path in images)
    clusters = {record.cluster_id for record in load_records(tmp_path / "records.parquet")}
    assert {path.stem for path in images} <= clusters
    drawn = load_file(tmp_path / "drawings-t2i.safetensors")
    assert drawn["images"].shape == (40, 8, 8, 3)
    assert len(set(drawn["index"].tolist())) == 40


def test_the_protocol_says_what_was_asked_of_how_many(corpus, suite, tmp_path) -> None:
    a = evaluate(Oracle(), corpus, suite, tmp_path / "a").protocol
    b = evaluate(Blind(), corpus, suite, tmp_path / "b").protocol
    assert a["caption"] == b["caption"]
    assert a["caption"]["examples"] == {"": 50, "vision_off": 20, "shuffled": 25, "text_prior": 50}
    suite[0].count = 49
    c = evaluate(Oracle(), corpus, suite, tmp_path / "c").protocol
    assert c["caption"]["examples_sha256"] != a["caption"]["examples_sha256"]


def test_without_an_exact_judge_drawings_are_compared_with_the_real_image(suite, tmp_path) -> None:
    corpus = TinyCorpus(exact=False)
    oracle = evaluate(Oracle(), corpus, suite, tmp_path / "oracle").metrics
    averaging = evaluate(Averaging(), corpus, suite, tmp_path / "averaging").metrics
    assert oracle["t2i/retrieval@ceiling"] == 1
    assert oracle["t2i/cosine@ceiling"] > 0.99
    assert oracle["t2i/retrieval_chance"] == 5 / 40
    assert oracle["t2i/reciprocal_rank"] > 2 * averaging["t2i/reciprocal_rank"]
    assert averaging["t2i/retrieval"] <= 2 * averaging["t2i/retrieval_chance"]
    assert "tokenizer/cosine_objects" not in oracle
    assert "t2i/exact" not in oracle


def test_averaging_backgrounds_is_seen(corpus, suite, tmp_path) -> None:
    metrics = evaluate(Averaging(), corpus, suite, tmp_path).metrics
    assert metrics["t2i/committed"] == metrics["t2i/exact"] == 0


def test_progress_is_told_for_every_batch(corpus, suite, tmp_path) -> None:
    told = []
    evaluate(Oracle(), corpus, suite, tmp_path, progress=lambda *news: told.append(news))
    assert [step for step, *_ in told] == [*range(1, 19), 18]
    assert {total for _, total, _ in told} == {18}
    assert "vqa/accuracy" in told[-1][2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"controls": {"blindfold": 3}}, "no control 'blindfold'"),
        ({"batch": 0}, "batch is 0"),
        ({"_target_": "builtins.dict"}, "is not a benchmark"),
    ],
)
def test_a_bad_suite_is_refused(change, message: str) -> None:
    entry = {"_target_": "evals.benchmarks.caption.Captioning", "count": 8} | change
    with pytest.raises(EvaluationError, match=message):
        build_suite({"name": "bad", "benchmarks": {"caption": entry}})


def test_an_empty_suite_and_an_empty_benchmark_are_refused(corpus, tmp_path) -> None:
    with pytest.raises(EvaluationError, match="no benchmarks"):
        build_suite({"name": "empty", "benchmarks": {}})
    entry = {"_target_": "evals.benchmarks.caption.Captioning", "count": 0}
    with pytest.raises(EvaluationError, match="no example"):
        evaluate(Oracle(), corpus, build_suite({"name": "none", "benchmarks": {"caption": entry}}), tmp_path)
