"""T2I-CompBench: one drawing a prompt, CLIPScore by category; its own judges read the kept drawings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from evals.benchmark import Batch
from evals.benchmarks.drawn_prompts import DrawnPrompts
from evals.datasets.t2i_compbench import T2ICompBench
from evals.records import Record
from evals.set_metrics import CLIP_SCORE
from evals.sitting import Sitting


class CompBench(DrawnPrompts):
    """Drawings are kept in the layout that the authors' judges (BLIP-VQA, UniDet) read:
    ``<category>/samples/<prompt>_000000.png``."""

    dataset = T2ICompBench
    protocol = "t2i-compbench-1"

    def __init__(self, name: str, split: str = "val", set_metrics: Sequence[str] = (CLIP_SCORE,), **further: Any):
        super().__init__(name, split=split, set_metrics=set_metrics, **further)

    def assess(self, batch: Batch, sitting: Sitting, images: np.ndarray, tokens_B: np.ndarray) -> list[Record]:
        """The score is CLIPScore where there is a CLIP model; the kind of a record is the category."""
        records = super().assess(batch, sitting, images, tokens_B)
        finished = []
        for index, record in zip(batch.asked_B, records, strict=True):
            aux = dict(record.aux)
            own = dataclasses.replace(record, kind=self._prompts.category(int(index)))
            if CLIP_SCORE in aux:
                own = dataclasses.replace(own, metric=CLIP_SCORE, score=aux.pop(CLIP_SCORE), aux=aux)
            finished.append(own)
        return finished

    def file_of(self, index: int, prompt: str) -> str:
        """As the authors name it; the number is that of the drawing of the prompt."""
        return f"{self._prompts.category(index)}/samples/{prompt.replace('/', ' ')}_000000.png"

    @property
    def _prompts(self) -> T2ICompBench:
        assert isinstance(self._opened, T2ICompBench)
        return self._opened
