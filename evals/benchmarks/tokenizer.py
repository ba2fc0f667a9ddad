"""The visual tokenizer itself: how much of an image its tokens keep, how many there are, and where they go.

Suffixes: B images, N patches, L label classes, H height, W width.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from evals.benchmark import UNDECODED, Answers, Batch, Benchmark
from evals.errors import EvaluationError
from evals.judges import ExactJudge, Verdict
from evals.metrics.codes import correlate, count_codes
from evals.metrics.pixels import psnr
from evals.painted_set import PaintedSet
from evals.records import Record
from evals.sitting import Sitting, array
from lavit.data.protocol import Corpus, Examples

if TYPE_CHECKING:
    from lavit.model.protocol import VisionLanguageModel

Floats = npt.NDArray[np.float64]

NO_OBJECTS = "the data do not tell which patches show an object"
NO_CODES = "the tokenizer has no codebook, so its tokens have no codes"
NO_VARIATION = "one of the two is the same for every image, so there is no correlation"
NOT_PAINTED = (
    "only a tokenizer that is inspected by itself paints images; an arm's ceiling is that of its t2i benchmark"
)
_MARK = "undecoded/"  # of what belongs to the control, until the control's records are made


@dataclass(frozen=True)
class _Score:
    """One metric of a batch: a value an image (NaN where it means nothing), and the same on true features."""

    metric: str
    values_B: Floats
    undecoded_B: Floats | None = None
    verdicts: tuple[Sequence[Verdict], Sequence[Verdict]] | None = field(default=None)  # decoded, undecoded


class TokenizerFidelity(Benchmark):
    """What is left of the encoder's features in those decoded from the tokens; codes; kept tokens.

    One record an image and metric. The primary one, where the corpus knows which patches show objects, is
    ``cosine_objects`` on these (the background dominates the others); then ``cosine`` over all patches. A tokenizer
    that is inspected by itself also has ``probe_objects``, the share of an image's object patches whose whole set
    of labels the vision stage's label head names right on decoded features, and ``psnr`` of the image painted from
    them in dB, with what the corpus's judge reads in it (``scene_exact``, ``scene_objects``). The control
    ``undecoded`` is the same from true features: what probe and pixel decoder reach at best.

    Beside ``cosine``: ``kept`` tokens and the corpus's measures of complexity. Over the set: ``codes_used`` and
    ``perplexity``, ``kept_min`` and ``kept_max``, and ``kept_corr_<measure>``, the correlation of kept tokens with each
    measure of complexity. The prediction of a record is the image's codes (what was seen, for a painted image). Where
    tokens are patches, the record says which these are.

    Args:
        samples: how many examples to keep as painted pictures for the report.
        set_metrics: distances between painted and real images, of :data:`evals.set_metrics.DISTANCES`, as ``rFID``,
            ``rFD_own``, …; also of those painted from true features (``@undecoded``).
        inception, clip, resize: where their extractors are, see :class:`~evals.set_metrics.SetMetrics`.
        further: see :class:`~evals.benchmark.Benchmark`.
    """

    metric = "cosine"  # "cosine_objects" where the corpus knows objects
    subject = "tokenizer"
    protocol = "tokenizer-2"

    def __init__(
        self,
        name: str,
        samples: int = 32,
        set_metrics: Sequence[str] = (),
        inception: str | None = None,
        clip: str | None = None,
        resize: str = "pytorch-fid",
        **further: Any,
    ):
        super().__init__(name, **further)
        self.samples = samples
        self._set = PaintedSet(f"suite.benchmarks.{name}", set_metrics, inception, clip, resize)

    def settings(self) -> dict[str, Any]:
        """With the set-level metrics, where there are any."""
        return super().settings() | ({"set_metrics": self._set.settings()} if self._set.names else {})

    def obstacle(self, model: VisionLanguageModel, corpus: Examples) -> str | None:
        """None; opens what the set-level metrics need before any work starts."""
        self._set.open(model)
        return super().obstacle(model, corpus)

    def ask(self, batch: Batch, sitting: Sitting) -> Answers:
        """Take the images of one batch apart and put them together again."""
        corpus = cast(Corpus, sitting.corpus)  # a tokenizer is looked at on what it was trained for
        images = corpus.images(self.split, batch.asked_B)
        report = {
            name: value if name in ("codes", "places") else array(value)
            for name, value in sitting.model.tokenizer_report(images).items()
        }
        kept_B = report["kept"]
        beside = {"kept": kept_B.astype(np.float64)}
        beside |= {f"complexity_{name}": v for name, v in corpus.complexity(self.split, batch.asked_B).items()}
        codes = [" ".join(str(int(code)) for code in array(row)) for row in report.get("codes", [])]
        for text, kept in zip(codes, kept_B, strict=False):
            if len(text.split()) != int(kept):
                raise EvaluationError(f"The tokenizer reports {len(text.split())} codes but {int(kept)} kept tokens.")
        kept_at = [_bitmap(array(row), report["cosine"].shape[1]) for row in report.get("places", [])]
        scores = list(self._scores(report, images, batch, sitting))
        records = []
        for row, index in enumerate(batch.asked_B):
            common = Record(
                benchmark=self.name,
                metric=self.metric,
                control=batch.control,
                split=self.split,
                example_id=self.image_id(index),
                cluster_id=self.image_id(index),
                prediction=codes[row] if codes else "",
                references=(),
                tokens=int(kept_B[row]),
                order=int(batch.order_B[row]),
            )
            aux = {name: float(values[row]) for name, values in beside.items()}
            for score in scores:
                record = _record(common, score, row)
                if record is not None:  # every image has a ``cosine``, which carries what is true of any
                    if score.metric == "cosine":
                        record = dataclasses.replace(
                            record, aux=aux, facts={"kept_at": kept_at[row]} if kept_at else {}
                        )
                    records.append(record)
            if "images" in report and common.order < self.samples:
                sitting.show(f"{self.name}-{common.example_id}", report["images"][row])
                sitting.show(f"ceiling-{common.example_id}", report["images_undecoded"][row])
                sitting.show(f"truth-{common.example_id}", images[row])
        return Answers(records, self._set.painted_arrays(report, images))

    def measure_set(self, out: Path) -> tuple[dict[str, float], dict[str, str]]:
        """Distances between painted and real images."""
        return self._set.measure_painted(self.name, out / self.kept_in("")) if self._set.names else ({}, {})

    def _scores(
        self, report: Mapping[str, Any], images: npt.NDArray[np.uint8], batch: Batch, sitting: Sitting
    ) -> Iterator[_Score]:
        """The metrics of a batch, the primary one first."""
        corpus = cast(Corpus, sitting.corpus)
        cosine_BN = report["cosine"].astype(np.float64)
        patch = corpus.image_size // round(cosine_BN.shape[1] ** 0.5)
        objects_BN = corpus.object_patches(self.split, batch.asked_B, patch)
        if objects_BN is not None:
            yield _Score("cosine_objects", _mean_over(cosine_BN, objects_BN))
        yield _Score("cosine", cosine_BN.mean(1))
        if "labels" in report and objects_BN is not None:
            truth_BNL = np.asarray(corpus.patch_labels(self.split, batch.asked_B, patch)) >= 0.5
            right = [(report[name] == truth_BNL).all(-1).astype(np.float64) for name in ("labels", "labels_undecoded")]
            yield _Score("probe_objects", _mean_over(right[0], objects_BN), _mean_over(right[1], objects_BN))
        if "images" in report:
            painted = report["images"], report["images_undecoded"]
            verdicts = None
            if (scenes := corpus.scene_judge()) is not None:
                judge = ExactJudge(scenes, self.split)
                seen = [judge.judge(part, batch.asked_B, batch.order_B) for part in painted]
                verdicts = seen[0], seen[1]
            yield _Score("psnr", psnr(painted[0], images), psnr(painted[1], images), verdicts)

    def finish(self, records: list[Record]) -> list[Record]:
        """Part the records of true features from those of decoded ones."""
        finished, controls = [], []
        for record in records:
            own = {name: value for name, value in record.aux.items() if not name.startswith(_MARK)}
            finished.append(dataclasses.replace(record, aux=own))
            other = {name.removeprefix(_MARK): v for name, v in record.aux.items() if name.startswith(_MARK)}
            if other:
                score = other.pop("score")
                controls.append(
                    dataclasses.replace(
                        record, control=UNDECODED, prediction="", references=(), score=score, aux=other, tokens=None
                    )
                )
        return finished + controls

    def summarise(self, records: Sequence[Record]) -> tuple[dict[str, float], dict[str, str]]:
        """Means per image and the measures over the set."""
        metrics: dict[str, float] = {}
        missing: dict[str, str] = {}
        for metric in dict.fromkeys(record.metric for record in records):
            means, _ = super().summarise([record for record in records if record.metric == metric])
            metrics |= {name: value for name, value in means.items() if "/complexity_" not in name}
        if f"{self.name}/cosine_objects" not in metrics:
            missing |= {f"{self.name}/{name}": NO_OBJECTS for name in ("cosine_objects", "probe_objects")}
        first = [record for record in records if record.metric == "cosine"]
        if any(record.prediction for record in first):
            used, perplexity = count_codes([_codes(record) for record in first])
            metrics[f"{self.name}/codes_used"], metrics[f"{self.name}/perplexity"] = float(used), perplexity
        else:
            missing |= {f"{self.name}/{name}": NO_CODES for name in ("codes_used", "perplexity")}
        kept_B = np.array([record.aux["kept"] for record in first])
        metrics |= {f"{self.name}/kept_min": float(kept_B.min()), f"{self.name}/kept_max": float(kept_B.max())}
        for name in first[0].aux:
            if name.startswith("complexity_"):
                metric = f"{self.name}/kept_corr_{name.removeprefix('complexity_')}"
                value = correlate(kept_B, np.array([record.aux[name] for record in first]))
                if value is None:
                    missing[metric] = NO_VARIATION
                else:
                    metrics[metric] = value
        return metrics, missing


def _bitmap(places_K: npt.NDArray[np.integer], patches: int) -> str:
    """One character a patch in raster order, 1 where it became a token."""
    kept_N = np.zeros(patches, np.int64)
    kept_N[places_K] = 1
    return "".join(map(str, kept_N))


def _mean_over(values_BN: Floats, chosen_BN: npt.NDArray[np.bool_]) -> Floats:
    """Mean over the chosen patches of each image; NaN where there are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an image without such a patch has no value, and that is said
        means: Floats = np.nanmean(np.where(chosen_BN, values_BN, np.nan), axis=1)
    return means


def _record(common: Record, score: _Score, row: int) -> Record | None:
    """The record of one image and metric; None where the metric means nothing for it."""
    if not np.isfinite(score.values_B[row]):
        return None
    aux: dict[str, float] = {}
    if score.undecoded_B is not None:
        aux[f"{_MARK}score"] = float(score.undecoded_B[row])
    record = dataclasses.replace(common, metric=score.metric, score=float(score.values_B[row]))
    if score.verdicts is not None:
        decoded, undecoded = (verdicts[row] for verdicts in score.verdicts)
        aux = {**_scene(decoded), **{f"{_MARK}{name}": v for name, v in _scene(undecoded).items()}, **aux}
        record = dataclasses.replace(record, prediction=decoded.prediction, references=decoded.references)
    return dataclasses.replace(record, aux=aux)


def _scene(verdict: Verdict) -> dict[str, float]:
    """What the judge makes of a painted image."""
    return {"scene_exact": verdict.score, "scene_objects": verdict.aux["objects"]}


def _codes(record: Record) -> npt.NDArray[np.int64]:
    return np.array([int(code) for code in record.prediction.split()], dtype=np.int64)
