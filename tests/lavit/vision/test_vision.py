"""The vision encoder, its heads and its stage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lavit import vision
from lavit.errors import LavitError
from lavit.vision.encoder import VisionEncoder, patchify, unpatchify
from lavit.vision.heads import TextTower, Vocabulary, label_loss


def encoder(**changes: object) -> VisionEncoder:
    options: dict[str, object] = {"image_size": 16, "patch": 8, "width": 12, "blocks": 1, "heads": 2, "stem": [4, 8]}
    return VisionEncoder(**(options | changes))  # type: ignore[arg-type]


def test_patches_are_in_raster_order_and_come_back() -> None:
    images = torch.arange(2 * 16 * 16 * 3).reshape(2, 16, 16, 3)
    patches = patchify(images, 8)
    assert patches.shape == (2, 4, 192)
    assert torch.equal(patches[0, 1], images[0, :8, 8:].reshape(-1))
    assert torch.equal(unpatchify(patches, 8), images)


def test_encoder_gives_one_row_a_patch() -> None:
    net = encoder().eval()
    images = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
    features = net(images)
    assert features.shape == (3, 4, 12)
    assert net.num_patches == 4
    assert net.feature_dim == 12
    assert torch.allclose(net(images[1:2]), features[1:2], atol=1e-6)
    with pytest.raises(TypeError, match="uint8"):
        net(torch.rand(1, 16, 16, 3))


@pytest.mark.parametrize(("change", "key"), [({"image_size": 20}, "patch=8"), ({"stem": [4]}, "stem=")])
def test_impossible_shapes_are_refused_by_key(change: dict[str, object], key: str) -> None:
    with pytest.raises(LavitError, match=key):
        encoder(**change)


def test_label_loss_weighs_the_background_down() -> None:
    logits, labels = torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)
    logits[0, 1] = 5.0  # wrong, and a background patch
    objects = torch.tensor([[True, False]])
    assert label_loss(logits, labels, objects, 0.1) < label_loss(logits, labels, objects, 1.0)


def test_text_tower_learns_from_its_own_texts_only() -> None:
    torch.manual_seed(0)
    words = Vocabulary(["red cat", "blue dog", "red dog"], 10)
    assert words.encode(["red zebra", "dog"], 5).tolist() == [[words.index["red"], 1], [words.index["dog"], 0]]
    tower = TextTower(len(words), 12, 8)
    loss = tower(torch.randn(3, 4, 12), words.encode(["red cat", "red cat", "blue dog"], 5))
    loss.backward()
    assert torch.isfinite(loss)


def test_stage_writes_what_it_promises_and_loads(finished_vision: Path) -> None:
    metrics = json.loads((finished_vision / "metrics.json").read_text())
    assert {"vision/psnr", "vision/probe_objects"} <= set(metrics)
    ledger = json.loads((finished_vision / "ledger.json").read_text())
    assert ledger["steps"] == 6
    assert ledger["flops"] > 0
    assert ledger["params_trainable"] > 0
    net = vision.load(finished_vision)
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
    head = vision.load_label_head(finished_vision)
    assert head is not None
    assert head.in_features == net.feature_dim
