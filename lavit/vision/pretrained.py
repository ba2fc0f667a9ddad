"""Released vision encoders of transformers, frozen: CLIP, SigLIP and SigLIP 2.

A drop-in for :class:`lavit.vision.encoder.VisionEncoder`: uint8 images of the corpus' size in, one feature row a patch
out. Inside, images are brought to the checkpoint's own size and normalised by its own numbers, the class token (CLIP
has one, SigLIP has none) is dropped, and features leave at a hidden layer that is a setting: LLaVA reads the one before
the last. Layers behind it, final norms and pooling heads are not even built.

Shapes: B images, H W pixels of the corpus, S side in the encoder's pixels, N patches in raster order, C channels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.released_files import find_checkpoint, inventory, read_config
from lavit.released_loading import load_released
from lavit.vision.encoder import patchify

KEY = "vision.path"
FILTERS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers, as preprocessor_config.json has them


class PretrainedEncoder(nn.Module):
    """What released encoders have in common: sizes, resizing, normalisation. Weights are random until :meth:`load`.

    Args:
        image_size: side of the corpus' square images.
        side: side S of the images that the encoder was trained on.
        patches: along a side of the grid.
        width: channels C of the features.
        mean, std: of red, green and blue (0 to 1), by which pixels are normalised.
        filter: ``bicubic`` or ``bilinear``.

    Raises:
        LavitError: a patch is not a whole number of the corpus' pixels.

    Attributes:
        patch: side of a patch in the corpus' pixels.
    """

    mean_3: Tensor
    std_3: Tensor

    def __init__(
        self, image_size: int, side: int, patches: int, width: int, mean: list[float], std: list[float], filter: str
    ):
        super().__init__()
        if image_size % patches:
            raise LavitError(
                f"images of {image_size} pixels cannot be divided into the encoder's {patches} x {patches} patches",
                f"set the corpus' image size (scale.world.image_size, data.image_size) to a multiple of {patches}, "
                f"best to the encoder's own {side}",
            )
        self.image_size, self.side, self.feature_dim, self.filter = image_size, side, width, filter
        self.grid, self.patch = patches, image_size // patches
        self.num_patches = patches**2
        self.register_buffer("mean_3", torch.tensor(mean), persistent=False)
        self.register_buffer("std_3", torch.tensor(std), persistent=False)

    @classmethod
    def files(cls, node: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """File -> bytes and SHA-256 of the checkpoint that an ``encoder`` node names."""
        return inventory(KEY, find_checkpoint(KEY, node["path"], node.get("revision")))

    def load(self) -> None:
        """Read the checkpoint's weights.

        Raises:
            LavitError: tensors are missing or misshapen, or there are no safetensors.
        """
        raise TypeError(f"{type(self).__name__} does not define load")

    def features(self, pixels_B3SS: Tensor) -> Tensor:
        """Features [B, N, C] of pixels at the encoder's size, normalised."""
        raise TypeError(f"{type(self).__name__} does not define features")

    def forward(self, images_BHWC: Tensor | np.ndarray) -> Tensor:
        """Features [B, N, C] of uint8 images [B, H, W, 3]."""
        images_BHWC = torch.as_tensor(images_BHWC)
        if images_BHWC.dtype != torch.uint8:
            raise TypeError(f"images must be uint8 (0 to 255, channels last), not {images_BHWC.dtype}")
        pixels_B3HW = images_BHWC.to(self.mean_3.device).permute(0, 3, 1, 2).float()
        if pixels_B3HW.shape[-2:] != (self.side, self.side):
            # As Pillow resizes: smoothed where it shrinks, and rounded to bytes.
            pixels_B3HW = F.interpolate(pixels_B3HW, (self.side, self.side), mode=self.filter, antialias=True)
            pixels_B3HW = pixels_B3HW.round().clamp(0, 255)
        normal_B3SS = (pixels_B3HW / 255 - self.mean_3[:, None, None]) / self.std_3[:, None, None]
        return self.features(normal_B3SS)


