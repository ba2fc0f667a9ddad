"""The pixel decoder and its stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from omegaconf import DictConfig

from lavit import pixels
from lavit.pixels.decoder import PatchPixelDecoder
from lavit.stages.context import StageContext
from lavit.stages.pixels import run


def test_decoder_paints_images_and_looks_at_neighbours_only() -> None:
    torch.manual_seed(0)
    decoder = PatchPixelDecoder(feature_dim=6, grid=4, patch=8, hidden=16)
    features = torch.randn(2, 16, 6)
    images = decoder(features)
    assert images.shape == (2, 32, 32, 3)
    assert images.min() >= 0
    assert images.max() <= 1
    raw = decoder.raw(features)
    features[0, 15] += 1
    changed = (decoder.raw(features) - raw).abs().sum(-1)[0] > 0
    assert changed.nonzero().flatten().tolist() == [10, 11, 14, 15]


def test_stage_writes_what_it_promises(
    make_visual_config: Callable[..., DictConfig], finished_vision: Path, tmp_path: Path
) -> None:
    config = make_visual_config("pixels", scale__steps__pixels=6)
    run(StageContext("pixels", config, 0, {"vision": finished_vision}, tmp_path))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {"pixels/psnr", "pixels/exact"} <= set(metrics)
    ledger = json.loads((tmp_path / "ledger.json").read_text())
    assert ledger["steps"] == 6
    assert ledger["params_trainable"] > 0
    decoder = pixels.load(tmp_path)
    assert decoder(torch.zeros(1, 16, 32)).shape == (1, 32, 32, 3)
