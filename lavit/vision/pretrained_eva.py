"""EVA-CLIP's vision tower from its released tensors, in the names that BLIP-2's and LaVIT's releases share.

The release holds weights alone: sizes come from the config (``conf/vision/eva_clip.yaml`` has those of ViT-g/14).

Shapes: B images, S side in the encoder's pixels, N patches, C channels.
"""

from __future__ import annotations

from safetensors.torch import load_file
from torch import Tensor

from lavit.errors import LavitError
from lavit.released_files import find_checkpoint, weight_files
from lavit.vision.eva import CLIP_MEAN, CLIP_STD, EvaEncoder
from lavit.vision.pretrained import KEY, PretrainedEncoder, hidden_layer

PREFIXES = ("", "visual.", "visual_encoder.", "encoder.")  # of the same tensors, in one release or another
NAMES = (
    ("embed.", "patch_embed.proj."),
    ("class_C", "cls_token"),
    ("position_TC", "pos_embed"),
    (".norm_attention.", ".norm1."),
    (".norm_mlp.", ".norm2."),
    (".attention.query_bias_C", ".attn.q_bias"),
    (".attention.value_bias_C", ".attn.v_bias"),
    (".attention.qkv.", ".attn.qkv."),
    (".attention.out.", ".attn.proj."),
    (".mlp.0.", ".mlp.fc1."),
    (".mlp.2.", ".mlp.fc2."),
)


class EvaClipEncoder(PretrainedEncoder):
    """See the module's docstring.

    Args:
        image_size: side of the corpus' square images.
        path: a folder with one safetensors file, or a repository of the hub.
        side: side of the images that the encoder was trained on.
        patch: side of a patch, in the encoder's pixels.
        width, blocks, heads, mlp_ratio: of the released tower, all of its blocks counted.
        revision: branch, tag or commit of the repository.
        layer: which hidden state is the feature, as in :class:`lavit.vision.pretrained.TransformersEncoder`.

    Raises:
        LavitError: sizes do not fit, or there is no such layer.
    """

    def __init__(
        self,
        image_size: int,
        path: str | None,
        side: int,
        patch: int,
        width: int,
        blocks: int,
        heads: int,
        mlp_ratio: float,
        revision: str | None = None,
        layer: int = -2,
    ):
        super().__init__(image_size, side, side // patch, width, list(CLIP_MEAN), list(CLIP_STD), "bicubic")
        self.place = (path, revision)
        self.tower = EvaEncoder(side, patch, width, hidden_layer(layer, blocks, f"{KEY}={path}"), heads, mlp_ratio)

    def load(self) -> None:
        """See the base class."""
        path, revision = self.place
        file, *_ = weight_files(KEY, find_checkpoint(KEY, path, revision))
        found = load_file(file)
        prefix = next((prefix for prefix in PREFIXES if f"{prefix}cls_token" in found), None)
        if prefix is None:
            raise LavitError(
                f"{file}: there is no cls_token in it, so it holds no vision tower of EVA-CLIP", "is it another model?"
            )
        taken, wrong = {}, []
        for name, own in self.tower.state_dict().items():
            theirs = prefix + released_name(name)
            value = found.get(theirs)
            if value is None:
                wrong.append(f"{theirs} is missing")
            elif value.numel() != own.numel() or tuple(value.shape)[-own.ndim :] != tuple(own.shape):
                wrong.append(f"{theirs} is {list(value.shape)}, not {list(own.shape)}")
            else:
                taken[name] = value.reshape(own.shape).float()
        if wrong:
            raise LavitError(
                f"{file} does not fit: {'; '.join(wrong[:4])}{' …' if len(wrong) > 4 else ''}",
                "set vision.encoder.side, patch, width, blocks, heads and mlp_ratio to the checkpoint's",
            )
        self.tower.load_state_dict(taken, assign=True)

    def features(self, pixels_B3SS: Tensor) -> Tensor:
        """See the base class."""
        return self.tower.features(pixels_B3SS)


def released_name(name: str) -> str:
    """The released name of one of our tensors."""
    for ours, theirs in NAMES:
        name = name.replace(ours, theirs)
    return name
