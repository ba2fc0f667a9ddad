"""Metrics of a set of drawings that no single drawing has: distances between drawn and real images in feature space.

Features are extracted batch by batch and kept beside the records, so that an interrupted evaluation goes on, and the
distances can be made again without the model.

Suffixes: B images, N rows, D features, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy.typing as npt

from evals.errors import EvaluationError
from evals.features.extractor import Floats, ImageFeatures, Picture
from evals.features.files import read_gaussian
from evals.features.own import OwnFeatures
from evals.features.weights import CLIP_PAGE, INCEPTION_PAGE, content_hash
from evals.metrics import clipscore, cmmd, frechet, kid
from evals.metrics.clipscore import clip_score
from evals.metrics.cmmd import clip_mmd
from evals.metrics.frechet import frechet_distance
from evals.metrics.gaussians import from_features
from evals.metrics.kid import kernel_distance

if TYPE_CHECKING:
    from evals.features.clip import ClipFeatures

DISTANCES = {
    "FID": "inception",
    "KID": "inception",
    "CMMD": "clip_cropped",
    "FD_CLIP": "clip",
    "FD_own": "own",
    "KD_own": "own",
}
"""Distance → whose features it is on. A name tells the extractor: FID and KID are on Inception's alone."""

CLIP_SCORE = "CLIPScore"
_VERSIONS = (frechet.VERSION, kid.VERSION, cmmd.VERSION, clipscore.VERSION)
DRAWN, REFERENCE = "set_drawn_", "set_real_"


