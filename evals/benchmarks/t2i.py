"""Text to image: draw what a prompt says, judged exactly where the corpus can, else in feature space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from safetensors.numpy import load_file

from evals.benchmark import CEILING, REAL, Answers, Batch, Benchmark
from evals.errors import EvaluationError
from evals.judges import ExactJudge, FeatureJudge, Judge
from evals.metrics.feature import standard_cosine
from evals.metrics.pixels import psnr
from evals.pictures import at_side
from evals.records import Record
from evals.set_metrics import CLIP_SCORE, SetMetrics
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
        set_metrics: metrics of the drawings as a set, of :data:`evals.set_metrics.DISTANCES`, and ``CLIPScore``. The
            ceiling has them too, which makes its ``FID`` the rFID of tokenizer and pixel decoder.
        inception, clip, statistics, resize, prefix: where their extractors are, see
            :class:`~evals.set_metrics.SetMetrics`. What is not there leaves its metrics out, with the reason.
        further: see :class:`~evals.benchmark.Benchmark`.

    Raises:
        EvaluationError: a setting is none or out of range, or several drawings are re-ranked under a name that does
            not say so: scores with and without re-ranking must not meet in one column.
    """

    metric = "exact"  # "retrieval" where the corpus has no exact judge
    known_controls: ClassVar[tuple[str, ...]] = (CEILING,)
    protocol = "scene-or-retrieval-1"

    def __init__(
        self,
        name: str,
        samples: int = 16,
        top: int = 5,
        draw: Mapping[str, Any] | None = None,
        best_of: int = 1,
        set_metrics: Sequence[str] = (),
        inception: str | None = None,
        clip: str | None = None,
        statistics: str | None = None,
        resize: str = "pytorch-fid",
        prefix: str = "",
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
        where = f"suite.benchmarks.{name}"
        self._set = SetMetrics(where, set_metrics, inception, clip, resize, statistics, prefix)

    def settings(self) -> dict[str, Any]:
        """With the set-level metrics, where there are any."""
        return super().settings() | ({"set_metrics": self._set.settings()} if self._set.names else {})

    def obstacle(self, model: VisionLanguageModel, corpus: Examples) -> str | None:
        """An arm without a visual loss draws nothing."""
        if not model.makes_images:
            return "this arm has no visual loss and makes no images"
        self._set.open(model)
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
        arrays: dict[str, np.ndarray] = {}
        if self._set.names:
            arrays |= self._set.arrays(list(images), self._reference(batch, sitting, images.shape[1]))
        if batch.control == REAL:
            arrays |= self._keep_arrays(batch, images, array(drawing.features), tokens_B)
        return Answers(records, arrays)

    def measure_set(self, out: Path) -> tuple[dict[str, float], dict[str, str]]:
        """Distances between drawn (or reconstructed) and real images."""
        metrics: dict[str, float] = {}
        missing: dict[str, str] = {}
        for control in self.passes() if self._set.names else []:
            path = out / self.kept_in(control)
            found, reasons = self._set.measure(load_file(path) if path.exists() else {})
            at = f"@{control}" if control else ""
            metrics |= {f"{self.name}/{name}{at}": value for name, value in found.items()}
            if not control:
                missing |= {f"{self.name}/{name}": reason for name, reason in reasons.items()}
        return metrics, missing

    def _keep_arrays(
        self, batch: Batch, images: np.ndarray, features_BNC: np.ndarray, tokens_B: np.ndarray
    ) -> dict[str, np.ndarray]:
        """What of the drawings is kept, so that another judge or pixel decoder can look at them later."""
        return {
            "index": np.asarray(batch.asked_B, np.int64),
            "images": images,
            "features": features_BNC.astype(np.float16),
            "tokens": tokens_B.astype(np.int32),
        }

    def _reference(self, batch: Batch, sitting: Sitting, side: int) -> Sequence[np.ndarray] | None:
        """The real images that drawings of ``side`` pixels are compared with; None where there are none."""
        return list(sitting.corpus.images(self.split, batch.asked_B))

    def assess(self, batch: Batch, sitting: Sitting, images: np.ndarray, tokens_B: np.ndarray) -> list[Record]:
        """Judge images that were drawn (or reconstructed) for a batch, however they came to be painted.

        Args:
            batch: the examples that they were made for.
            sitting: gives corpus and encoder, and keeps the pictures.
            images: uint8 [B, H, W, 3].
            tokens_B: visual tokens of each.
        """
        prompts = sitting.corpus.prompts(self.split, batch.asked_B)
        real = sitting.corpus.images(self.split, batch.asked_B) if self.pictured else None
        seen = images if real is None else at_side(images, real.shape[1])  # a model may paint larger than it reads
        judge = self._judge(sitting)
        verdicts = judge.judge(seen, batch.asked_B, batch.order_B)
        aux_B: list[dict[str, float]] = [{} for _ in prompts]
        if batch.control == CEILING and real is not None:
            aux_B = self._fidelity(batch, sitting, seen, real)
        if (clip_B := self._set.clip_scores(list(images), prompts)) is not None:
            aux_B = [{**aux, CLIP_SCORE: float(value)} for aux, value in zip(aux_B, clip_B, strict=True)]
        records = []
        for row, (index, verdict) in enumerate(zip(batch.asked_B, verdicts, strict=True)):
            example, order = self.image_id(index), int(batch.order_B[row])
            if order < self.samples:
                self._keep(sitting, batch.control, example, images[row], None if real is None else real[row])
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

    def _keep(self, sitting: Sitting, control: str, example: str, image: np.ndarray, real: np.ndarray | None) -> None:
        if control == CEILING:
            sitting.show(f"ceiling-{example}", image)
        else:
            sitting.show(f"{self.name}-{example}", image)
            if real is not None:
                sitting.show(f"truth-{example}", real)
