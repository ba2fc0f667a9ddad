"""What an evaluator may ask of a model, and nothing else.

Shapes: B images or prompts, H, W pixels, N patches, C feature width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lavit.model.draw_settings import DrawSettings
from lavit.model.text_settings import TextSettings

if TYPE_CHECKING:  # who only asks a model things need not load torch
    from torch import Tensor

Part = str | np.ndarray
"""A piece of a prompt: text, or an image as uint8 [H, W, 3]."""
Prompt = str | Sequence[Part]
"""What a model reads: a text, or texts and images in the order in which they are read."""


class Visual(Protocol):
    """Images after the visual tokenizer, ready to enter the LLM; opaque, can be indexed."""

    @property
    def tokens_B(self) -> np.ndarray:
        """Visual tokens of each image, int [B]."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, index: np.ndarray) -> Visual:
        """The images at ``index``, in that order."""
        ...


@dataclass
class Drawing:
    """Images that a model made.

    Attributes:
        images: uint8 [B, H, W, 3].
        tokens: visual tokens used for each, int [B].
        features: features from which the pixels were decoded, float [B, N, C].
    """

    images: np.ndarray
    tokens: np.ndarray
    features: Tensor


class VisionLanguageModel(Protocol):
    """A trained arm.

    Attributes:
        makes_images: whether it can :meth:`draw`.
        image_size: side in pixels of the images that it reads.
    """

    makes_images: bool
    image_size: int

    def encode(self, images: np.ndarray) -> Visual:
        """Visual tokens of uint8 images [B, H, W, 3]."""
        ...

    def caption(self, visual: Visual | None, count: int, settings: TextSettings | None = None) -> list[str]:
        """One caption an image; without images (None), ``count`` captions of nothing.

        Without settings they are written greedily, at most 48 tokens.
        """
        ...

    def answer(self, visual: Visual | None, questions: list[str], settings: TextSettings | None = None) -> list[str]:
        """One answer a question; image i belongs to question i. Without settings greedily, at most 6 tokens."""
        ...

    def complete(self, prompts: Sequence[Prompt], settings: TextSettings) -> list[str]:
        """What follows each prompt, which is read as it is: texts and images (to be read) as they come."""
        ...

    def draw(self, prompts: Sequence[Prompt], seed: int, settings: DrawSettings) -> Drawing:
        """One image a prompt: the same for the same prompts in the same order, seed and settings."""
        ...

    def reconstruct(self, images: np.ndarray) -> Drawing:
        """The images after the tokenizer and the pixel decoder: the ceiling of what :meth:`draw` can reach."""
        ...

    def features(self, images: np.ndarray) -> Tensor:
        """The vision encoder's features [B, N, C]."""
        ...

    def tokenizer_report(self, images: np.ndarray) -> dict[str, Any]:
        """Per image: ``cosine`` of reconstructed features, ``kept`` tokens, ``codes`` (a list of arrays).

        And, where tokens are patches of the image, ``places`` (a list of arrays): which, in raster order.
        """
        ...
