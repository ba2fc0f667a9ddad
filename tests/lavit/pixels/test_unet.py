"""The diffusion pixel decoder: what it learns, that it is deterministic, and its published shape."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from lavit import pixels
from lavit.errors import LavitError
from lavit.ledger import count_parameters
from lavit.pixels.networks import WEIGHTS
from lavit.stages.context import StageContext
from lavit.stages.pixels import run

pytest.importorskip("diffusers")
from lavit.pixels.unet import UNetPixelDecoder

TINY_VAE = {
    "block_out_channels": [8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "latent_channels": 4,
    "norm_num_groups": 4,
}
SD_VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}


def tiny(objective: str = "Flow", **options: Any) -> UNetPixelDecoder:
    """A decoder of 8 x 8 images from 4 patches of 6 channels."""
    torch.manual_seed(0)
    unet = {
        "block_out_channels": [8, 16],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 1,
        "cross_attention_dim": 12,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    } | options.pop("unet", {})
    node = {"_target_": f"lavit.pixels.objective.{objective}"} | options.pop("objective_options", {})
    settings: dict[str, Any] = {"steps": 3, "guidance": 1.0, "fold": 2} | options
    return UNetPixelDecoder(6, grid=2, patch=4, unet=unet, objective=node, **settings).eval()


def examples(count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and the images that they stand for: each patch has one colour."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(count, 4, 6, generator=generator)
    colours = (features[:, :, :3].sigmoid() * 255).reshape(count, 2, 2, 3)
    return features, colours.repeat_interleave(4, 1).repeat_interleave(4, 2).byte()


@pytest.mark.parametrize(
    ("options", "share"),
    [
        ({"objective_options": {"predict": "clean"}, "beside": 8}, 0.6),
        ({"objective": "Epsilon", "guidance": 2.0, "unconditional": "learned"}, 0.85),
    ],
)
def test_training_on_a_handful_of_images_lowers_the_loss(options: dict[str, Any], share: float) -> None:
    decoder = tiny(**options).train()
    features, images = examples(8)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        loss, metrics = decoder.loss(features, images, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(metrics["squared"]))
    assert sum(losses[-10:]) < share * sum(losses[:10])
    assert torch.isfinite(decoder.eval()(features)).all()


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_an_image_depends_on_its_features_alone(guidance: float) -> None:
    decoder = tiny(guidance=guidance)
    features, _ = examples()
    images = decoder(features)
    assert images.shape == (5, 8, 8, 3) and images.min() >= 0 and images.max() <= 1
    assert torch.equal(decoder(features), images)
    decoder.batch = 2
    torch.testing.assert_close(decoder(features.flip(0)).flip(0), images, atol=1e-5, rtol=0)
    torch.testing.assert_close(decoder(features[3:4]), images[3:4], atol=1e-5, rtol=0)
    assert (images[0] - images[1]).abs().max() > 1e-3


def test_guidance_of_one_asks_with_the_condition_only() -> None:
    decoder = tiny(unconditional="learned", beside=3)
    features, _ = examples(2)
    rows: list[int] = []
    decoder.unet.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    plain = decoder(features)
    decoder.guidance = 1 + 1e-7  # the whole formula, with what is unconditional cancelling out
    torch.testing.assert_close(decoder(features), plain, atol=1e-5, rtol=0)
    assert rows == [2] * 3 + [4] * 3
    decoder.guidance = 0.0  # the unconditional prediction alone
    blind = decoder(features)
    torch.testing.assert_close(blind[0], blind[1])


def test_noise_of_the_callers_choice_makes_another_image() -> None:
    decoder = tiny()
    features, _ = examples(2)
    noise = torch.randn(2, *decoder.shape, generator=torch.Generator().manual_seed(5))
    assert torch.equal(decoder.paint(features, noise), decoder.paint(features, noise))
    assert (decoder.paint(features, noise) - decoder(features)).abs().max() > 1e-2


def test_stable_diffusion_xl_gets_a_pooled_vector_and_sizes() -> None:
    added = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 5 + 6 * 4,
    }
    decoder = tiny(unet=added, pool_heads=2, guidance=2.0)
    features, images = examples(2)
    assert decoder.conditioning.head.first.out_features == 12 - 5
    assert torch.isfinite(decoder(features)).all()
    loss, _ = decoder.train().loss(features, images, torch.Generator().manual_seed(0))
    loss.backward()
    assert decoder.conditioning.head.pool.query.weight.grad.abs().sum() > 0


def test_the_published_shape(repository: Path) -> None:
    """Stable Diffusion 1.5 has 0.86 billion parameters; on the meta device nothing is computed."""
    config = OmegaConf.load(repository / "conf" / "pixels" / "stable_diffusion.yaml")
    options = OmegaConf.to_container(config.decoder)
    del options["_target_"]
    with torch.device("meta"):
        decoder = UNetPixelDecoder(1408, grid=16, patch=14, **(options | {"vae": SD_VAE}))
        condition = decoder.conditioning(torch.empty(2, 256, 1408))
        said = decoder._predict(torch.empty(2, 4, 64, 64), torch.empty(2), condition)
        latents = decoder.vae.encode(torch.empty(1, 3, 512, 512)).latent_dist.mean
    assert count_parameters(decoder.unet)[0] == pytest.approx(0.86e9, rel=0.01)
    assert condition.tokens_BND.shape == (2, 256, 768)
    assert said.shape == (2, *decoder.shape) == (2, 4, 64, 64)
    assert latents.shape[1:] == decoder.shape
    assert not any(p.requires_grad for p in decoder.vae.parameters())


def test_latents_come_from_a_local_autoencoder_that_is_then_part_of_the_decoder(
    make_visual_config: Callable[..., DictConfig], finished_vision: Path, tmp_path: Path
) -> None:
    from diffusers import AutoencoderKL

    vae, out = tmp_path / "vae", tmp_path / "out"
    out.mkdir()
    AutoencoderKL(**TINY_VAE).save_pretrained(vae)
    config = make_visual_config("pixels", pixels="unet", scale__steps__pixels=3)
    config.pixels.decoder.vae = str(vae)
    run(StageContext("pixels", config, 0, {"vision": finished_vision}, out))
    shutil.rmtree(vae)
    assert str(vae) not in (out / "config.json").read_text()
    decoder = pixels.load(out)
    assert isinstance(decoder, UNetPixelDecoder) and decoder.shape == (4, 16, 16)
    assert decoder(torch.zeros(1, 16, 32)).shape == (1, 32, 32, 3)


def test_first_weights_of_the_unet_are_taken_over(tmp_path: Path) -> None:
    tiny().unet.save_pretrained(tmp_path)
    decoder = tiny(unet_weights=str(tmp_path))
    with torch.no_grad():
        decoder.unet.conv_in.weight.add_(1)
    decoder.initialise()
    torch.testing.assert_close(decoder.unet.conv_in.weight, tiny().unet.conv_in.weight)
    with pytest.raises(LavitError, match="another shape"):
        tiny(unet_weights=str(tmp_path), unet={"block_out_channels": [16, 16]}).initialise()


def test_the_stage_reports_ceilings(
    make_visual_config: Callable[..., DictConfig], finished_vision: Path, tmp_path: Path
) -> None:
    config = make_visual_config("pixels", pixels="unet", scale__steps__pixels=2)
    run(StageContext("pixels", config, 0, {"vision": finished_vision}, tmp_path))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {"pixels/psnr", "pixels/exact", "pixels/cosine", "pixels/cosine_objects"} <= set(metrics)
    assert json.loads((tmp_path / "ledger.json").read_text())["flops"] > 0


def test_missing_files_and_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(LavitError, match=r"pixels\.decoder\.vae=/nowhere"):
        tiny(vae="/nowhere")
    with pytest.raises(LavitError, match=f"{WEIGHTS}.safetensors"):
        tiny(unet_weights=str(tmp_path)).initialise()
    with pytest.raises(LavitError, match="drop=0"):
        tiny(guidance=2.0, drop=0.0)
    with pytest.raises(LavitError, match="unconditional='none'"):
        tiny(unconditional="none")
    with pytest.raises(LavitError, match="squares of 3 pixels"):
        tiny(fold=3)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(LavitError, match=r"pip install 'lavit-lab\[diffusion\]'"):
        tiny()