class SetMetrics:
    """Which set-level metrics a benchmark has, and the extractors that they need.

    Args:
        where: the benchmark's place in the config, for errors.
        names: of :data:`DISTANCES`, and ``CLIPScore``, which each drawing has by itself.
        inception: FID's Inception weights, a local file.
        clip: a CLIP model's folder in the layout of transformers.
        resize: how pictures come to Inception, see :class:`~evals.features.inception.InceptionFeatures`.
        statistics: ``.npz`` with ``mu`` and ``sigma`` of Inception features of the reference images, for FID, in place
            of the real images of the examples.
        prefix: of the texts that CLIPScore compares with.

    Raises:
        EvaluationError: there is no such metric.
    """

    def __init__(
        self,
        where: str,
        names: Sequence[str],
        inception: str | None = None,
        clip: str | None = None,
        resize: str = "pytorch-fid",
        statistics: str | None = None,
        prefix: str = "",
    ):
        known = [*DISTANCES, CLIP_SCORE]
        for name in names:
            if name not in known:
                raise EvaluationError(
                    f"{where}.set_metrics: there is no metric {name!r}.", f"Known: {', '.join(known)}."
                )
        self.where, self.names, self.resize, self.prefix = where, tuple(names), resize, prefix
        self.inception, self.clip, self.statistics = (
            Path(path).expanduser() if path else None for path in (inception, clip, statistics)
        )
        self._opened: dict[str, ImageFeatures] = {}

    def settings(self) -> dict[str, Any]:
        """What numbers depend on; weights by their content, not by their path."""
        paths = {"inception": self.inception, "clip": self.clip, "statistics": self.statistics}
        hashes = {name: content_hash(path) if path and path.exists() else None for name, path in paths.items()}
        how = {"names": list(self.names), "resize": self.resize, "prefix": self.prefix, "versions": list(_VERSIONS)}
        return {**how, **{f"{name}_sha256": value for name, value in hashes.items()}}

    def absent(self) -> dict[str, str]:
        """Metric → why it cannot be computed: a file that is not named or not there."""
        reasons = {}
        for name in self.names:
            whose = DISTANCES.get(name, "clip")
            if whose != "own" and (reason := self._lacking(whose.removesuffix("_cropped"))):
                reasons[name] = reason
        if self.statistics is not None and not self.statistics.is_file() and "FID" in self.names:
            reasons["FID"] = f"there are no reference statistics at {self.statistics}"
        return reasons

    def open(self, model: Any) -> None:
        """Load the extractors, before any work starts.

        Raises:
            EvaluationError: weights are there, but are not what they should be.
        """
        absent = self.absent()
        for name in self.names:
            whose = DISTANCES.get(name, "clip")
            if name not in absent and whose not in self._opened:
                self._opened[whose] = self._load(whose, model)

    def arrays(self, drawn: Sequence[Picture], real: Sequence[Picture] | None) -> dict[str, Floats]:
        """Features [B, D] of a batch, to be kept: ``set_drawn_<extractor>`` and, where there are real images,
        ``set_real_<extractor>``."""
        kept = {}
        needed = {DISTANCES[name] for name in self.names if name in DISTANCES and name not in self.absent()}
        for whose in sorted(needed):
            kept[DRAWN + whose] = self._opened[whose].images(drawn)
            if real is not None:
                kept[REFERENCE + whose] = self._opened[whose].images(real)
        return kept

    def clip_scores(self, drawn: Sequence[Picture], texts: Sequence[str]) -> npt.NDArray | None:
        """CLIPScore [B] of each drawing with its text; None where it is not asked for or has no model."""
        if CLIP_SCORE not in self.names or CLIP_SCORE in self.absent():
            return None
        model = cast("ClipFeatures", self._opened["clip"])
        return clip_score(model.images(drawn), model.texts([self.prefix + text for text in texts]))

    def measure(self, kept: Mapping[str, npt.NDArray]) -> tuple[dict[str, float], dict[str, str]]:
        """The distances from features that were kept, and why those that are missing are."""
        metrics: dict[str, float] = {}
        missing = self.absent()
        for name in self.names:
            if name in missing or name not in DISTANCES:
                continue
            if DRAWN + DISTANCES[name] not in kept:
                missing[name] = "no features of drawn images are kept beside the records"
                continue
            drawn_ND = kept[DRAWN + DISTANCES[name]]
            real_ND = kept.get(REFERENCE + DISTANCES[name])
            if name == "FID" and self.statistics is not None:
                reference = read_gaussian(self.statistics)
                names = (str(self.statistics), "drawn images")
                metrics[name] = frechet_distance(reference, from_features(drawn_ND, names[1]), names)
            elif real_ND is None:
                missing[name] = "this benchmark has no real images to compare with"
            elif len(drawn_ND) < 2:
                missing[name] = "a distance between sets needs at least 2 images in each"
            else:
                metrics[name] = _RULES[name](real_ND, drawn_ND)
        return metrics, missing

    def _lacking(self, whose: str) -> str | None:
        path: Path | None = getattr(self, whose)
        what, page = _WEIGHTS[whose]
        if path is None:
            return f"{what} are not named: {self.where}.{whose}=PATH ({page})"
        return None if path.exists() else f"{what} are not at {path} ({page})"

    def _load(self, whose: str, model: Any) -> ImageFeatures:
        if whose == "own":
            return OwnFeatures(model)
        if whose == "inception":
            from evals.features.inception import InceptionFeatures

            assert self.inception is not None
            return InceptionFeatures(self.inception, self.resize)
        from evals.features.clip import ClipFeatures

        assert self.clip is not None
        return ClipFeatures(self.clip, crop_first=whose == "clip_cropped")


def _frechet(real_ND: npt.NDArray, drawn_ND: npt.NDArray) -> float:
    return frechet_distance(from_features(real_ND, "real images"), from_features(drawn_ND, "drawn images"))


def _kernel(real_ND: npt.NDArray, drawn_ND: npt.NDArray) -> float:
    return kernel_distance(real_ND, drawn_ND).unbiased


_RULES: dict[str, Callable[[npt.NDArray, npt.NDArray], float]] = {
    "FID": _frechet,
    "KID": _kernel,
    "CMMD": clip_mmd,
    "FD_CLIP": _frechet,
    "FD_own": _frechet,
    "KD_own": _kernel,
}
_WEIGHTS = {
    "inception": ("FID's Inception weights", INCEPTION_PAGE),
    "clip": ("CLIP weights", CLIP_PAGE),
}
