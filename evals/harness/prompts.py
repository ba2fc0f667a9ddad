"""Prompts of lm-eval, a text and its images, as prompts of this suite: texts and images in the order of reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from evals.errors import EvaluationError

PLACE = "<image>"
"""Where an image stands in a task's text."""


def to_prompt(
    text: str, images: Sequence[Any], side: int | None, vision: bool = True
) -> str | Sequence[str | np.ndarray]:
    """A text with its images.

    Args:
        text: may say where images stand, by :data:`PLACE`.
        images: pictures of PIL, arrays, or paths. Those without a place stand before the text.
        side: the images are brought to this side in pixels.
        vision: False leaves the images and their places out.

    Raises:
        EvaluationError: the text has places for more images than there are, or an image cannot be read.
    """
    if not images:
        return text
    pieces = text.split(PLACE)
    places = len(pieces) - 1
    if places > len(images):
        raise EvaluationError(
            f"a prompt has {places} places {PLACE} for {len(images)} images: {text[:80]!r}",
            "Few-shot examples bring their text but not their images: num_fewshot: 0, or doc_to_image of all of them.",
        )
    if not vision:
        return "".join(pieces)
    pixels = [to_pixels(image, side) for image in images]
    first = len(pixels) - places
    prompt: list[str | np.ndarray] = [*pixels[:first], pieces[0]]
    for image, piece in zip(pixels[first:], pieces[1:], strict=True):
        prompt += [image, piece]
    return [part for part in prompt if not isinstance(part, str) or part]


def to_pixels(image: Any, side: int | None) -> np.ndarray:
    """A picture as uint8 [side, side, 3], or at its own size where ``side`` is None.

    Raises:
        EvaluationError: it is no picture.
    """
    try:
        opened = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        opened = opened if isinstance(opened, Image.Image) else Image.open(opened)
        opened = opened.convert("RGB")
    except (OSError, TypeError, AttributeError, ValueError) as error:
        raise EvaluationError(
            f"an image of a task cannot be read: {error}", "Give pictures, or paths of them."
        ) from None
    if side is not None and opened.size != (side, side):
        opened = opened.resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(opened, np.uint8)
