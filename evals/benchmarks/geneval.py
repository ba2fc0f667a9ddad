"""GenEval: does a drawing hold the objects, counts, colours and places of its prompt, as a detector sees it?

Suffixes: B images.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.benchmark import Batch
from evals.benchmarks.drawn_prompts import MADE, DrawnPrompts
from evals.datasets.geneval import GenEval
from evals.errors import EvaluationError
from evals.features.weights import CLIP_PAGE, content_hash
from evals.metrics import geneval
from evals.records import Record, replace_file
from evals.sitting import Sitting
from lavit.data.protocol import Examples

if TYPE_CHECKING:
    from evals.features.colours import ColourNames
    from evals.features.detector import Detector
    from lavit.model.protocol import VisionLanguageModel

CORRECT = "correct"
_COLOURED = ("colors", "color_attr")  # kinds of prompts that name colours


class GenEvalDrawings(DrawnPrompts):
    """``drawings`` images of each of the 553 prompts, kept as GenEval's own detector reads them
    (``00000/metadata.jsonl``, ``00000/samples/0000.png``).

    With a detector ``correct`` is judged here by GenEval's rules; ``overall`` is its mean over kinds of prompts.
    Prompts that name colours need a CLIP model too. The published numbers are with mmdetection's Mask2Former (Swin-S):
    another detector is another benchmark, and in the fingerprint.

    Args:
        drawings: images of each prompt; published tables have 4.
        detector: a detection model's folder in the layout of transformers.
        clip: a CLIP model's folder, for colours; GenEval's is ViT-L/14.
        further: see :class:`~evals.benchmarks.t2i.TextToImage`.
    """

    dataset = GenEval
    protocol = geneval.VERSION

    def __init__(
        self,
        name: str,
        split: str = "test",
        drawings: int = 4,
        detector: str | None = None,
        clip: str | None = None,
        **further: Any,
    ):
        super().__init__(name, split=split, clip=clip, **further)
        if drawings < 1:
            raise EvaluationError(f"suite.benchmarks.{name}.drawings is {drawings}", "Draw each prompt at least once.")
        self.drawings = drawings
        self._detector_path, self._clip_path = (Path(p).expanduser() if p else None for p in (detector, clip))
        self._detector: Detector | None = None
        self._colours: ColourNames | None = None

    def settings(self) -> dict[str, Any]:
        """With the weights that judge, by their content."""
        paths = {"detector": self._detector_path, "colours": self._clip_path}
        return super().settings() | {
            f"{name}_sha256": content_hash(path) if path and path.is_dir() else None for name, path in paths.items()
        }

    def open(self, root: Path, image_size: int) -> GenEval:
        """Each prompt several times."""
        return GenEval(root, self.split, image_size, self.drawings)

    def obstacle(self, model: VisionLanguageModel, corpus: Examples) -> str | None:
        """See :meth:`TextToImage.obstacle`; opens the detector before any work starts."""
        if (why := super().obstacle(model, corpus)) is not None:
            return why
        if self._detector_path is not None and self._detector_path.is_dir() and self._detector is None:
            from evals.features.detector import Detector

            self._detector = Detector(self._detector_path)
            if self._clip_path is not None and self._clip_path.is_dir():
                from evals.features.clip import ClipFeatures
                from evals.features.colours import ColourNames

                self._colours = ColourNames(ClipFeatures(self._clip_path))
        return None

    def assess(self, batch: Batch, sitting: Sitting, images: np.ndarray, tokens_B: np.ndarray) -> list[Record]:
        """Keep the drawings, and judge those that can be judged."""
        records = []
        for index, image, record in zip(
            batch.asked_B, images, super().assess(batch, sitting, images, tokens_B), strict=True
        ):
            metadata = self._prompts.metadata(int(index))
            prompt, _ = self._prompts.place(int(index))
            folder = sitting.out / "drawings" / self.name / f"{prompt:05d}"
            text = json.dumps(metadata, ensure_ascii=False)
            replace_file(folder / "metadata.jsonl", lambda path, text=text: path.write_text(text, encoding="utf-8"))
            own = dataclasses.replace(record, cluster_id=f"{prompt:05d}", kind=metadata["tag"])
            judgement = self._judge_drawing(image, metadata)
            if judgement is not None:
                own = dataclasses.replace(
                    own, metric=CORRECT, score=float(judgement.correct), prediction=judgement.reason
                )
            records.append(own)
        return records

    def file_of(self, index: int, prompt: str) -> str:
        """As GenEval's own code reads it."""
        place, number = self._prompts.place(index)
        return f"{place:05d}/samples/{number:04d}.png"

    def summarise(self, records: Sequence[Record]) -> tuple[dict[str, float], dict[str, str]]:
        """Shares of right drawings, by kind of prompt and ``overall``; nothing where no detector judged."""
        judged = [record for record in records if record.metric == CORRECT]
        metrics, missing = super().summarise(judged) if judged else ({}, {})
        kinds = {record.kind for record in records}
        if len({record.kind for record in judged}) == len(kinds):
            parts = geneval.summarise(
                [record.kind for record in judged],
                [record.cluster_id for record in judged],
                [record.score == 1 for record in judged],
            )
            metrics |= {f"{self.name}/overall": parts["overall"], f"{self.name}/prompts": parts["prompts"]}
        else:
            missing[f"{self.name}/overall"] = self._why_not()
        return metrics, missing

    def _judge_drawing(self, image: np.ndarray, metadata: Mapping[str, Any]) -> geneval.Judgement | None:
        tag = metadata["tag"]
        if self._detector is None or (tag in _COLOURED and self._colours is None):
            return None
        found = self._detector.detect(image, min(geneval.CONFIDENCE, geneval.COUNTING_CONFIDENCE))
        kept = geneval.keep({name: [item.row for item in items] for name, items in found.items()}, tag)

        def colour_of(name: str, place: int) -> str:
            assert self._colours is not None
            return self._colours.name(image, found[name][place], name)

        return geneval.judge(metadata, kept, colour_of)

    def _why_not(self) -> str:
        where = f"suite.benchmarks.{self.name}"
        official = "or run GenEval's own detector on drawings/ and `lavit score geneval --results`"
        if self._detector_path is None:
            return f"no object detector is named: {where}.detector=DIR, {official}"
        if not self._detector_path.is_dir():
            return f"there is no object detector at {self._detector_path}: {where}.detector=DIR, {official}"
        return f"colours need a CLIP model: {where}.clip=DIR ({CLIP_PAGE})"

    @property
    def _prompts(self) -> GenEval:
        assert isinstance(self._opened, GenEval)
        return self._opened


__all__ = ["CORRECT", "MADE", "GenEvalDrawings"]
