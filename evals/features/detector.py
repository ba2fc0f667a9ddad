"""Objects in images, by a detection or segmentation model in a local folder in the layout of transformers.

Suffixes: H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from evals.errors import EvaluationError
from evals.features.device import choose_device
from evals.features.extractor import Picture
from evals.features.weights import content_hash

PAGE = "https://huggingface.co/facebook/mask2former-swin-small-coco-instance"
_ALIASES = {"mouse": "computer mouse", "remote": "tv remote", "keyboard": "computer keyboard"}  # COCO's → GenEval's


@dataclass(frozen=True)
class Found:
    """An object: its box (left, top, right, bottom, confidence), and its mask [H, W] where the model gives one."""

    row: tuple[float, float, float, float, float]
    mask_HW: npt.NDArray[np.bool_] | None


class Detector:
    """Mask2Former and its like give masks, whose bounds are the boxes; DETR and its like give boxes.

    Args:
        folder: the local folder; nothing is downloaded.
        device: where to compute; a GPU where there is one, unless named.

    Raises:
        EvaluationError: the folder is not there or holds no such model.
    """

    def __init__(self, folder: Path, device: str | None = None):
        from safetensors import SafetensorError
        from transformers import (
            AutoConfig,
            AutoImageProcessor,
            AutoModelForObjectDetection,
            AutoModelForUniversalSegmentation,
        )

        self._folder, self.device = Path(folder).expanduser(), choose_device(device)
        if not self._folder.is_dir():
            raise EvaluationError(f"There is no folder {self._folder} with a detector.", f"Download {PAGE}.")
        try:
            config = AutoConfig.from_pretrained(self._folder, local_files_only=True)
            self._masks = any("Segmentation" in name for name in config.architectures or [])
            kind: Any = AutoModelForUniversalSegmentation if self._masks else AutoModelForObjectDetection
            model: Any = kind.from_pretrained(self._folder, local_files_only=True, use_safetensors=True)
            self._model = model.to(self.device).eval()
            self._processor: Any = AutoImageProcessor.from_pretrained(self._folder, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise EvaluationError(
                f"{self._folder} holds no detector that transformers can read: {str(error).strip().splitlines()[0]}",
                f"Copy config.json, model.safetensors and preprocessor_config.json of {PAGE}.",
            ) from error
        names: Mapping[int, str] = config.id2label
        self.classes = {int(number): _ALIASES.get(name, name) for number, name in names.items()}
        self._sha256 = content_hash(self._folder)

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """The model and a hash of the folder's files."""
        return {"detector": type(self._model).__name__, "weights_sha256": self._sha256}

    @torch.no_grad()
    def detect(self, picture: Picture, least: float) -> dict[str, list[Found]]:
        """Class → objects with a confidence above ``least`` in a uint8 picture [H, W, 3]."""
        inputs = self._processor(images=picture, return_tensors="pt").to(self.device)
        outputs = self._model(**inputs)
        sizes = [picture.shape[:2]]
        found: dict[str, list[Found]] = {}
        if self._masks:
            result = self._processor.post_process_instance_segmentation(
                outputs, threshold=least, target_sizes=sizes, return_binary_maps=True
            )[0]
            for mask, info in zip(result["segmentation"], result["segments_info"], strict=False):
                mask_HW = mask.cpu().numpy() > 0.5
                if mask_HW.any():
                    row = (*_bounds(mask_HW), float(info["score"]))
                    found.setdefault(self.classes[int(info["label_id"])], []).append(Found(row, mask_HW))
            return found
        result = self._processor.post_process_object_detection(outputs, threshold=least, target_sizes=sizes)[0]
        for box, label, score in zip(result["boxes"], result["labels"], result["scores"], strict=True):
            left, top, right, bottom = (float(edge) for edge in box)
            found.setdefault(self.classes[int(label)], []).append(Found((left, top, right, bottom, float(score)), None))
        return found


def _bounds(mask_HW: npt.NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """The smallest box around a mask; right and bottom are just behind the last pixel."""
    rows, columns = np.nonzero(mask_HW.any(axis=1))[0], np.nonzero(mask_HW.any(axis=0))[0]
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
