"""The captioning benchmark: further metrics, decoding, prompt and clean-up as settings."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_corpus import Oracle, TinyCorpus

from evals.errors import EvaluationError
from evals.metrics.caption import score_set
from evals.records import load_records
from evals.runner import build_suite, evaluate
from lavit.model.text_settings import GREEDY_CAPTION, TextSettings
from reports.resample import corpus_bleu

PLAIN = ["CIDEr", "BLEU", "ROUGE_L"]


def benchmark(**settings):
    entry = {"_target_": "evals.benchmarks.caption.Captioning", "count": 20, "batch": 8, **settings}
    return build_suite({"name": "tiny", "benchmarks": {"caption": entry}})


class Writer(Oracle):
    """Remembers how it was asked."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def caption(self, visual, count, *settings):
        self.asked.append(settings)
        return super().caption(visual, count)

    def complete(self, prompts, settings):
        self.asked.append((prompts, settings))
        return ["a red square. and so on"] * len(prompts)


def test_further_metrics_are_scores_of_records_and_official_scores_of_the_set(corpus: TinyCorpus, tmp_path) -> None:
    controls = {"vision_off": 10, "shuffled": 12, "text_prior": 0}
    result = evaluate(Oracle(), corpus, benchmark(metrics=PLAIN, controls=controls), tmp_path)
    for control, count in (("", 20), ("vision_off", 10), ("shuffled", 12)):
        rows = [record for record in result.records if record.control == control]
        assert len(rows) == count
        expected = score_set(
            [r.prediction for r in rows], [r.references for r in rows], ("Bleu_1", "Bleu_4", "ROUGE_L")
        )
        at = f"@{control}" if control else ""
        for name, value in expected.totals.items():
            assert result.metrics[f"caption/{name}{at}"] == value
            assert [row.aux[name] for row in rows] == expected.per_image[name].tolist()
        summed = np.array([row.facts["sums"]["BLEU"] for row in rows]).sum(0)  # the set's BLEU is made of these
        assert corpus_bleu(summed.astype(float)) == pytest.approx(expected.totals["Bleu_4"], rel=1e-6)
    plain = evaluate(Oracle(), corpus, benchmark(controls=controls), tmp_path / "plain")
    assert [r.score for r in plain.records] == [r.score for r in result.records]
    assert all(not record.aux for record in plain.records)


def test_metrics_come_again_from_saved_records_alone(corpus: TinyCorpus, tmp_path) -> None:
    suite = benchmark(metrics=PLAIN, controls={"shuffled": 12})
    metrics = evaluate(Oracle(), corpus, suite, tmp_path).metrics
    assert suite[0].summarise(load_records(tmp_path / "records.parquet"))[0] == metrics
    rescored = suite[0].rescore(load_records(tmp_path / "records.parquet"))
    assert suite[0].summarise(rescored)[0] == metrics


def test_what_is_missing_is_absent_and_the_reason_is_kept(corpus: TinyCorpus, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    suite = benchmark(metrics=["CIDEr", "METEOR", "Bleu_4"], tokenizer="auto")
    result = evaluate(Oracle(), corpus, suite, tmp_path)
    assert "caption/METEOR" not in result.metrics
    assert result.metrics["caption/Bleu_4"] > 0
    assert "there is no Java here" in json.loads((tmp_path / "skipped.json").read_text())["caption/METEOR"]
    assert suite[0].settings()["tokenizer"].startswith("ptb-python")


def test_decoding_and_prompt_reach_the_model_only_where_they_are_given(corpus: TinyCorpus, tmp_path) -> None:
    model = Writer()
    evaluate(model, corpus, benchmark(controls={"vision_off": 8}), tmp_path / "a")
    assert model.asked == [()] * 4
    model = Writer()
    suite = benchmark(decode={"beams": 2, "min_new": 8, "max_new": 36}, controls={"vision_off": 8})
    evaluate(model, corpus, suite, tmp_path / "b")
    assert model.asked == [(TextSettings(beams=2, min_new=8, max_new=36),)] * 4
    assert suite[0].settings()["decode"]["beams"] == 2
    model = Writer()
    result = evaluate(model, corpus, benchmark(prompt="A photo of", controls={"vision_off": 8}), tmp_path / "c")
    (first, settings), *_, (last, _) = model.asked
    assert settings == GREEDY_CAPTION
    assert [type(part) for part in first[0]] == [np.ndarray, str]
    assert first[0][1] == last[0] == "A photo of"
    assert {record.prompt for record in result.records} == {"A photo of"}


def test_what_is_scored_is_cleaned_up_and_records_keep_what_was_written(corpus: TinyCorpus, tmp_path) -> None:
    suite = benchmark(prompt="A photo of", postprocess="lavit.official.text.truncate_caption", metrics=PLAIN)
    result = evaluate(Writer(), corpus, suite, tmp_path)
    rows = [record for record in result.records if record.control == ""]
    assert {row.prediction for row in rows} == {"a red square. and so on"}
    short = score_set(["a red square"] * 20, [row.references for row in rows], ("CIDEr", "Bleu_2"))
    assert [row.score for row in rows] == short.per_image["CIDEr"].tolist()
    assert result.metrics["caption/Bleu_2"] == short.totals["Bleu_2"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"metrics": ["Bleu_4"]}, "caption.metrics leaves out CIDEr"),
        ({"metrics": ["CIDEr", "blue"]}, "caption.metrics: there is no metric 'blue'"),
        ({"tokenizer": "nltk"}, "caption.tokenizer: there is no tokenizer 'nltk'"),
        ({"postprocess": "lavit.official.text.CAPTION_ENDS"}, "caption.postprocess: .* is no function"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        benchmark(**settings)
