"""Reconstruction metrics of a tokenizer as a set: on request, named with an r, absent with a reason for an arm."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_corpus import Oracle, TinyCorpus

from evals.errors import EvaluationError
from evals.metrics.frechet import frechet_of_features
from evals.runner import build_suite, evaluate


class Darkening(Oracle):
    """Paints every image at half its brightness, and true features as they are."""

    def tokenizer_report(self, images):
        painted = {"images": images // 2, "images_undecoded": images}
        return super().tokenizer_report(images) | painted


def measure(model, out, **settings):
    node = {"_target_": "evals.benchmarks.tokenizer.TokenizerFidelity", "count": 20, "batch": 8, **settings}
    return evaluate(model, TinyCorpus(), build_suite({"name": "s", "benchmarks": {"tokenizer": node}}), out)


def test_painted_images_are_compared_with_real_ones(tmp_path) -> None:
    plain = measure(Darkening(), tmp_path / "a")
    more = measure(Darkening(), tmp_path / "b", set_metrics=["FD_own", "FID"])
    assert {name: value for name, value in more.metrics.items() if name in plain.metrics} == plain.metrics
    assert set(more.metrics) - set(plain.metrics) == {"tokenizer/rFD_own", "tokenizer/rFD_own@undecoded"}
    assert "Inception" in more.skipped["tokenizer/rFID"]
    corpus, model = TinyCorpus(), Oracle()
    images = corpus.images("test", build_suite_examples(corpus))
    own = [np.asarray(model.features(part)).mean(axis=1) for part in (images, images // 2)]
    assert more.metrics["tokenizer/rFD_own"] == pytest.approx(frechet_of_features(*own), rel=1e-5)
    assert more.metrics["tokenizer/rFD_own@undecoded"] == pytest.approx(0, abs=1e-9)


def build_suite_examples(corpus):
    node = {"_target_": "evals.benchmarks.tokenizer.TokenizerFidelity", "count": 20}
    return build_suite({"name": "s", "benchmarks": {"t": node}})[0].examples(corpus)


def test_an_arm_paints_nothing_here(tmp_path) -> None:
    result = measure(Oracle(), tmp_path, set_metrics=["FD_own"])
    assert "t2i benchmark" in result.skipped["tokenizer/rFD_own"]
    with pytest.raises(EvaluationError, match="no text"):
        measure(Oracle(), tmp_path, set_metrics=["CLIPScore"])
