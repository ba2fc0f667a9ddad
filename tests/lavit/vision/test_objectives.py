"""Masked objectives: nothing masked is seen, nothing visible is asked for, and HOG is what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_stages import Stages, question, whole

from lavit import vision
from lavit.count import count
from lavit.errors import LavitError
from lavit.vision.encoder import VisionEncoder, patchify, unpatchify
from lavit.vision.objectives import MaskedObjective
from lavit.vision.objectives.frozen import FrozenFeatures
from lavit.vision.objectives.hog import HOG
from lavit.vision.objectives.mae import MAE
from lavit.vision.objectives.maskfeat import MaskFeat
from lavit.vision.objectives.masking import hide

HOG_NODE = {"_target_": "lavit.vision.objectives.hog.HOG"}


def encoder() -> VisionEncoder:
    torch.manual_seed(0)
    return VisionEncoder(image_size=32, patch=8, width=16, blocks=2, heads=2, stem=[4, 8])


def objectives(net: VisionEncoder) -> list[MaskedObjective]:
    torch.manual_seed(0)
    return [
        MAE(net, 0.75, width=16, blocks=1, heads=2),
        MAE(net, 0.5, width=16, blocks=1, heads=2, normalise=False),
        MaskFeat(net, 0.4, HOG_NODE),
    ]


def masks(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("number", range(3))
def test_masked_pixels_are_not_seen_and_visible_ones_are_not_asked_for(number: int) -> None:
    net = encoder()
    objective = objectives(net)[number]
    pixels = torch.rand(3, 32, 32, 3) * 2 - 1
    mask_BN = objective.mask(3, 16, masks())
    assert (mask_BN.sum(1) == objective.masked).all()
    patches = patchify(pixels, 8)
    other_masked = unpatchify(torch.where(mask_BN[..., None], -patches, patches), 8)
    seen, same = (objective.predict(net, hide(p, mask_BN, 8), mask_BN) for p in (pixels, other_masked))
    assert torch.equal(seen, same), "a masked patch leaks into the encoder"
    assert not torch.allclose(objective.wanted(pixels, 8)[mask_BN], objective.wanted(other_masked, 8)[mask_BN])

    wanted = objective.wanted(pixels, 8)
    loss = objective(net, pixels, masks())
    objective.wanted = lambda *_: torch.where(mask_BN[..., None], wanted, wanted + 9)  # type: ignore[method-assign]
    assert torch.equal(objective(net, pixels, masks()), loss)
    objective.wanted = lambda *_: torch.where(mask_BN[..., None], wanted + 9, wanted)  # type: ignore[method-assign]
    assert objective(net, pixels, masks()) > loss


def test_mae_shows_the_encoder_a_quarter_of_the_patches_and_maskfeat_all() -> None:
    net, lengths = encoder(), []
    net.blocks[0].register_forward_pre_hook(lambda _, given: lengths.append(given[0].shape[1]))
    for objective in objectives(net):
        objective(net, torch.zeros(2, 32, 32, 3), masks()).backward()
        assert all(p.grad is not None for p in objective.parameters())
        assert net.linear.weight.grad is not None
    assert lengths == [4, 8, 16]


def test_normalised_pixels_have_no_mean_and_unit_variance() -> None:
    net = encoder()
    normalised, raw, _ = objectives(net)
    pixels = torch.rand(2, 32, 32, 3)
    wanted = normalised.wanted(pixels, 8)
    assert torch.allclose(wanted.mean(-1), torch.zeros(2, 16), atol=1e-5)
    assert torch.allclose(wanted.var(-1), torch.ones(2, 16), atol=1e-3)
    assert float(normalised.wanted(torch.full((1, 32, 32, 3), 0.7), 8).abs().max()) < 1e-3  # flat: its colour is gone
    assert torch.equal(raw.wanted(pixels, 8), patchify(pixels, 8))


def test_hog_of_an_edge_has_its_orientation_in_its_cells_alone() -> None:
    hog = HOG(encoder(), cells=2, bins=9)
    assert hog.dim == 3 * 9 * 4
    image = torch.zeros(1, 32, 32, 3)
    image[:, :, 18:, 0] = 1.0  # a vertical edge between columns 17 and 18, in red
    upright = hog(image).view(4, 4, 2, 2, 3, 9)  # patches, cells, channels, orientations
    expected = torch.zeros(4, 4, 2, 2, 3, 9)
    expected[:, 2, :, 0, 0, 0] = 1.0  # third column of patches, left cells, red, gradient to the right
    assert torch.allclose(upright, expected, atol=1e-6)
    level = hog(image.transpose(1, 2)).view(4, 4, 2, 2, 3, 9)
    expected = torch.zeros(4, 4, 2, 2, 3, 9)
    expected[2, :, 0, :, 0, 4] = 1.0  # a quarter turn: the middle of nine bins
    assert torch.allclose(level, expected, atol=1e-6)
    assert torch.allclose(hog(-image), hog(image)), "orientations have no sign"
    with pytest.raises(LavitError, match="cells=3"):
        HOG(encoder(), cells=3)


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_a_ratio_that_leaves_nothing_is_refused(ratio: float) -> None:
    with pytest.raises(LavitError, match="ratio="):
        MaskFeat(encoder(), ratio, HOG_NODE)


@pytest.mark.parametrize("name", ["mae", "maskfeat"])
def test_a_stage_is_priced_as_measured_and_its_encoder_reads_whole_images(name: str, stages: Stages) -> None:
    config = whole(vision=name)
    folder = stages.run(config, "vision")
    assert count(question(config, "vision"))["ledger"] == pytest.approx(stages.ledger(config, "vision"), rel=1e-9)
    net = vision.load(folder)
    images = torch.randint(0, 255, (2, 32, 32, 3), dtype=torch.uint8)
    assert net(images).shape == (2, 16, net.feature_dim)
    assert vision.load_label_head(folder) is not None  # a probe, taught on features that it cannot change
    assert "train/objective" in (folder / "history.jsonl").read_text()


def test_labels_do_not_reach_an_encoder_with_an_objective(stages: Stages) -> None:
    unclipped = "vision.optimizer.clip=0"  # the norm that clips is that of all gradients together
    ours, other = (
        vision.load(stages.run(whole(f"vision.pixel_weight={weight}", unclipped, vision="mae"), "vision"))
        for weight in (100, 1)
    )
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), other.parameters(), strict=True))


def test_a_finished_encoder_teaches_another(finished_vision: Path) -> None:
    net = vision.load(finished_vision)
    taught = VisionEncoder(image_size=net.image_size, patch=net.patch, width=8, blocks=1, heads=2, stem=[])
    objective = MaskFeat(
        taught, 0.4, {"_target_": f"{FrozenFeatures.__module__}.FrozenFeatures", "folder": str(finished_vision)}
    )
    loss = objective(taught, torch.zeros(2, net.image_size, net.image_size, 3), masks())
    loss.backward()
    assert all(p.grad is None for p in net.parameters())
    assert not any(name.startswith("feature.") for name, _ in objective.named_parameters())
    other = VisionEncoder(image_size=net.image_size, patch=net.patch * 2, width=8, blocks=1, heads=2, stem=[])
    with pytest.raises(LavitError, match="same image size and patch"):
        FrozenFeatures(other, str(finished_vision))
