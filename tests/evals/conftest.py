"""Fixtures of the evaluator's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from caption_files import make_coco, make_flickr30k, make_nocaps
from tiny_corpus import TinyCorpus

from evals.runner import build_suite


@pytest.fixture
def corpus() -> TinyCorpus:
    return TinyCorpus()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data.root with every caption dataset in it; small enough to be made anew for each test, which may break it."""
    folder = tmp_path / "data"
    make_coco(folder)
    make_flickr30k(folder)
    make_nocaps(folder)
    return folder


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
