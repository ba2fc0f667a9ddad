"""What a result depends on, in one hash and in words."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from tiny_corpus import Blind, Oracle, TinyCorpus

from evals.benchmark import Answers, Benchmark
from evals.benchmarks.caption import Captioning
from evals.errors import EvaluationError
from evals.fingerprint import hash_of
from evals.metrics import tokenize
from evals.records import Record
from evals.runner import build_suite, evaluate

CAPTION = {"_target_": "evals.benchmarks.caption.Captioning", "count": 12, "batch": 8}
VQA = {"_target_": "evals.benchmarks.vqa.QuestionAnswering", "count": 6, "batch": 8, "per_image": 3}


def fingerprint(folder, entry, corpus=None, model=None, seed=0):
    suite = build_suite({"name": "one", "benchmarks": {"task": entry}})
    result = evaluate(model or Oracle(), corpus or TinyCorpus(), suite, folder, seed=seed)
    assert json.loads((folder / "protocol.json").read_text())["task"] == result.protocol["task"]
    return result.protocol["task"]["fingerprint"]


def test_model_seed_and_what_is_shown_are_not_in_it(tmp_path) -> None:
    first = fingerprint(tmp_path / "a", CAPTION)
    assert first == fingerprint(tmp_path / "b", CAPTION, model=Blind(), seed=5)
    assert first["hash"] == hash_of(first["parts"])
    t2i = {"_target_": "evals.benchmarks.t2i.TextToImage", "count": 12, "batch": 8}
    hashes = {fingerprint(tmp_path / f"t{n}", {**t2i, "samples": n})["hash"] for n in (1, 2)}
    assert len(hashes) == 1
    assert first["hash"] == fingerprint(tmp_path / "c", {**CAPTION, "hygiene": "train-seen"})["hash"]


@pytest.mark.parametrize(
    ("entry", "change", "part"),
    [
        (CAPTION, {"count": 11}, "examples.real"),
        (CAPTION, {"split": "val"}, "split"),
        (CAPTION, {"batch": 4}, "batch"),
        (CAPTION, {"controls": {"vision_off": 4}}, "examples.vision_off"),
        (VQA, {"per_image": 2}, "per_image"),
    ],
)
def test_whatever_may_move_a_number_is_in_it(tmp_path, entry, change, part) -> None:
    one, other = fingerprint(tmp_path / "a", entry), fingerprint(tmp_path / "b", {**entry, **change})
    assert one["hash"] != other["hash"]
    assert one["parts"].get(part) != other["parts"].get(part)


def test_other_images_of_another_size_are_in_it(tmp_path) -> None:
    larger = TinyCorpus()
    larger.image_size = 16
    one, other = fingerprint(tmp_path / "a", CAPTION), fingerprint(tmp_path / "b", CAPTION, larger)
    assert {n for n in one["parts"] if one["parts"][n] != other["parts"][n]} == {"image.size"}


def test_the_line_says_it_in_words(tmp_path) -> None:
    line = fingerprint(tmp_path / "a", CAPTION)["line"]
    assert line == f"test, 12 images, CIDEr: CIDEr-D of pycocoevalcap on {tokenize.NAME}, greedy, <= 48 tokens"
    line = fingerprint(tmp_path / "b", VQA)["line"]
    assert line.startswith("test, 6 images with 18 questions, accuracy: ") and line.endswith("greedy, <= 6 tokens")


def test_what_models_do_of_themselves_is_no_other_rule_than_asking_for_it(tmp_path) -> None:
    class Writer(Oracle):
        def caption(self, visual, count, settings=None):
            return super().caption(visual, count)

    asked = {**CAPTION, "decode": {"beams": 1, "max_new": 48}}
    one, other = fingerprint(tmp_path / "a", CAPTION), fingerprint(tmp_path / "b", asked, model=Writer())
    assert one["hash"] == other["hash"]
    beams = fingerprint(tmp_path / "c", {**CAPTION, "decode": {"beams": 5}}, model=Writer())
    assert {n for n in one["parts"] if one["parts"][n] != beams["parts"][n]} == {"decode.beams"}


def test_hygiene_is_declared_or_what_is_known(tmp_path) -> None:
    assert fingerprint(tmp_path / "a", CAPTION)["hygiene"] == "held-out"
    assert fingerprint(tmp_path / "b", {**CAPTION, "split": "train"})["hygiene"] == "train-seen"
    assert fingerprint(tmp_path / "c", {**CAPTION, "hygiene": "style-contaminated"})["hygiene"] == "style-contaminated"
    with pytest.raises(EvaluationError, match=r"task.hygiene is 'clean'"):
        build_suite({"name": "one", "benchmarks": {"task": {**CAPTION, "hygiene": "clean"}}})


class Poorer(Captioning):
    """A benchmark one of whose metrics cannot be computed here."""

    def summarise(self, records):
        metrics, missing = super().summarise(records)
        return metrics, {**missing, f"{self.name}/METEOR": "Java is not installed: apt-get install default-jre"}


def test_a_metric_that_cannot_be_computed_costs_nothing_else(tmp_path) -> None:
    node = {"caption": {**CAPTION, "_target_": "evals.benchmarks.caption.Captioning"}, "vqa": VQA}
    suite = [Poorer("poorer", count=6, batch=4), *build_suite({"name": "two", "benchmarks": node})]
    result = evaluate(Oracle(), TinyCorpus(), suite, tmp_path)
    assert json.loads((tmp_path / "skipped.json").read_text()) == {
        "poorer/METEOR": "Java is not installed: apt-get install default-jre"
    }
    assert {"poorer/CIDEr", "caption/CIDEr", "vqa/accuracy"} <= result.metrics.keys()


class Documents(Benchmark):
    """Texts alone: no images, no pictures, a document is its own cluster."""

    metric, protocol, unit, pictured = "length", "characters-1", "documents", False

    def source(self, corpus, root, image_size):
        return corpus or TinyCorpus()

    def ask(self, batch, sitting):
        texts = [f"document {index}" for index in batch.asked_B]
        common = {"benchmark": self.name, "metric": self.metric, "control": "", "split": self.split}
        return Answers(
            [
                Record(
                    **common,
                    example_id=self.image_id(index),
                    cluster_id=self.image_id(index),
                    prediction="",
                    references=(text,),
                    score=float(len(text)),
                    order=int(order),
                )
                for index, order, text in zip(batch.asked_B, batch.order_B, texts, strict=True)
            ]
        )


def test_a_benchmark_of_texts_needs_no_images(tmp_path) -> None:
    class NoPictures(TinyCorpus):
        def images(self, split, index_B):
            raise AssertionError("there are none")

    result = evaluate(Oracle(), NoPictures(), [Documents("text", count=9, batch=4)], tmp_path)
    found = result.protocol["text"]["fingerprint"]
    assert found["line"] == "test, 9 documents, length: characters-1"
    assert found["parts"]["image"] == "none"
    assert result.metrics["text/length"] == pytest.approx(np.mean([r.score for r in result.records]))
    assert not (tmp_path / "images").exists()


def test_settings_that_are_objects_are_told_as_data(tmp_path) -> None:
    @dataclasses.dataclass
    class Decode:
        beams: int = 5
        max_new: int = 48

    benchmark = Documents("text", count=4, batch=4)
    benchmark.decode = Decode()
    found = evaluate(Oracle(), TinyCorpus(), [benchmark], tmp_path).protocol["text"]["fingerprint"]
    assert found["parts"]["decode.beams"] == 5
    assert found["line"].endswith("5 beams, <= 48 tokens")
