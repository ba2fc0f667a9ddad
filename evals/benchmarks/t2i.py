"""Text to image: draw what a prompt says, judged exactly where the corpus can, else in feature space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.benchmark import CEILING, REAL, Answers, Batch, Benchmark
from evals.errors import EvaluationError
from evals.judges import ExactJudge, FeatureJudge, Judge
from evals.metrics.feature import standard_cosine
from evals.metrics.pixels import psnr
from evals.records import Record
from evals.sitting import Sitting, array
from lavit.data.protocol import Examples
from lavit.errors import LavitError
from lavit.model.draw_settings import DrawSettings

if TYPE_CHECKING:
    from lavit.model.protocol import VisionLanguageModel


class TextToImage(Benchmark):
    """One image a prompt, drawn as ``draw`` says, with the run's seed.

    The control ``ceiling`` judges the real image after tokenizer and pixel decoder: what is lost there no
    generation can win back. Its records also say how near the image came back: ``psnr`` in dB and
    ``feature_cosine``, the mean over patches of the cosine of standardised features. Kept beside the records:
    the drawings with their features, so that another judge or a better pixel decoder can score them later
    without the language model.

    Args:
        samples: how many examples to keep as pictures (drawn, real, ceiling) for the report.
        top: of the judge in feature space, see :class:`~evals.judges.FeatureJudge`.
        draw: generation settings, see :class:`~lavit.model.draw_settings.DrawSettings`; its defaults where None.
        best_of: drawings of each prompt, of which one is kept, unless ``draw`` says how many.
        further: see :class:`~evals.benchmark.Benchmark`.

    Raises:
        EvaluationError: a setting is none or out of range, or several drawings are re-ranked under a name that does
            not say so: scores with and without re-ranking must not meet in one column.
    """

    metric = "exact"  # "retrieval" where the corpus has no exact judge
    known_controls = (CEILING,)
    protocol = "scene-or-retrieval-1"

    def __init__(
        self,
        name: str,
        samples: int = 16,
        top: int = 5,
        draw: Mapping[str, Any] | None = None,
        best_of: int = 1,
        **further: Any,
    ):
        super().__init__(name, **further)
        self.samples, self.top = samples, top
        try:
            self._draw = DrawSettings.of({"best_of": best_of, **(draw or {})})
        except LavitError as error:
            raise EvaluationError(f"suite.benchmarks.{name}.{error.message}", error.remedy) from error
        if self._draw.best_of > 1 and "best_of" not in name:
            raise EvaluationError(
                f"suite.benchmarks.{name} keeps the best of {self._draw.best_of}: {name}/{self.metric} would mix "
                "re-ranked drawings with plain ones.",
                "Give re-ranking an entry of its own, with best_of in its name, as suite=best_of does.",
            )
        self.draw = asdict(self._draw)  # part of the protocol

    def obstacle(self, model: VisionLanguageModel, corpus: Examples) -> str | None:
        """An arm without a visual loss draws nothing."""
        if not model.makes_images:
            return "this arm has no visual loss and makes no images"
        return None

    def ask(self, batch: Batch, sitting: Sitting) -> Answers:
        """Draw (or, for the ceiling, reconstruct) one batch and judge it."""
        if batch.control == CEILING:
            drawing = sitting.model.reconstruct(sitting.corpus.images(self.split, batch.asked_B))
        else:
            prompts = sitting.corpus.prompts(self.split, batch.asked_B)
            drawing = sitting.model.draw(prompts, sitting.draw_seed(batch.number), self._draw)
        images, tokens_B = array(drawing.images).astype(np.uint8), array(drawing.tokens)
        records = self.assess(batch, sitting, images, tokens_B)
        if batch.control != REAL:
            return Answers(records)
        arrays: dict[str, np.ndarray] = {
            "index": np.asarray(batch.asked_B, np.int64),
            "images": images,
            "features": array(drawing.features).astype(np.float16),
            "tokens": tokens_B.astype(np.int32),
        }
        return Answers(records, arrays)

    def assess(self, batch: Batch, sitting: Sitting, images: np.ndarray, tokens_B: np.ndarray) -> list[Record]:
        """Judge images that were drawn (or reconstructed) for a batch, however they came to be painted.

        Args:
            batch: the examples that they were made for.
            sitting: gives corpus and encoder, and keeps the pictures.
            images: uint8 [B, H, W, 3].
            tokens_B: visual tokens of each.
        """
        prompts = sitting.corpus.prompts(self.split, batch.asked_B)
        real = sitting.corpus.images(self.split, batch.asked_B)
        judge = self._judge(sitting)
        verdicts = judge.judge(images, batch.asked_B, batch.order_B)
        aux_B = self._fidelity(batch, sitting, images, real) if batch.control == CEILING else [{}] * len(real)
        records = []
        for row, (index, verdict) in enumerate(zip(batch.asked_B, verdicts, strict=True)):
            example, order = self.image_id(index), int(batch.order_B[row])
            if order < self.samples:
                self._keep(sitting, batch.control, example, images[row], real[row])
            records.append(
                Record(
                    benchmark=self.name,
                    metric=judge.metric,
                    control=batch.control,
                    split=self.split,
                    example_id=example,
                    cluster_id=example,
                    prompt=prompts[row],
                    prediction=verdict.prediction,
                    references=verdict.references,
                    score=verdict.score,
                    aux=verdict.aux | aux_B[row],
                    tokens=int(tokens_B[row]),
                    order=order,
                )
            )
        return records

    def _fidelity(self, batch: Batch, sitting: Sitting, images: np.ndarray, real: np.ndarray) -> list[dict[str, float]]:
        """How near a reconstruction comes to its own image: in pixels, and in the encoder's features."""
        chosen = self.examples_of(CEILING, sitting.corpus)
        real_MNC = sitting.features(self.split, chosen, self.batch)
        seen_BNC = array(sitting.model.features(images)).astype(np.float32)
        cosine_B = standard_cosine(seen_BNC, real_MNC[batch.order_B], real_MNC)
        return [
            {"psnr": float(p), "feature_cosine": float(c)} for p, c in zip(psnr(images, real), cosine_B, strict=True)
        ]

    def _judge(self, sitting: Sitting) -> Judge:
        scenes = sitting.corpus.scene_judge()
        if scenes is not None:
            return ExactJudge(scenes, self.split)
        return FeatureJudge(sitting, self.split, self.examples(sitting.corpus), self.top, self.batch)

    def _keep(self, sitting: Sitting, control: str, example: str, image: np.ndarray, real: np.ndarray) -> None:
        if control == CEILING:
            sitting.show(f"ceiling-{example}", image)
        else:
            sitting.show(f"{self.name}-{example}", image)
            sitting.show(f"truth-{example}", real)
