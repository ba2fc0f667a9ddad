"""Text to image from a published list of prompts: what the three such benchmarks share.

Suffixes: B images, H height, W width.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from evals.benchmark import Batch
from evals.benchmarks.from_files import FromFiles
from evals.benchmarks.t2i import TextToImage
from evals.choose import Indices
from evals.judges import Judge, Verdict
from evals.records import Record, replace_file
from evals.sitting import Sitting

if TYPE_CHECKING:
    from collections.abc import Sequence

MADE = "drawn"
JUDGES = ("set_metrics", "detector_sha256", "colours_sha256")  # settings that tell weights by their content


class Unjudged:
    """Says of every image that it was drawn, and nothing else: where only the set, or someone else, can judge."""

    metric = MADE

    def judge(self, images: npt.NDArray[np.uint8], asked_B: Indices, order_B: Indices) -> list[Verdict]:
        """See :class:`~evals.judges.Judge`."""
        return [Verdict(1.0, "", ()) for _ in asked_B]


class DrawnPrompts(FromFiles, TextToImage):
    """Prompts of a dataset, drawn; each drawing is kept as a PNG at its own size, under ``drawings/<benchmark>/``.

    Records say that an image was drawn; what it is worth stands beside (``CLIPScore``), in the set's metrics, or is
    judged from the files.
    """

    metric = MADE
    known_controls: ClassVar[tuple[str, ...]] = ()
    protocol = "drawn-prompts-1"
    pictured: ClassVar[bool] = False

    def settings(self) -> dict[str, Any]:
        """Without what only a judge in feature space has."""
        return {name: value for name, value in super().settings().items() if name != "top"}

    def files_fingerprint(self, root: Path | None) -> str:
        """Over the prompts, and the weights that judge the drawings."""
        judges = {name: part for name, part in self.settings().items() if name in JUDGES}
        return hashlib.sha256(f"{super().files_fingerprint(root)}{json.dumps(judges)}".encode()).hexdigest()

    def kept_in(self, control: str) -> str:
        """Features of the drawings alone: they cannot be painted again."""
        return f"features-{self.name}{f'@{control}' if control else ''}.safetensors"

    def assess(self, batch: Batch, sitting: Sitting, images: np.ndarray, tokens_B: np.ndarray) -> list[Record]:
        """Keep the drawings as files, and judge them as far as that can be done one by one."""
        prompts = sitting.corpus.prompts(self.split, batch.asked_B)
        if not batch.control:
            for index, prompt, image in zip(batch.asked_B, prompts, images, strict=True):
                save_drawing(sitting.out / "drawings" / self.name / self.file_of(int(index), prompt), image)
        return super().assess(batch, sitting, images, tokens_B)

    def file_of(self, index: int, prompt: str) -> str:
        """Where the drawing of an example goes, below the benchmark's folder."""
        return f"{self.image_id(index)}.png"

    def summarise(self, records: Sequence[Record]) -> tuple[dict[str, float], dict[str, str]]:
        """Means of what is known of each drawing; that it was drawn is none."""
        metrics, missing = super().summarise(records)
        made = f"{self.name}/{MADE}"
        return {name: value for name, value in metrics.items() if not name.startswith(made)}, missing

    def _judge(self, sitting: Sitting) -> Judge:
        return Unjudged()

    def _keep_arrays(
        self, batch: Batch, images: np.ndarray, features_BNC: np.ndarray, tokens_B: np.ndarray
    ) -> dict[str, np.ndarray]:
        return {"index": np.asarray(batch.asked_B, np.int64)}

    def _reference(self, batch: Batch, sitting: Sitting, side: int) -> list[np.ndarray] | None:
        return None


def save_drawing(path: Path, image_HWC: npt.NDArray[np.uint8]) -> None:
    """Write an image as PNG, in one step, pixel for pixel."""
    picture = Image.fromarray(np.ascontiguousarray(image_HWC))
    replace_file(path, functools.partial(picture.save, format="PNG"))
