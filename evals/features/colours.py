"""The colour of an object, by CLIP: which of ten colour names fits the object cut out of its image (GenEval, section
3).

Suffixes: H height, W width, D features, K colours.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evals.features.clip import ClipFeatures
from evals.features.detector import Found
from evals.features.extractor import Picture
from evals.metrics.geneval import COLOURS

_TEMPLATES = ("a photo of a {colour} {name}", "a photo of a {colour}-colored {name}", "a photo of a {colour} object")
_GREY = 0x99  # around an object that has a mask


class ColourNames:
    """Zero-shot classification of cut-outs; text features are made once a class.

    Args:
        clip: the CLIP model; GenEval's is ViT-L/14.
    """

    def __init__(self, clip: ClipFeatures):
        self.clip = clip
        self._texts: dict[str, npt.NDArray[np.float32]] = {}

    def name(self, picture: Picture, item: Found, kind: str) -> str:
        """The colour of an object of class ``kind``."""
        image_1D = self.clip.images([cut_out(picture, item)])
        return COLOURS[int((self._of_class(kind) @ image_1D[0]).argmax())]

    def _of_class(self, kind: str) -> npt.NDArray[np.float32]:
        """[K, D]: the mean direction of the templates with each colour."""
        if kind not in self._texts:
            rows = []
            for colour in COLOURS:
                mean_D = self.clip.texts([text.format(colour=colour, name=kind) for text in _TEMPLATES]).mean(axis=0)
                rows.append(mean_D / np.linalg.norm(mean_D))
            self._texts[kind] = np.stack(rows)
        return self._texts[kind]


def cut_out(picture: Picture, item: Found) -> Picture:
    """The object's box, grey wherever its mask is not; at least one pixel."""
    shown = picture if item.mask_HW is None else np.where(item.mask_HW[..., None], picture, np.uint8(_GREY))
    height, width = picture.shape[:2]
    left, top = (min(max(round(item.row[axis]), 0), size - 1) for axis, size in ((0, width), (1, height)))
    right, bottom = (min(max(round(item.row[axis + 2]), 1), size) for axis, size in ((0, width), (1, height)))
    return np.ascontiguousarray(shown[top : max(bottom, top + 1), left : max(right, left + 1)])
