"""The condition heads of the U-Net decoders."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from lavit.errors import LavitError
from lavit.pixels.condition import HighResolutionCondition, LowResolutionCondition

PUBLISHED = {  # the published names of the weights, by ours
    "first": "unet_proj_1",
    "second": "unet_proj_2",
    "pool.query": "unet_attnpool.q_proj",
    "pool.key": "unet_attnpool.k_proj",
    "pool.value": "unet_attnpool.v_proj",
    "pool.out": "unet_attnpool.c_proj",
}


def test_high_resolution_head_matches_the_reference(reference_file) -> None:
    """The pool has the tokenizer's own number of heads (4 there): no other number gives the reference's vector."""
    arrays = load_file(reference_file("lavit/tokenizer_a.safetensors"))
    weights = {
        f"{ours}.{end}": arrays[f"sd.decoder_highres.{theirs}.{end}"]
        for ours, theirs in PUBLISHED.items()
        for end in ("weight", "bias")
    } | {"pool.positions_MC": arrays["sd.decoder_highres.unet_attnpool.positional_embedding"]}
    head = HighResolutionCondition(width=64, condition_dim=40, pooled_dim=56, patches=16, heads=4)
    head.load_state_dict(weights)
    tokens, pooled = head(arrays["argmax.decoder_highres.x_rec"])
    torch.testing.assert_close(tokens, arrays["argmax.decoder_highres.prompt_embeds"], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(pooled, arrays["argmax.decoder_highres.pooled_prompt_embeds"], atol=2e-5, rtol=1e-4)


def test_the_pool_tells_places_apart() -> None:
    torch.manual_seed(0)
    head = HighResolutionCondition(width=8, condition_dim=4, pooled_dim=6, patches=5, heads=2)
    features = torch.randn(2, 5, 8)
    tokens, pooled = head(features)
    assert tokens.shape == (2, 5, 10) and pooled.shape == (2, 6)
    swapped_tokens, swapped_pooled = head(features.flip(1))
    torch.testing.assert_close(swapped_tokens, tokens.flip(1))
    assert (swapped_pooled - pooled).abs().max() > 1e-3


def test_low_resolution_head_has_one_token_a_patch() -> None:
    assert LowResolutionCondition(8, 4)(torch.zeros(2, 5, 8)).shape == (2, 5, 4)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(LavitError, match="heads=3"):
        HighResolutionCondition(width=8, condition_dim=4, pooled_dim=6, patches=5, heads=3)
