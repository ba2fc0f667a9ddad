"""Released vision encoders: features are transformers' own hidden states, of images as the checkpoint wants them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from released_checkpoints import PREPROCESSOR, VISION, save_encoder
from safetensors.torch import load_file, save_file
from torch import Tensor

from lavit.errors import LavitError
from lavit.vision.encoder import patchify
from lavit.vision.pretrained import TransformersEncoder
from lavit.vision.pretrained_eva import EvaClipEncoder, released_name

TYPES = {
    "CLIP": ["clip", "clip_vision_model"],
    "Siglip": ["siglip", "siglip_vision_model"],
    "Siglip2": ["siglip2", "siglip2_vision_model"],
}
IMAGES = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def normalised(images_BHWC: Tensor) -> Tensor:
    mean, std = (torch.tensor(PREPROCESSOR[name])[:, None, None] for name in ("image_mean", "image_std"))
    return (images_BHWC.permute(0, 3, 1, 2).float() / 255 - mean) / std


@pytest.mark.parametrize("layer", [-2, -1, 0])
@pytest.mark.parametrize("kind", TYPES)
@torch.no_grad()
def test_features_are_the_hidden_state_of_that_layer_without_the_class_token(
    kind: str, layer: int, tmp_path: Path
) -> None:
    model = save_encoder(tmp_path, kind)
    encoder = TransformersEncoder(32, str(tmp_path), TYPES[kind], layer=layer)
    encoder.load()
    pixels = normalised(IMAGES)
    if kind == "Siglip2":
        inputs = (patchify(pixels.permute(0, 2, 3, 1), 8), torch.ones(2, 16), torch.full((2, 2), 4))
    else:
        inputs = (pixels,)
    states = model(*inputs, output_hidden_states=True).hidden_states
    found = encoder.eval()(IMAGES)
    assert torch.allclose(found, states[layer][:, -16:], atol=1e-6)
    assert (encoder.grid, encoder.num_patches, encoder.patch, encoder.feature_dim) == (4, 16, 8, 24)
    assert len(encoder.encoder.layers) == {-2: 2, -1: 3, 0: 0}[layer]


@torch.no_grad()
def test_images_of_another_size_are_resized_as_the_checkpoints_own_preprocessor_does(tmp_path: Path) -> None:
    from PIL import Image

    save_encoder(tmp_path, "CLIP")
    small, same = (TransformersEncoder(size, str(tmp_path), TYPES["CLIP"]) for size in (48, 32))
    small.load()
    same.load()
    rng = np.random.default_rng(0)
    images = np.stack([np.kron(rng.integers(0, 256, (6, 6, 3)), np.ones((8, 8, 1))) for _ in range(2)]).astype(np.uint8)
    pillow = [np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC)) for image in images]
    assert torch.allclose(small.eval()(images), same.eval()(np.stack(pillow)), atol=0.03)
    assert (small.image_size, small.patch, small.grid) == (48, 12, 4)  # a patch, in the corpus' pixels


def test_a_whole_clip_gives_its_vision_tower(tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    whole = CLIPModel(CLIPConfig(vision_config=VISION, text_config=text | {"vocab_size": 20})).eval()
    whole.save_pretrained(tmp_path)
    processor = {"image_processor": PREPROCESSOR}  # where newer releases keep it
    (tmp_path / "processor_config.json").write_text(json.dumps(processor))
    encoder = TransformersEncoder(32, str(tmp_path), TYPES["CLIP"])
    encoder.load()
    with torch.no_grad():
        states = whole.vision_model(normalised(IMAGES), output_hidden_states=True).hidden_states
        assert torch.allclose(encoder.eval()(IMAGES), states[-2][:, 1:], atol=1e-6)


def test_clip_l_at_336_has_its_published_shape(tmp_path: Path) -> None:
    large = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    config = large | {"model_type": "clip_vision_model", "image_size": 336, "patch_size": 14}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    with torch.device("meta"):
        last, before = (TransformersEncoder(336, str(tmp_path), TYPES["CLIP"], layer=layer) for layer in (-1, -2))
    counts = [sum(parameter.numel() for parameter in encoder.parameters()) for encoder in (last, before)]
    assert counts == [303_505_408, 303_505_408 - 12_596_224]  # without the final norm, which LLaVA never runs
    assert (before.num_patches, before.feature_dim, before.patch) == (576, 1024, 14)


def test_eva_clip_is_read_from_its_released_names(tmp_path: Path) -> None:
    shape = {"side": 32, "patch": 8, "width": 16, "blocks": 3, "heads": 2, "mlp_ratio": 2.0}
    whole = EvaClipEncoder(32, str(tmp_path), **shape, layer=-1)  # type: ignore[arg-type]
    state = {f"visual_encoder.{released_name(name)}": value for name, value in whole.tower.state_dict().items()}
    state["visual_encoder.cls_token"] = state["visual_encoder.cls_token"][None, None]
    state["visual_encoder.pos_embed"] = state["visual_encoder.pos_embed"][None]
    assert "visual_encoder.blocks.2.attn.q_bias" in state and "visual_encoder.patch_embed.proj.weight" in state
    save_file({name: value.clone() for name, value in state.items()}, tmp_path / "eva.safetensors")
    encoder = EvaClipEncoder(32, str(tmp_path), **shape)  # type: ignore[arg-type]
    encoder.load()
    with torch.no_grad():
        whole.tower.blocks = whole.tower.blocks[:2]
        assert torch.equal(encoder(IMAGES), whole(IMAGES))
    with pytest.raises(LavitError, match=r"patch_embed\.proj\.weight is \[16, 3, 8, 8\], not \[8, 3, 8, 8\]"):
        EvaClipEncoder(32, str(tmp_path), **(shape | {"width": 8})).load()  # type: ignore[arg-type]


def test_what_cannot_be_used_is_refused_with_what_to_do(tmp_path: Path) -> None:
    save_encoder(tmp_path / "clip", "CLIP")
    with pytest.raises(LavitError, match=r"model_type is 'clip_vision_model', not one of siglip"):
        TransformersEncoder(32, str(tmp_path / "clip"), TYPES["Siglip"])
    with pytest.raises(LavitError, match="30 pixels cannot be divided into the encoder's 4 x 4") as told:
        TransformersEncoder(30, str(tmp_path / "clip"), TYPES["CLIP"])
    assert "multiple of 4" in told.value.remedy
    with pytest.raises(LavitError, match=r"vision\.layer=-6"):
        TransformersEncoder(32, str(tmp_path / "clip"), TYPES["CLIP"], layer=-6)
    with pytest.raises(LavitError, match=r"vision\.path is not set"):
        TransformersEncoder(32, None, TYPES["CLIP"])
    weights = load_file(tmp_path / "clip" / "model.safetensors")
    name = next(name for name in weights if "layers.0.self_attn.q_proj.weight" in name)
    save_file({key: value for key, value in weights.items() if key != name}, tmp_path / "clip" / "model.safetensors")
    with pytest.raises(LavitError, match="1 tensors are missing"):
        TransformersEncoder(32, str(tmp_path / "clip"), TYPES["CLIP"]).load()
    (tmp_path / "clip" / "preprocessor_config.json").unlink()
    with pytest.raises(LavitError, match=r"no preprocessor_config\.json"):
        TransformersEncoder(32, str(tmp_path / "clip"), TYPES["CLIP"])
