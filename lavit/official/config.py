"""The sizes of an official LaVIT: of the released one, of a checkpoint, or of a test's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from lavit.errors import LavitError

HEAD_DIM = 88  # channels of a head in every released part


@dataclass(frozen=True)
class OfficialConfig:
    """Sizes of the visual side; the defaults are LaVIT-7B's.

    Attributes:
        image_size, patch: pixels.
        width: channels of the features, of merger and decoder; heads: attention heads of all of them.
        vision_blocks, merger_blocks, decoder_blocks: transformer blocks.
        mlp_ratio: hidden width of the MLPs in units of ``width``.
        codebook_size, code_dim: of the codebook.
        llm_width: of the language model that the features are projected to.
        condition_dim: of the low-resolution pixel decoder's condition; the first part of the high-resolution one's.
        pooled_dim: the second part of the high-resolution condition, and its pooled vector; None where there is none.
        vision_epsilon, policy_epsilon: of the tower's layer norms, and of the policy softmax.
    """

    image_size: int = 224
    patch: int = 14
    width: int = 1408
    heads: int = 16
    vision_blocks: int = 40
    merger_blocks: int = 12
    decoder_blocks: int = 12
    mlp_ratio: float = 4.3637
    codebook_size: int = 16384
    code_dim: int = 32
    llm_width: int = 4096
    condition_dim: int = 768
    pooled_dim: int | None = 1280
    vision_epsilon: float = 1e-6
    policy_epsilon: float = 1e-6

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch

    @property
    def mlp_hidden(self) -> int:
        """Hidden width of every MLP."""
        return int(self.width * self.mlp_ratio)


def read_sizes(tokenizer: Mapping[str, Tensor], decoder: Mapping[str, Tensor] | None = None) -> OfficialConfig:
    """The sizes that a tokenizer's state dict has, by its official names.

    Heads cannot be read off: they have 88 channels in every released checkpoint; a width that 88 does not divide takes
    heads of 16 channels. Pass another config where that is wrong.

    Raises:
        LavitError: a tensor that tells a size is missing.
    """

    def shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
        if name not in state:
            raise LavitError(f"the tensor '{name}' is missing", "is this a LaVIT visual tokenizer?")
        return tuple(state[name].shape)

    def depth(state: Mapping[str, Tensor], prefix: str) -> int:
        return len({name.split(".")[prefix.count(".")] for name in state if name.startswith(prefix)})

    width, _, patch, _ = shape(tokenizer, "encoder.patch_embed.proj.weight")
    patches = shape(tokenizer, "encoder.pos_embed")[1] - 1
    codes, code_dim = shape(tokenizer, "quantize.embedding.weight")
    hidden = shape(tokenizer, "encoder.blocks.0.mlp.fc1.weight")[0]
    config = OfficialConfig()
    ratio = config.mlp_ratio if int(width * config.mlp_ratio) == hidden else (hidden + 0.5) / width
    condition = decoder["unet_proj.weight"].shape[0] if decoder and "unet_proj.weight" in decoder else None
    return OfficialConfig(
        image_size=round(patches**0.5) * patch,
        patch=patch,
        width=width,
        heads=width // HEAD_DIM if width % HEAD_DIM == 0 else width // 16,
        vision_blocks=depth(tokenizer, "encoder.blocks."),
        merger_blocks=depth(tokenizer, "causal_encoder.blocks."),
        decoder_blocks=depth(decoder, "blocks.") if decoder else config.decoder_blocks,
        mlp_ratio=ratio,
        codebook_size=codes,
        code_dim=code_dim,
        llm_width=shape(tokenizer, "vit_proj.weight")[0],
        condition_dim=condition or config.condition_dim,
    )
