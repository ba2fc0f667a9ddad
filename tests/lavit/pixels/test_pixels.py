"""The pixel decoder and its stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from lavit import pixels, vision
from lavit.pixels.ceiling import feature_cosine
from lavit.pixels.decoder import PatchPixelDecoder
from lavit.stages.context import StageContext
from lavit.stages.pixels import run
from lavit.vision.encoder import patchify


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


def test_training_compares_noisy_features_with_pixels() -> None:
    """The numbers of the loss, draw by draw: a change here is a change of every study's ceiling."""
    torch.manual_seed(0)
    decoder = PatchPixelDecoder(feature_dim=6, grid=2, patch=4, hidden=8, noise=0.3, loss={"absolute": 0.5})
    decoder.mean_C, decoder.std_C = torch.full((6,), 0.2), torch.full((6,), 2.0)
    features, images = torch.randn(3, 4, 6), torch.randint(0, 256, (3, 8, 8, 3), dtype=torch.uint8)
    total, metrics = decoder.loss(features, images, torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    standard = (features - 0.2) / 2
    amount = torch.rand(3, 1, 1, generator=generator) * 0.3
    error = decoder.raw(standard + amount * torch.randn(3, 4, 6, generator=generator)) - patchify(images / 255, 4)
    assert torch.equal(metrics["squared"], (error**2).mean())
    assert torch.equal(total, (error**2).mean() + 0.5 * error.abs().mean())


def test_the_cosine_of_an_untouched_image_is_one(finished_vision: Path) -> None:
    encoder = vision.load(finished_vision)
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    truth, one = encoder(images), torch.ones(32)
    objects = np.zeros((3, 16), bool)
    assert feature_cosine(encoder, images / 255, truth, 0 * one, one, objects).keys() == {"cosine"}  # no object there
    objects[0, :3] = True
    scores = feature_cosine(encoder, images / 255, truth, 0 * one, one, objects)
    assert scores == pytest.approx({"cosine": 1, "cosine_objects": 1})
    images[0, :8, :8] = 0  # the first patch, and what the attention carries of it
    worse = feature_cosine(encoder, images / 255, truth, 0 * one, one, objects)
    assert worse["cosine_objects"] < worse["cosine"] < 1


def test_stage_writes_what_it_promises(
    make_visual_config: Callable[..., DictConfig], finished_vision: Path, tmp_path: Path
) -> None:
    config = make_visual_config("pixels", scale__steps__pixels=6)
    run(StageContext("pixels", config, 0, {"vision": finished_vision}, tmp_path))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {"pixels/psnr", "pixels/exact", "pixels/cosine", "pixels/cosine_objects"} <= set(metrics)
    ledger = json.loads((tmp_path / "ledger.json").read_text())
    assert ledger["steps"] == 6
    assert ledger["params_trainable"] > 0
    decoder = pixels.load(tmp_path)
    assert decoder(torch.zeros(1, 16, 32)).shape == (1, 32, 32, 3)
