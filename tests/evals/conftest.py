"""Fixtures of the evaluator's tests."""

from __future__ import annotations

import pytest
from tiny_corpus import TinyCorpus

from evals.runner import build_suite


@pytest.fixture
def corpus() -> TinyCorpus:
    return TinyCorpus()


@pytest.fixture
def suite():
    """The four benchmarks at a size that makes uneven batches."""
    controls = {"vision_off": 20, "shuffled": 25}
    return build_suite(
        {
            "name": "tiny",
            "benchmarks": {
                "caption": {
                    "_target_": "evals.benchmarks.caption.Captioning",
                    "count": 50,
                    "batch": 16,
                    "controls": controls,
                },
                "vqa": {
                    "_target_": "evals.benchmarks.vqa.QuestionAnswering",
                    "count": 30,
                    "batch": 16,
                    "per_image": 4,
                    "controls": controls,
                },
                "t2i": {
                    "_target_": "evals.benchmarks.t2i.TextToImage",
                    "count": 40,
                    "batch": 16,
                    "samples": 3,
                    "controls": {"ceiling": 10},
                },
                "tokenizer": {
                    "_target_": "evals.benchmarks.tokenizer.TokenizerFidelity",
                    "count": 20,
                    "batch": 16,
                },
            },
        }
    )
