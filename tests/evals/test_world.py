"""The core suite on the embedded world, by a model that looks the truth up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from omegaconf import OmegaConf
from tiny_corpus import Oracle

import lavit.data
from evals.runner import build_suite, evaluate

CONF = Path(__file__).parents[2] / "conf"


class Seen(list):
    """Indices of test images that were recognised."""

    tokens_B = None

    def __getitem__(self, index):
        return Seen([list.__getitem__(self, int(place)) for place in index])


class Lookup(Oracle):
    """Recognises each test image and repeats what the corpus says about it."""

    def __init__(self, corpus):
        super().__init__()
        self.corpus = corpus
        everything = np.arange(corpus.size("test"))
        self.index = {image.tobytes(): place for place, image in enumerate(corpus.images("test", everything))}
        self.asked = [{q.text: q.answer for q in group} for group in corpus.questions("test", everything, 4)]
        self.drawn = dict(zip(corpus.prompts("test", everything), everything, strict=True))

    def encode(self, images):
        return Seen([self.index[image.tobytes()] for image in images])

    def caption(self, visual, count):
        if visual is None:
            return ["a picture"] * count
        return [texts[0] for texts in self.corpus.captions("test", np.array(visual))]

    def answer(self, visual, questions):
        if visual is None:
            return ["yes"] * len(questions)
        return [self.asked[place].get(text, "") for place, text in zip(visual, questions, strict=True)]

    def draw(self, prompts, seed, settings):
        return self._drawing(self.corpus.images("test", np.array([self.drawn[prompt] for prompt in prompts])))

    def features(self, images):
        return images.reshape(len(images), 16, -1) / 255.0

    def tokenizer_report(self, images):
        index = np.array([self.index[image.tobytes()] for image in images])
        kept = self.corpus.complexity("test", index)["objects"].astype(int)
        return {
            "cosine": np.full((len(images), 16), 0.5),
            "kept": kept,
            "codes": [np.arange(n) for n in kept],
            "places": [np.arange(n) * 2 for n in kept],
        }

    def _drawing(self, images):
        tokens = np.ones(len(images), int)
        return SimpleNamespace(images=images, features=self.features(images), tokens=tokens)


@pytest.fixture(scope="module")
def config():
    node = {name: OmegaConf.load(CONF / f"{name}/{level}.yaml") for name, level in
            [("scale", "smoke"), ("data", "world"), ("suite", "core")]}  # fmt: skip
    config = OmegaConf.create(node)
    OmegaConf.resolve(config)
    return config


def test_who_looks_the_truth_up_gets_everything(config, tmp_path) -> None:
    corpus = lavit.data.build(config.data)
    result = evaluate(Lookup(corpus), corpus, build_suite(config.suite), tmp_path)
    metrics = result.metrics
    assert metrics["vqa/accuracy"] == 1
    assert metrics["vqa/majority"] < 0.8
    assert metrics["vqa/accuracy@shuffled"] < 0.5
    assert metrics["caption/CIDEr"] > 3
    assert metrics["caption/CIDEr@shuffled"] < 0.5 * metrics["caption/CIDEr"]
    assert metrics["t2i/exact"] > 0.9
    assert metrics["t2i/exact@ceiling"] > 0.9
    assert metrics["t2i/committed"] > 0.9
    assert metrics["tokenizer/kept_corr_objects"] == pytest.approx(1)
    assert metrics["tokenizer/cosine_objects"] == pytest.approx(0.5)
    maps = [r.facts["kept_at"] for r in result.records if r.metric == "cosine" and r.benchmark == "tokenizer"]
    kept = [r.aux["kept"] for r in result.records if r.metric == "cosine" and r.benchmark == "tokenizer"]
    assert [text.count("1") for text in maps] == kept
    assert {len(text) for text in maps} == {16}
