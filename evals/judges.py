"""Judges of generated images: an exact one where the corpus can read a scene back, else an encoder's feature
space.

Suffixes: B images, M evaluated real images, N patches, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from evals.choose import Indices
from evals.metrics.feature import mean_cosine, rank_of_truth, similarity
from evals.sitting import Sitting, array
from lavit.data.protocol import Scene, SceneJudge


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one image.

    Attributes:
        score: the primary score.
        prediction: what was seen, in words.
        references: what should have been seen, in words.
        aux: further numbers.
    """

    score: float
    prediction: str
    references: tuple[str, ...]
    aux: dict[str, float] = field(default_factory=dict)


class Judge(Protocol):
    """Scores images that were drawn for given examples."""

    metric: str

    def judge(self, images: npt.NDArray[np.uint8], asked_B: Indices, order_B: Indices) -> list[Verdict]:
        """Score uint8 images [B, H, W, 3] that should show what the examples ``asked_B`` show."""
        ...


def describe_scene(scene: Scene) -> str:
    """A scene in words, objects in their order, the background in brackets."""
    objects = ", ".join(f"{item.size} {item.colour} {item.shape}" for item in scene.objects) or "nothing"
    return f"{objects} [on {scene.background or 'no known background'}]"


class ExactJudge:
    """Reads each drawn scene back and compares it with the scene that the prompt describes.

    ``exact`` is 1 where the objects named by the prompt are there and no others; ``objects`` is the judge's
    partial score; ``committed`` is 1 where the background is one of the known ones and not a mixture of
    several. ``exact_chance`` and ``objects_chance`` score the same image against the prompt of the next
    example of the batch.

    Args:
        scenes: the corpus's judge.
        split: split of the examples.
    """

    metric = "exact"

    def __init__(self, scenes: SceneJudge, split: str):
        self.scenes, self.split = scenes, split

    def judge(self, images: npt.NDArray[np.uint8], asked_B: Indices, order_B: Indices) -> list[Verdict]:
        """See :class:`Judge`."""
        truths, seen = self.scenes.truth(self.split, asked_B), self.scenes.read(images)
        background = {name: np.asarray(values) for name, values in self.scenes.background(images).items()}
        verdicts = []
        for row, (truth, scene) in enumerate(zip(truths, seen, strict=True)):
            parts = {name: float(value) for name, value in self.scenes.score(truth, scene).items()}
            aux = {name: value for name, value in parts.items() if name != self.metric}
            aux |= {
                name if name == "committed" else f"background_{name}": float(values[row])
                for name, values in background.items()
            }
            if len(truths) > 1:
                other = self.scenes.score(truths[(row + 1) % len(truths)], scene)
                aux |= {f"{name}_chance": float(value) for name, value in other.items()}
            verdicts.append(Verdict(parts[self.metric], describe_scene(scene), (describe_scene(truth),), aux))
        return verdicts


class FeatureJudge:
    """Asks whether the real image is among the ``top`` nearest of all evaluated real images to the drawn one.

    Nearness is the cosine of mean-pooled encoder features, centred. ``retrieval`` is 1 or 0; its chance level
    ``retrieval_chance`` is top / M, and equally ranked images share their mean rank. Aux: ``cosine`` (of
    corresponding patches, uncentred), ``rank``, ``reciprocal_rank``.

    Args:
        sitting: gives the encoder.
        split: split of the examples.
        chosen_M: all evaluated examples, in evaluation order.
        top: how many nearest images count.
        batch: images encoded at once.
    """

    metric = "retrieval"

    def __init__(self, sitting: Sitting, split: str, chosen_M: Indices, top: int, batch: int):
        self.sitting, self.chosen_M, self.top = sitting, chosen_M, top
        self.split = split
        self.real_MNC = sitting.features(split, chosen_M, batch)

    def judge(self, images: npt.NDArray[np.uint8], asked_B: Indices, order_B: Indices) -> list[Verdict]:
        """See :class:`Judge`."""
        drawn_BNC = array(self.sitting.model.features(images)).astype(np.float32)
        near_BM = similarity(drawn_BNC, self.real_MNC)
        rank_B = rank_of_truth(near_BM, order_B)
        cosine_B = mean_cosine(drawn_BNC, self.real_MNC[order_B])
        nearest_B = near_BM.argmax(axis=1)
        chance = min(1.0, self.top / len(self.chosen_M))
        prompts = self._names(nearest_B)
        truths = self._names(order_B)
        return [
            Verdict(
                score=float(rank_B[row] <= self.top),
                prediction=f"nearest to {prompts[row]}",
                references=(truths[row],),
                aux={
                    "cosine": float(cosine_B[row]),
                    "rank": float(rank_B[row]),
                    "reciprocal_rank": float(1 / rank_B[row]),
                    "retrieval_chance": chance,
                },
            )
            for row in range(len(asked_B))
        ]

    def _names(self, order_B: Indices) -> Sequence[str]:
        return self.sitting.corpus.prompts(self.split, self.chosen_M[order_B])
