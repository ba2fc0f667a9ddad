"""How far images that were painted from a tokenizer's features are, as a set, from the real ones: rFID and its like.

Suffixes: B images, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from evals.benchmark import UNDECODED
from evals.errors import EvaluationError
from evals.set_metrics import CLIP_SCORE, SetMetrics

NOT_PAINTED = "only a tokenizer inspected by itself paints images; for an arm, give its t2i benchmark set_metrics"
_MARK = f"{UNDECODED}/"


class PaintedSet(SetMetrics):
    """Set-level metrics of painted images; of those from decoded and of those from true features.

    Args:
        where: the benchmark's place in the config.
        names: of :data:`evals.set_metrics.DISTANCES`.
        inception, clip, resize: see :class:`~evals.set_metrics.SetMetrics`.

    Raises:
        EvaluationError: there is no such metric.
    """

    def __init__(self, where: str, names: Sequence[str], inception: str | None, clip: str | None, resize: str):
        if CLIP_SCORE in names:
            raise EvaluationError(f"{where}.set_metrics: a tokenizer reads no text to have a {CLIP_SCORE}.")
        super().__init__(where, names, inception, clip, resize)

    def painted_arrays(self, report: Mapping[str, Any], images: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray]:
        """Features of real images and of both painted ones; none where nothing is asked for or painted."""
        if not self.names or "images" not in report:
            return {}
        kept: dict[str, npt.NDArray] = dict(self.arrays(list(report["images"]), list(images)))
        other = self.arrays(list(report["images_undecoded"]), None)
        return kept | {_MARK + name: value for name, value in other.items()}

    def measure_painted(self, benchmark: str, path: Path) -> tuple[dict[str, float], dict[str, str]]:
        """``<benchmark>/rFID`` and so on from the kept arrays, the same ``@undecoded``, and why what is missing is."""
        missing = self.absent()
        if not path.exists():
            return {}, {f"{benchmark}/r{name}": missing.get(name, NOT_PAINTED) for name in self.names}
        kept = load_file(path)
        decoded, missing = self.measure(kept)
        true = {name.removeprefix(_MARK): value for name, value in kept.items() if name.startswith(_MARK)}
        undecoded, _ = self.measure({**kept, **true})
        metrics = {f"{benchmark}/r{name}": value for name, value in decoded.items()}
        metrics |= {f"{benchmark}/r{name}@{UNDECODED}": value for name, value in undecoded.items()}
        return metrics, {f"{benchmark}/r{name}": reason for name, reason in missing.items()}
