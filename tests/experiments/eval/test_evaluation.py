"""Running an evaluation: it goes on where it was interrupted, keeps different ones apart, and tells what it found."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.compose import Composer, resolve
from experiments.errors import LavitError
from experiments.eval_request import EvalRequest
from experiments.eval_table import read_result, render
from experiments.evaluation import recompute, run_evaluation
from lavit.checkpoint import Checkpoint


class Describer:
    """Describes every image in the same words; the power fails at a given question."""

    makes_images, image_size = False, 32

    def __init__(self, fails_at: int | None = None):
        self.fails_at, self.asked = fails_at, 0

    def encode(self, images: np.ndarray) -> np.ndarray:
        return images

    def caption(self, visual: Any, count: int, settings: Any = None) -> list[str]:
        if self.fails_at is not None and self.asked >= self.fails_at:
            raise KeyboardInterrupt
        self.asked += count
        return ["a red circle."] * count


@pytest.fixture
def request_of(tmp_path: Path):
    """Makes a request for captions of 12 images in batches of 3."""
    data = resolve(Composer().compose(["scale=smoke"]))["data"]
    entry = {"_target_": "evals.benchmarks.caption.Captioning", "count": 12, "batch": 3, "controls": {"shuffled": 12}}
    suite = {"name": "small", "benchmarks": {"caption": entry, "t2i": {"_target_": "evals.benchmarks.t2i.TextToImage"}}}

    def make(model: Describer, **changes: Any) -> EvalRequest:
        checkpoint = Checkpoint(tmp_path, "arm", "describer", "f00d", 32, data, load=lambda device: model)
        request = EvalRequest(checkpoint, suite, "small", data, None, 0, None, tmp_path)
        return dataclasses.replace(request, **changes)

    return make


def test_it_goes_on_where_the_power_failed(request_of, tmp_path: Path) -> None:
    out, first, second = tmp_path / "out", Describer(fails_at=6), Describer()
    with pytest.raises(KeyboardInterrupt):
        run_evaluation(request_of(first), out)
    assert run_evaluation(request_of(second), out)
    assert (first.asked, second.asked) == (6, 6)
    whole = Describer()
    assert run_evaluation(request_of(whole), tmp_path / "whole")
    assert whole.asked == 12
    for name in ("records.parquet", "metrics.json", "protocol.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    again = Describer(fails_at=0)
    assert not run_evaluation(request_of(again), out)  # it is all there: the model is not asked


def test_two_evaluations_do_not_share_a_folder(request_of, tmp_path: Path) -> None:
    run_evaluation(request_of(Describer()), tmp_path / "out")
    with pytest.raises(LavitError, match="it differs in seed"):
        run_evaluation(request_of(Describer(), seed=1), tmp_path / "out")
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "thesis.tex").touch()
    with pytest.raises(LavitError, match="is not empty, and holds no evaluation"):
        run_evaluation(request_of(Describer()), tmp_path / "else")
    with pytest.raises(LavitError, match="no finished evaluation"):
        recompute(tmp_path / "else")


def test_metrics_come_anew_from_the_records(request_of, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_evaluation(request_of(Describer()), out)
    before = (out / "metrics.json").read_bytes()
    (out / "metrics.json").write_text('{"caption/CIDEr": 99}')
    recompute(out)
    assert (out / "metrics.json").read_bytes() == before
    assert "t2i" in read_result(out)["absent"]  # what was never evaluated stays absent


def test_the_table_has_controls_fingerprints_and_what_is_absent(request_of, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_evaluation(request_of(Describer(), limit=12), out)
    result = read_result(out)
    text = render(result)
    assert "describer (f00d) on suite small, seed 0; a trial run on at most 12 examples" in text
    row = next(line for line in text.splitlines() if line.startswith("caption/CIDEr"))
    assert row.split()[1:] == [
        *(f"{result['metrics'][n]:.4f}" for n in _columns(result)),
        result["fingerprints"]["caption"],
    ]
    assert "- t2i: this arm has no visual loss and makes no images" in text


def test_a_reason_is_told_once_and_kinds_only_in_the_file() -> None:
    result = {
        "metrics": {"vqa/accuracy": 0.5, "vqa/accuracy.colour": 0.25, "vqa/accuracy@vision_off": 0.1},
        "absent": {"a/FID": "no weights", "b/FID": "no weights"},
        "protocol": {"vqa": {"fingerprint": {"hash": "abcdef123", "line": "exact | plain", "hygiene": "zero-shot"}}},
        "fingerprints": {"vqa": "abcdef"},
        "identity": {"checkpoint": "c", "fingerprint": "f", "seed": 0, "suite": {"name": "s"}, "limit": None},
    }
    console, file = render(result), render(result, markdown=True, kinds=True)
    assert "- a/FID, b/FID: no weights" in console
    assert "exact | plain; zero-shot" in console
    assert "accuracy.colour" not in console
    assert "| vqa/accuracy.colour | 0.2500 |  | abcdef |" in file
    assert "| vqa/accuracy | 0.5000 | 0.1000 | abcdef |" in file


def _columns(result: dict[str, Any]) -> list[str]:
    known = ("", "@vision_off", "@shuffled", "@text_prior")
    return [f"caption/CIDEr{at}" for at in known if f"caption/CIDEr{at}" in result["metrics"]]
