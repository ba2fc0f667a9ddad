"""What a benchmark sits its examination with: model, corpus, seed, encoded images, and where pictures go.

Suffixes: B images, N patches, C channels, H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evals.choose import Indices
from evals.pictures import save_picture
from lavit.data.protocol import Examples

if TYPE_CHECKING:
    from lavit.model.protocol import VisionLanguageModel, Visual

_CACHED_IMAGES = 4096


class Sitting:
    """One model and one corpus, for the time of an evaluation.

    Args:
        model: the model under test.
        corpus: where the examples are from.
        seed: the run's seed; drawing depends on it, the choice of examples never does.
        out: folder of the evaluation; pictures go to ``samples/`` in it.
    """

    def __init__(self, model: VisionLanguageModel, corpus: Examples, seed: int, out: Path):
        self.model, self.corpus, self.seed, self.out = model, corpus, seed, out
        self._visuals: OrderedDict[tuple[str, bytes], Visual] = OrderedDict()
        self._features: dict[tuple[str, bytes], npt.NDArray] = {}

    def encode(self, split: str, index_B: Indices) -> Visual:
        """The images as the model takes them in; the last few thousand are remembered.

        Benchmarks and controls that show the same batch of images thus share one pass of the vision encoder.
        """
        key = (split, index_B.tobytes())
        if key not in self._visuals:
            self._visuals[key] = self.model.encode(self.corpus.images(split, index_B))
            while len(self._visuals) > 1 and sum(len(visual) for visual in self._visuals.values()) > _CACHED_IMAGES:
                self._visuals.popitem(last=False)
        self._visuals.move_to_end(key)
        return self._visuals[key]

    def features(self, split: str, index_B: Indices, batch: int) -> npt.NDArray[np.float32]:
        """Vision features [B, N, C] of corpus images, computed once, in batches."""
        key = (split, index_B.tobytes())
        if key not in self._features:
            starts = range(0, len(index_B), batch)
            parts = [self.model.features(self.corpus.images(split, index_B[start : start + batch])) for start in starts]
            self._features[key] = np.concatenate([array(part) for part in parts]).astype(np.float32)
        return self._features[key]

    def draw_seed(self, number: int) -> int:
        """Seed for drawing the ``number``-th batch: independent over batches and over the run's seeds."""
        return int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0] >> 1)

    def show(self, name: str, image_HWC: npt.NDArray[np.uint8]) -> None:
        """Keep a picture for the report as ``samples/<name>.png``."""
        save_picture(self.out / "samples" / f"{name}.png", image_HWC)


def count_tokens(visual: Visual) -> list[int | None]:
    """Visual tokens that each image enters with; ``None`` where the model does not tell (by ``tokens_B``)."""
    tokens_B = getattr(visual, "tokens_B", None)
    return [None] * len(visual) if tokens_B is None else [int(count) for count in array(tokens_B)]


def array(values: Any) -> npt.NDArray:
    """A tensor (on any device) or array-like as a NumPy array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values)
