"""Inspecting a tokenizer by itself: records of every metric, the measures of the whole set, and what means nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tiny_corpus import COLOURS, Oracle, TinyCorpus, read
from torch import nn

import lavit.data
from evals import inspection
from evals.benchmarks.tokenizer import TokenizerFidelity
from evals.errors import EvaluationError
from evals.inspection import InspectedTokenizer
from evals.metrics.pixels import psnr
from evals.records import load_records
from evals.runner import build_suite, evaluate
from lavit.pixels import PatchPixelDecoder
from lavit.stages.context import StageContext
from lavit.tokenizer.loading import assemble_dynamic
from lavit.vision import VisionEncoder

SUITE = {
    "name": "tiny",
    "benchmarks": {
        "caption": {"_target_": "evals.benchmarks.caption.Captioning", "count": 8},
        "tokenizer": {
            "_target_": "evals.benchmarks.tokenizer.TokenizerFidelity",
            "count": 20,
            "batch": 8,
            "samples": 3,
        },
    },
}


class Forgetful(Oracle):
    """Gives every image back but for its last quadrant, which it paints black and reads as nothing."""

    def tokenizer_report(self, images):
        labels = np.array([self._labels(image) for image in images])
        painted, forgotten = images.copy(), labels.copy()
        painted[:, 4:, 4:], forgotten[:, 3] = 0, False
        report = super().tokenizer_report(images)
        cosine = np.tile([0.9, 0.9, 0.9, 0.1], (len(images), 1))
        return report | {
            "cosine": cosine,
            "labels": forgotten,
            "labels_undecoded": labels,
            "images": painted,
            "images_undecoded": images,
        }

    @staticmethod
    def _labels(image):
        labels = np.zeros((4, len(COLOURS)), bool)
        for item in read(image).objects:
            labels[int(item.y > 4) * 2 + int(item.x > 4), list(COLOURS).index(item.colour)] = True
        return labels


def benchmark(**options):
    return TokenizerFidelity("tokenizer", count=20, batch=8, samples=3, **options)


def test_every_metric_has_a_record_an_image_and_its_ceiling_one_beside_it(corpus, tmp_path) -> None:
    result = evaluate(Forgetful(), corpus, [benchmark()], tmp_path)
    counts: dict[tuple[str, str], int] = {}
    for record in result.records:
        counts[record.metric, record.control] = counts.get((record.metric, record.control), 0) + 1
    assert counts == {
        ("cosine_objects", ""): 20, ("cosine", ""): 20, ("probe_objects", ""): 20, ("psnr", ""): 20,
        ("probe_objects", "undecoded"): 20, ("psnr", "undecoded"): 20,
    }  # fmt: skip
    assert result.records[0].metric == "cosine_objects", "the primary one comes first"
    last = np.array([bool(corpus._scenes[i][3]) for i in benchmark().examples(corpus)])
    objects = np.array([sum(map(bool, corpus._scenes[i])) for i in benchmark().examples(corpus)])
    metrics = result.metrics
    assert metrics["tokenizer/cosine"] == pytest.approx(0.7)
    assert metrics["tokenizer/cosine_objects"] == pytest.approx(np.mean(0.9 - 0.8 * last / objects))
    assert metrics["tokenizer/probe_objects"] == pytest.approx(np.mean(1 - last / objects))
    assert metrics["tokenizer/probe_objects@undecoded"] == 1
    assert metrics["tokenizer/psnr@undecoded"] == pytest.approx(100)
    assert metrics["tokenizer/psnr"] < 100
    assert metrics["tokenizer/scene_exact"] == pytest.approx(np.mean(~last))
    assert metrics["tokenizer/scene_exact@undecoded"] == 1
    assert metrics["tokenizer/kept"] == pytest.approx(objects.mean())
    assert metrics["tokenizer/codes_used"] == 3
    assert not [name for name in metrics if "undecoded/" in name or "complexity" in name]
    assert load_records(tmp_path / "records.parquet")[0].metric == "cosine_objects"
    example = result.records[0].example_id
    shown = {f"tokenizer-{example}.png", f"truth-{example}.png", f"ceiling-{example}.png"}
    assert shown <= {path.name for path in (tmp_path / "samples").iterdir()}
    assert result.protocol["tokenizer"]["examples"] == {"": 20, "undecoded": 20}


def test_what_cannot_be_known_is_missing_with_its_reason(tmp_path) -> None:
    class Wordless(Oracle):
        def tokenizer_report(self, images):
            return {name: v for name, v in super().tokenizer_report(images).items() if name != "codes"}

    result = evaluate(Wordless(), TinyCorpus(exact=False), [benchmark()], tmp_path)
    assert {record.metric for record in result.records} == {"cosine"}
    for name in ("cosine_objects", "probe_objects", "codes_used", "perplexity"):
        assert f"tokenizer/{name}" not in result.metrics
        assert result.skipped[f"tokenizer/{name}"]


def test_psnr_of_each_image() -> None:
    truth = np.zeros((3, 2, 2, 3), np.uint8)
    painted = truth.copy()
    painted[1], painted[2, 0] = 255, 255
    assert psnr(painted, truth) == pytest.approx([100, 0, 10 * np.log10(2)])


def examinee(quantise: bool = True, head: bool = True, learned: bool = True, positions: str = "place"):
    """A real tokenizer of the tiny corpus, untrained."""
    torch.manual_seed(0)
    encoder = VisionEncoder(8, patch=4, width=16, blocks=1, heads=2, stem=[])
    selector = "TokenSelector" if learned else "KeepAll"
    decoder = {"width": 8, "blocks": 1, "heads": 2}
    settings = {
        "positions": positions,
        "quantise": quantise,
        "quantizer": {"_target_": "lavit.tokenizer.quantizer.Quantizer", "codebook_size": 8, "code_dim": 4},
        "decoder": {
            "place": {"_target_": "lavit.tokenizer.decoder.PlaceDecoder", **decoder},
            "rank": {"_target_": "lavit.tokenizer.rank_decoder.RankDecoder", **decoder},
        },
    }
    tokens = {
        "selector": {"_target_": f"lavit.tokenizer.selector.{selector}"},
        "merger": {"_target_": "lavit.tokenizer.merger.NoMerger"},
    }
    tokenizer = assemble_dynamic(tokens, settings, feature_dim=16, grid=2).eval()
    pixels = PatchPixelDecoder(hidden=8, feature_dim=16, grid=2, patch=4).eval()
    return InspectedTokenizer(tokenizer, encoder.eval(), nn.Linear(16, len(COLOURS)) if head else None, pixels)


def context(out: Path, suite=SUITE) -> StageContext:
    config = OmegaConf.create({"data": {"_target_": "nowhere"}, "suite": suite})
    return StageContext(stage="inspect", config=config, seed=1, inputs={}, out=out)


def test_the_stage_writes_what_a_report_reads(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(lavit.data, "build", lambda node: TinyCorpus())
    monkeypatch.setattr(inspection, "load", lambda context: examinee())
    inspection.run(context(tmp_path))
    names = {"records.parquet", "metrics.json", "skipped.json", "protocol.json", "ledger.json", "kept_histogram.json"}
    assert names <= {path.name for path in tmp_path.iterdir()}
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for name in (
        "codes_used_share",
        "dead_codes",
        "sampled_kept",
        "sampled_flips",
        "sampled_recoded",
        "place_recovered",
    ):
        assert f"tokenizer/{name}" in metrics
    assert metrics["tokenizer/codes_used"] + metrics["tokenizer/dead_codes"] == 8
    assert metrics["tokenizer/codes_used_share"] == pytest.approx(metrics["tokenizer/codes_used"] / 8)
    histogram = json.loads((tmp_path / "kept_histogram.json").read_text())["tokenizer"]
    assert sum(histogram.values()) == 20
    kept = sum(int(number) * images for number, images in histogram.items()) / 20
    assert kept == pytest.approx(metrics["tokenizer/kept"])
    skipped = json.loads((tmp_path / "skipped.json").read_text())
    assert skipped["caption"] == "the study stops at the tokenizer: there is no arm to ask"
    assert json.loads((tmp_path / "ledger.json").read_text())["flops"] == 0


def test_a_second_inspection_gives_the_same_bytes(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(lavit.data, "build", lambda node: TinyCorpus())
    monkeypatch.setattr(inspection, "load", lambda context: examinee())
    for name in ("a", "b"):
        inspection.run(context(tmp_path / name))
    for name in ("records.parquet", "metrics.json", "skipped.json", "kept_histogram.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"quantise": False}, {"codes_used", "codes_used_share", "dead_codes", "perplexity", "sampled_recoded"}),
        ({"head": False}, {"probe_objects"}),
        ({"learned": False}, {"sampled_kept", "sampled_flips", "sampled_recoded", "kept_corr_objects"}),
        ({"positions": "rank"}, set()),
    ],
)
def test_what_means_nothing_for_a_tokenizer_is_missing_with_its_reason(options, missing, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(lavit.data, "build", lambda node: TinyCorpus())
    monkeypatch.setattr(inspection, "load", lambda context: examinee(**options))
    inspection.run(context(tmp_path))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    skipped = json.loads((tmp_path / "skipped.json").read_text())
    for name in missing:
        assert f"tokenizer/{name}" not in metrics
        assert skipped[f"tokenizer/{name}"]
    assert {"tokenizer/cosine_objects", "tokenizer/psnr", "tokenizer/place_recovered"} <= set(metrics)


def test_a_suite_that_asks_no_tokenizer_is_refused(tmp_path) -> None:
    suite = {"name": "words", "benchmarks": {"caption": SUITE["benchmarks"]["caption"]}}
    with pytest.raises(EvaluationError, match="'words' has no benchmark of the tokenizer alone"):
        inspection.run(context(tmp_path, suite))


def test_the_core_suite_asks_the_tokenizer_by_one_benchmark() -> None:
    assert [b.name for b in build_suite(SUITE) if b.subject == "tokenizer"] == ["tokenizer"]