class TransformersEncoder(PretrainedEncoder):
    """CLIP, SigLIP or SigLIP 2 from a folder in transformers' format, or from the hub.

    Args:
        image_size: side of the corpus' square images.
        path: a folder with ``config.json``, ``preprocessor_config.json`` and safetensors, or a repository of the hub;
            of the vision tower alone, or of the whole model.
        model_types: those of ``config.json`` that this config group means.
        revision: branch, tag or commit of the repository.
        layer: which hidden state is the feature: -1 the last layer's output, before any final norm; -2 the one before;
            0 the embeddings.

    Raises:
        LavitError: the checkpoint is of another kind, lacks what is needed, or has no such layer.
    """

    def __init__(
        self,
        image_size: int,
        path: str | None,
        model_types: list[str],
        revision: str | None = None,
        layer: int = -2,
    ):
        self.where = f"{KEY}={path}"
        self.place = (path, revision)
        folder = find_checkpoint(KEY, path, revision, weights=False)
        config = vision_config(folder, model_types)
        mean, std, kind = normalisation(folder)
        fixed = config.model_type != "siglip2_vision_model"
        patches = config.image_size // config.patch_size if fixed else round(config.num_patches**0.5)
        super().__init__(image_size, patches * config.patch_size, patches, config.hidden_size, mean, std, kind)
        self.layer = hidden_layer(layer, config.num_hidden_layers, self.where)
        from transformers import AutoModel

        automatic: Any = AutoModel
        self._take(automatic.from_config(config, attn_implementation="sdpa"))

    def _take(self, whole: Any) -> None:
        """Keep the parts of a tower that the features need."""
        tower = getattr(whole, "vision_model", whole)
        self.embeddings: Any = tower.embeddings
        self.norm: Any = getattr(tower, "pre_layrnorm", nn.Identity())
        self.encoder: Any = tower.encoder
        self.encoder.layers = self.encoder.layers[: self.layer]
        self.classes = int(hasattr(self.embeddings, "class_embedding"))
        self.patched = isinstance(self.embeddings.patch_embedding, nn.Linear)

    def load(self) -> None:
        """See the base class."""
        path, revision = self.place
        folder = find_checkpoint(KEY, path, revision)
        from transformers import AutoModel

        config = vision_config(folder, None)
        unused = (".head.", ".post_layernorm.")
        self._take(
            load_released(AutoModel, KEY, folder, config, unused, dtype=torch.float32, attn_implementation="sdpa")
        )

    def features(self, pixels_B3SS: Tensor) -> Tensor:
        """See the base class."""
        if self.patched:
            size = self.side // self.grid
            shapes_B2 = torch.full((len(pixels_B3SS), 2), self.grid)
            x_BTC = self.embeddings(patchify(pixels_B3SS.permute(0, 2, 3, 1), size), shapes_B2)
        else:
            x_BTC = self.embeddings(pixels_B3SS)
        x_BTC = self.norm(x_BTC)
        if len(self.encoder.layers):
            x_BTC = self.encoder(inputs_embeds=x_BTC).last_hidden_state
        return x_BTC[:, self.classes :]


def hidden_layer(layer: int, count: int, where: str) -> int:
    """How many layers run for a hidden state that is numbered as transformers numbers them (0: the embeddings)."""
    number = layer if layer >= 0 else count + 1 + layer
    if not 0 <= number <= count:
        raise LavitError(
            f"{where}: vision.layer={layer}, and the encoder has {count} layers",
            f"choose from {-count - 1} (the embeddings) to -1 (the last layer's output)",
        )
    return number


def vision_config(folder: Path, model_types: list[str] | None) -> Any:
    """The vision tower's config of a checkpoint.

    Args:
        folder: of the checkpoint.
        model_types: those that are meant; None for any.

    Raises:
        LavitError: the checkpoint is none of these.
    """
    from transformers import AutoConfig

    found = str(read_config(KEY, folder).get("model_type"))
    if model_types is not None and found not in model_types:
        raise LavitError(
            f"{KEY}={folder}: model_type is {found!r}, not one of {', '.join(model_types)}",
            "choose the vision group that fits the checkpoint: clip, siglip or eva_clip",
        )
    config: Any = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return getattr(config, "vision_config", config)


def normalisation(folder: Path) -> tuple[list[float], list[float], str]:
    """Mean and deviation of pixels in 0 … 1, and the filter that resizes, by the checkpoint's own preprocessor.

    Raises:
        LavitError: it has none, or one that this project does not follow.
    """
    for name, inner in (("preprocessor_config.json", None), ("processor_config.json", "image_processor")):
        file = folder / name
        content = json.loads(file.read_text()) if file.is_file() else {}
        if inner is not None:
            content = content.get(inner, {})
        if "image_mean" in content and "image_std" in content:
            break
    else:
        raise LavitError(
            f"{KEY}={folder}: there is no preprocessor_config.json with image_mean and image_std in it",
            "features of pixels that are normalised otherwise are not the encoder's: fetch the file, too",
        )
    scale = float(content.get("rescale_factor", 1 / 255))
    resample = int(content.get("resample", 3))
    if abs(scale * 255 - 1) > 1e-6 or resample not in FILTERS:
        raise LavitError(f"{file}: rescale_factor={scale} and resample={resample} are not supported")
    return [float(x) for x in content["image_mean"]], [float(x) for x in content["image_std"]], FILTERS[resample]
