"""lm-eval's tasks and the likelihood of text as benchmarks: records, resumption, controls."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from tiny_corpus import TinyCorpus

from evals.errors import EvaluationError
from evals.records import load_records
from evals.runner import build_suite, evaluate, recompute


class Corpus(TinyCorpus):
    """The tiny corpus with text of its own."""

    def documents(self, split, index_B):
        return [f"{text} and a circle é" for text in self.prompts(split, index_B)]


def suite_of(**benchmarks):
    return build_suite({"name": "text", "benchmarks": benchmarks})


def task(name: str, folder, **further):
    return {"_target_": "evals.benchmarks.lm_eval.LmEvalTask", "task": name, "include_path": str(folder), **further}


@pytest.fixture
def taught(arm, monkeypatch):
    """The arm with a text LLM that it once was: the same but for its head."""
    import copy

    from lavit.model.token_model import TextModel

    llm = copy.deepcopy(arm.model.llm)
    llm.lm_head.weight.data *= 0.5
    monkeypatch.setattr(arm, "_untouched", TextModel(llm, arm.builder.text))
    return arm


def test_a_task_gives_a_record_a_document_with_the_harness_s_scores(arm, tasks, tmp_path) -> None:
    pytest.importorskip("lm_eval")
    from evals.harness import run

    result = evaluate(arm, None, suite_of(own=task("choose", tasks, batch=3)), tmp_path / "out", image_size=8)
    samples = {sample["doc_id"]: sample for sample in run_choose(run, arm, tasks)}
    assert len(result.records) == len(samples) == 7
    for record in result.records:
        sample = samples[int(record.example_id.rpartition("-")[2])]
        assert (record.metric, record.score) == ("acc", sample["acc"])
        assert record.aux == {"acc_norm": sample["acc_norm"]}
        assert record.prompt == sample["doc"]["question"]
        assert record.references == (sample["doc"]["choices"][sample["doc"]["gold"]],)
        likelihoods = [response[0] for response in sample["filtered_resps"]]
        assert record.prediction == sample["doc"]["choices"][int(np.argmax(likelihoods))]
    assert result.metrics["own/acc"] == pytest.approx(np.mean([sample["acc"] for sample in samples.values()]))
    assert load_records(tmp_path / "out" / "records.parquet")[0].benchmark == "own"


def run_choose(run, arm, tasks):
    text = (tasks / "choose.yaml").read_text().replace("rows.jsonl", str(tasks / "rows.jsonl"))
    (tasks / "choose_too.yaml").write_text(text.replace("task: choose", "task: choose_too"))
    return run(arm, "choose_too", include_path=tasks)["samples"]["choose_too"]


def test_an_interrupted_task_goes_on_where_it_stopped(arm, tasks, tmp_path, monkeypatch) -> None:
    pytest.importorskip("lm_eval")
    import evals.harness.model

    entries = {"own": task("write", tasks, batch=2, shots=1), "likely": task("likely", tasks, batch=3)}
    whole = evaluate(arm, None, suite_of(**entries), tmp_path / "whole", image_size=8)
    own, asked = evals.harness.model.LavitLM.generate_until, []

    def counted(self, requests):
        if len(asked) == 4:
            raise KeyboardInterrupt
        asked.extend(requests)
        return own(self, requests)

    monkeypatch.setattr(evals.harness.model.LavitLM, "generate_until", counted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(arm, None, suite_of(**entries), tmp_path / "broken", image_size=8)
    asked.append(None)
    again = evaluate(arm, None, suite_of(**entries), tmp_path / "broken", image_size=8)
    assert len(asked) == 4 + 1 + 3, "the two batches that were done are not asked again"
    assert again.records == whole.records
    assert again.metrics == whole.metrics
    assert len({record.example_id for record in again.records if record.benchmark == "own"}) == 7


def test_metrics_of_the_whole_set_are_computed_from_records(arm, tasks, tmp_path) -> None:
    pytest.importorskip("lm_eval")
    result = evaluate(arm, None, suite_of(text=task("likely", tasks)), tmp_path, image_size=8)
    assert recompute(tmp_path) == (result.metrics, result.skipped)
    nats = sum(-row.aux["bits_per_byte_item0"] for row in result.records)
    size = sum(len(row.references[0].encode()) for row in result.records)
    assert result.metrics["text/bits_per_byte_corpus"] == pytest.approx(nats / size / math.log(2))
    words = sum(len(row.references[0].split()) for row in result.records)
    assert result.metrics["text/word_perplexity_corpus"] == pytest.approx(math.exp(nats / words), rel=1e-6)
    assert not any("_item" in name for name in result.metrics)


def test_tasks_with_images_have_their_controls(taught, tasks, tmp_path) -> None:
    pytest.importorskip("lm_eval")
    controls = {"vision_off": 2, "untouched": None}
    result = evaluate(taught, None, suite_of(seen=task("seen", tasks, controls=controls)), tmp_path, image_size=8)
    assert recompute(tmp_path) == (result.metrics, result.skipped)
    counts = dict.fromkeys(("", "vision_off", "untouched"), 0)
    for record in result.records:
        counts[record.control] += 1
    assert counts == {"": 3, "vision_off": 2, "untouched": 3}
    assert {"seen/acc", "seen/acc@vision_off", "seen/acc@untouched"} <= set(result.metrics)


def test_a_metric_that_a_task_has_not_is_refused(arm, tasks, tmp_path) -> None:
    pytest.importorskip("lm_eval")
    with pytest.raises(EvaluationError, match="no metric 'f1'"):
        evaluate(arm, None, suite_of(own=task("choose", tasks, metric="f1")), tmp_path, image_size=8)


def test_text_is_scored_per_byte_beside_what_the_llm_once_knew(taught, tmp_path) -> None:
    corpus = Corpus()
    node = {"_target_": "evals.benchmarks.text.TextLikelihood", "count": 20, "batch": 6}
    controls = {"controls": {"untouched": None}}
    result = evaluate(taught, corpus, suite_of(text=node | controls), tmp_path / "a")
    real = [record for record in result.records if not record.control]
    before = [record for record in result.records if record.control == "untouched"]
    assert [r.example_id for r in real] == [r.example_id for r in before]
    text = real[0].references[0]
    (nats, ids), *_ = taught.nll([""], [text])
    assert real[0].score == pytest.approx(-nats / len(text.encode()), rel=1e-5)
    assert real[0].aux["bytes"] == len(text) + 1 and real[0].aux["ids"] == ids
    total = sum(r.aux["nats"] for r in real) / sum(r.aux["bytes"] for r in real)
    assert result.metrics["text/nats_per_byte"] == pytest.approx(total)
    assert result.metrics["text/loglikelihood_per_byte@untouched"] != result.metrics["text/loglikelihood_per_byte"]
    other = evaluate(taught, corpus, suite_of(text=node | {"batch": 20}), tmp_path / "b")
    assert other.metrics["text/nats_per_byte"] == pytest.approx(result.metrics["text/nats_per_byte"], rel=1e-6)


def test_captions_are_scored_after_their_image(taught, tmp_path) -> None:
    corpus = Corpus()
    controls = {"vision_off": None, "shuffled": None, "untouched": 4}
    node = {"_target_": "evals.benchmarks.text.CaptionLikelihood", "count": 10, "batch": 4, "controls": controls}
    result = evaluate(taught, corpus, suite_of(likely=node), tmp_path)
    by = {control: [r for r in result.records if r.control == control] for control in ("", *controls)}
    assert [len(rows) for rows in by.values()] == [10, 10, 10, 4]
    assert len({record.score for record in by["shuffled"]} & {record.score for record in by[""]}) < 10
    record = by[""][0]
    image = corpus.images("test", [int(record.example_id.rpartition("-")[2])])[0]
    nats = sum(value for value, _ in taught.nll([[image]] * 2, record.references))
    assert record.score == pytest.approx(-nats / sum(len(text.encode()) for text in record.references), rel=1e-5)
    assert record.tokens is not None and by["vision_off"][0].tokens is None


def test_files_of_text_are_read_and_refused(arm, tmp_path) -> None:
    (tmp_path / "a.txt").write_text("a red circle\n\ntwo green\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "a blue\nsquare"}) + "\n")
    (tmp_path / "c.jsonl").write_text('{"text": "a"}\n{"words": "b"}\n')
    node = {"_target_": "evals.benchmarks.text.TextLikelihood"}
    suite = suite_of(a=node | {"file": "a.txt"}, b=node | {"file": "b.jsonl"})
    result = evaluate(arm, None, suite, tmp_path / "out", root=tmp_path, image_size=8)
    assert sorted(record.references[0] for record in result.records) == ["a blue\nsquare", "a red circle", "two green"]
    for name, told in [("c.jsonl", "c.jsonl, line 2"), ("d.txt", "d.txt cannot be read")]:
        with pytest.raises(EvaluationError, match=told):
            evaluate(arm, None, suite_of(c=node | {"file": name}), tmp_path / "no", root=tmp_path, image_size=8)


def test_who_cannot_say_how_likely_a_text_is_is_passed_over(tmp_path) -> None:
    from tiny_corpus import Oracle

    node = {"_target_": "evals.benchmarks.text.CaptionLikelihood", "count": 4}
    result = evaluate(Oracle(), Corpus(), suite_of(likely=node), tmp_path)
    assert "Oracle does not say" in result.skipped["likely"]


def test_other_files_are_another_result(tasks, tmp_path) -> None:
    (own,) = suite_of(own=task("choose", tasks))
    before = own.files_fingerprint(None)
    assert before == own.files_fingerprint(None) != ""
    rows = tasks / "rows.jsonl"
    rows.write_text(rows.read_text().replace("a circle", "a disc", 1))
    assert own.files_fingerprint(None) != before
