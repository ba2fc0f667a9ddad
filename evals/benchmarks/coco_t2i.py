"""COCO text to image: drawings from 30,000 captions, compared as a set with the photographs that these describe.

Suffixes: B images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from evals.benchmark import CEILING, Batch
from evals.benchmarks.drawn_prompts import DrawnPrompts
from evals.choose import Indices
from evals.datasets.coco_prompts import CocoPrompts
from evals.sitting import Sitting


class CocoTextToImage(DrawnPrompts):
    """One drawing for one caption of each of ``count`` images of val2014.

    Photographs are squashed to the drawings' square, bicubic, as LaVIT does. With ``statistics`` FID is against these,
    and no photograph is read; what needs photographs is then missing. The control ``ceiling`` takes the photographs
    through tokenizer and pixel decoder: its ``FID`` is the rFID.

    Args:
        caption_seed: chooses the caption of each image.
        count: number of images; 30,000 as in published tables.
        set_metrics: see :class:`~evals.benchmarks.t2i.TextToImage`.
        statistics: see :class:`~evals.set_metrics.SetMetrics`.
        further: see :class:`~evals.benchmarks.t2i.TextToImage`.
    """

    dataset = CocoPrompts
    known_controls = (CEILING,)
    protocol = "coco-t2i-1"

    def __init__(
        self,
        name: str,
        split: str = "val2014",
        count: int | None = 30_000,
        caption_seed: int = 0,
        set_metrics: Sequence[str] = ("FID", "KID", "CMMD", "CLIPScore", "FD_own"),
        statistics: str | None = None,
        **further: Any,
    ):
        super().__init__(name, split=split, count=count, set_metrics=set_metrics, statistics=statistics, **further)
        self.caption_seed = caption_seed
        self._photographs = statistics is None
        if not self._photographs:
            self.controls.pop(CEILING, None)

    def open(self, root: Path, image_size: int) -> CocoPrompts:
        """With this benchmark's choice of captions."""
        return CocoPrompts(root, self.split, image_size, self.caption_seed, self._photographs)

    def _reference(self, batch: Batch, sitting: Sitting, side: int) -> list[np.ndarray] | None:
        return self.photographs(batch.asked_B, side) if self._photographs else None

    def photographs(self, asked_B: Indices, side: int) -> list[np.ndarray]:
        """The photographs at the drawings' size."""
        assert self._opened is not None
        found = []
        for index in asked_B:
            path = self._opened.image_path(int(index))
            assert path is not None
            with Image.open(path) as picture:
                found.append(np.asarray(picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)))
        return found
