"""CLIP features of images and texts, from a local folder in the layout of transformers.

Suffixes: B images or texts, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from evals.errors import EvaluationError
from evals.features.device import choose_device
from evals.features.extractor import Floats, Picture
from evals.features.weights import CLIP_PAGE as PAGE
from evals.features.weights import content_hash

if TYPE_CHECKING:
    from torch import Tensor


class ClipFeatures:
    """A CLIP model as transformers saves it: ``config.json``, ``model.safetensors``, tokenizer and image processor.

    Args:
        folder: the local folder; nothing is downloaded.
        crop_first: cut out the middle square and bring that to the model's size, bicubic, as CMMD does; otherwise as
            the model's own image processor does, which resizes and then cuts out (CLIPScore).
        device: where to compute; a GPU where there is one, unless named.

    Raises:
        EvaluationError: the folder is not there or not complete.
    """

    label = "CLIP"

    def __init__(self, folder: Path, crop_first: bool = False, device: str | None = None):
        import transformers
        from safetensors import SafetensorError
        from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

        self._folder, self.crop_first, self.device = Path(folder).expanduser(), crop_first, choose_device(device)
        if not self._folder.is_dir():
            raise EvaluationError(f"There is no folder {self._folder} with a CLIP model.", f"Download {PAGE}.")
        try:
            model: Any = CLIPModel.from_pretrained(self._folder, use_safetensors=True, local_files_only=True)
            self._model = model.to(self.device).eval()
            self._tokenizer = AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
            # By pillow, as published numbers were made; the faster ways round differently.
            pillow: dict[str, Any] = {"use_fast": False} if transformers.__version__ < "5" else {"backend": "pil"}
            self._processor = AutoImageProcessor.from_pretrained(self._folder, local_files_only=True, **pillow)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            first = str(error).strip().splitlines()[0]
            raise EvaluationError(
                f"{self._folder} holds no CLIP model that transformers can read: {first}",
                f"Copy config.json, model.safetensors, the tokenizer's files and preprocessor_config.json of {PAGE}.",
            ) from error
        self._sha256 = content_hash(self._folder)

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """Model, preparation of images and a hash of the folder's files."""
        vision = self._model.config.vision_config
        name = f"CLIP ViT patch {vision.patch_size} at {vision.image_size}, width {vision.hidden_size}"
        return {"extractor": name, "crop_first": self.crop_first, "weights_sha256": self._sha256}

    @torch.no_grad()
    def images(self, pictures: Sequence[Picture]) -> Floats:
        """Projected features [B, D] of uint8 pictures [H, W, 3], at length 1."""
        side = self._model.config.vision_config.image_size
        if self.crop_first:
            cropped = [_middle_square(picture, side) for picture in pictures]
            prepared = self._processor(cropped, do_resize=False, do_center_crop=False, return_tensors="pt")
        else:
            prepared = self._processor(list(pictures), return_tensors="pt")
        pixels_B3HW = prepared["pixel_values"].to(self.device)
        pooled_BC = self._model.vision_model(pixel_values=pixels_B3HW).pooler_output
        return _unit(self._model.visual_projection(pooled_BC))

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Floats:
        """Projected features [B, D] of texts, cut off at the model's length, at length 1."""
        length = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt")
        mask = tokens["attention_mask"].to(self.device)
        pooled_BC = self._model.text_model(tokens["input_ids"].to(self.device), attention_mask=mask).pooler_output
        return _unit(self._model.text_projection(pooled_BC))


def _middle_square(picture: Picture, side: int) -> Picture:
    """The greatest square in the middle, at [side, side, 3]."""
    height, width = picture.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = Image.fromarray(np.ascontiguousarray(picture[top : top + edge, left : left + edge]))
    return np.asarray(square.resize((side, side), Image.Resampling.BICUBIC))


def _unit(rows_BD: Tensor) -> Floats:
    features: Floats = functional.normalize(rows_BD.float(), dim=-1).cpu().numpy()
    return features
