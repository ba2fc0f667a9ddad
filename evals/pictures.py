"""Pictures for the report: small, crisp PNG files of evaluated and drawn images."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from evals.records import replace_file

_LEAST, _MOST = 48, 128  # side of a saved picture in pixels


def save_picture(path: Path, image_HWC: npt.NDArray[np.uint8]) -> None:
    """Write a uint8 image [H, W, 3] as PNG with its longer side between 48 and 128 pixels.

    Small images grow by a whole factor without smoothing, so that each pixel of the model's output can be
    seen.
    """
    picture = Image.fromarray(np.ascontiguousarray(image_HWC, dtype=np.uint8))
    side = max(picture.size)
    if side > _MOST:
        width, height = (max(1, round(length * _MOST / side)) for length in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BOX)
    elif side <= _MOST // 2:
        factor = max(-(-_LEAST // side), min(3, _MOST // side))
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    replace_file(path, functools.partial(picture.save, format="PNG"))


def at_side(images_BHWC: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Images at the side that a judge reads, bicubic."""
    if images_BHWC.shape[1:3] == (side, side):
        return images_BHWC
    sized = [Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC) for image in images_BHWC]
    return np.stack([np.asarray(image) for image in sized])
