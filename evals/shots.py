"""Few-shot prompts: some solved examples before the one that is asked, images and text as they come.

The examples are chosen once, by a fixed order of a declared split: the same for every arm, seed and question, so that a
difference between arms is none of their prompts. An image that is asked about is never among its own examples.

Suffixes: Q questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evals.benchmark import VISION_OFF, Batch, Benchmark
from evals.choose import Indices
from evals.errors import EvaluationError
from evals.shot_templates import TEMPLATES, Piece, fill, merge, read_template
from evals.sitting import Sitting
from lavit.data.protocol import Examples, Images

if TYPE_CHECKING:
    from lavit.model.protocol import Part
    from lavit.model.text_settings import TextSettings

# Fixed on purpose, as the choice of examples is: see evals.choose.
_SHOT_SEED = 20240216


@dataclass(frozen=True)
class Shot:
    """A solved example: an image, and the caption or the question and answer about it."""

    image_id: str
    image_HWC: Images
    question: str
    answer: str


class FewShot(Benchmark):
    """A benchmark that may show the model solved examples first.

    Args:
        shots: how many.
        shots_from: the split that they are from; of a dataset in files, only its annotations have to be whole.
        shots_template: one of :data:`TEMPLATES`, or ``{shot, asked, stop}``; by default ``question`` for questions,
            else ``caption``.
        further: see :class:`~evals.benchmark.Benchmark`.

    Raises:
        EvaluationError: fewer than none, no such template, or one without a place for what it is about.
    """

    asks_questions: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        *positional: Any,
        shots: int = 0,
        shots_from: str = "train",
        shots_template: str | Mapping[str, str] | None = None,
        **further: Any,
    ):
        super().__init__(name, *positional, **further)
        self.shots, self.shots_from = shots, shots_from
        self.shots_template = shots_template or ("question" if self.asks_questions else "caption")
        if not isinstance(shots, int) or isinstance(shots, bool) or shots < 0:
            raise EvaluationError(f"suite.benchmarks.{name}.shots is {shots!r}.", "Give a number of examples, or 0.")
        self._template = read_template(self.shots_template, f"suite.benchmarks.{name}.shots_template")
        needed = ("{image}", "{question}") if self.asks_questions else ("{image}",)
        if lack := [place for place in needed if place not in self._template.asked]:
            raise EvaluationError(
                f"suite.benchmarks.{name}.shots_template: what is asked has no {lack[0]}: {self._template.asked!r}.",
                f"Name another: {', '.join(TEMPLATES)}.",
            )
        self._chosen: list[Shot] = []

    def settings(self) -> dict[str, Any]:
        """Without shots, what they would have been made of is no part of the protocol."""
        found = super().settings()
        if not self.shots:
            for name in ("shots_from", "shots_template"):
                found.pop(name)
        return found

    def shots_source(self, corpus: Examples) -> Examples:
        """Where the examples of the prompt are from."""
        return corpus

    def answer_after_shots(
        self,
        batch: Batch,
        sitting: Sitting,
        settings: TextSettings,
        questions_Q: Sequence[str] | None = None,
        row_Q: Sequence[int] | Indices | None = None,
    ) -> tuple[list[str], list[str]]:
        """Captions of a batch's images, or answers to questions about them, after the examples.

        Args:
            batch: whose images are shown; under ``vision_off`` no image is, also none of the examples.
            sitting: the model and the corpus.
            settings: how the text is written.
            questions_Q: None: captions, one an image.
            row_Q: the place in the batch of each question's image.

        Returns:
            What was said, cut at the template's end mark; and the prompts as text: ``[image ID]`` for an example's
            image, ``[image]`` for the one that is asked about, so that equal questions have equal prompts.
        """
        template = self._template
        rows = range(len(batch.shown_B)) if row_Q is None else row_Q
        asked = [""] * len(rows) if questions_Q is None else list(questions_Q)
        with_images = batch.control != VISION_OFF
        images = sitting.corpus.images(self.split, batch.shown_B) if with_images else None
        shown = [self.image_id(int(index)) for index in batch.shown_B]
        own = [self.image_id(int(index)) for index in batch.asked_B]
        prompts: list[list[Part]] = []
        written: list[str] = []
        for row, question in zip(rows, asked, strict=True):
            pieces: list[Piece] = []
            for shot in self._shots_for({shown[row], own[row]}, sitting.corpus):
                image = (shot.image_id, shot.image_HWC) if with_images else None
                pieces += fill(template.shot, image, shot.question, shot.answer)
            pieces += fill(template.asked, None if images is None else ("", images[row]), question)
            prompts.append(merge(pieces))
            told = [piece if isinstance(piece, str) else f"[image {piece[0]}]" for piece in pieces]
            written.append("".join(told).replace("[image ]", "[image]"))
        said = _complete_each_once(sitting, prompts, written, settings)
        return [text.split(template.stop)[0].strip() if template.stop else text for text in said], written

    def solved(self, corpus: Examples) -> list[Shot]:
        """The examples: two more than a prompt has, as those about the image that is asked or shown are left out."""
        if not self._chosen:
            self._chosen = choose_shots(self.shots_source(corpus), self.shots_from, self.shots + 2, self.asks_questions)
        return self._chosen

    def _shots_for(self, forbidden: set[str], corpus: Examples) -> list[Shot]:
        """The first examples of the fixed order that are about none of these images."""
        fit = [shot for shot in self.solved(corpus) if shot.image_id not in forbidden][: self.shots]
        if len(fit) < self.shots:
            raise EvaluationError(
                f"suite.benchmarks.{self.name}.shots is {self.shots}, but {self.shots_from!r} has {len(fit)} examples "
                "besides the one that is asked.",
                "Ask for fewer, or name a larger split in shots_from.",
            )
        return fit


def choose_shots(source: Examples, split: str, count: int, questions: bool) -> list[Shot]:
    """The first ``count`` images of a fixed order of ``split`` that have a caption, or a question with an answer."""
    name = getattr(source, "image_id", lambda index: f"{split}-{index}")
    order = np.random.default_rng(_SHOT_SEED).permutation(source.size(split))
    shots: list[Shot] = []
    for index in order:
        one = np.array([index])
        if questions:
            asked = source.questions(split, one, 1)[0]
            texts = (asked[0].text, asked[0].answer) if asked else None
        else:
            texts = ("", source.captions(split, one)[0][0])
        if texts is not None and texts[1]:
            shots.append(Shot(name(int(index)), source.images(split, one)[0], *texts))
        if len(shots) == count:
            break
    return shots


def _complete_each_once(
    sitting: Sitting, prompts: list[list[Part]], written: list[str], settings: TextSettings
) -> list[str]:
    """What the model goes on with; equal prompts without images, of which there are many, are asked once."""
    text_alone = all(isinstance(part, str) for parts in prompts for part in parts)
    same = written if text_alone else [str(row) for row in range(len(prompts))]
    first = {key: row for row, key in reversed(list(enumerate(same)))}
    rows = sorted(first.values())
    said = dict(zip(rows, sitting.model.complete([prompts[row] for row in rows], settings), strict=True))
    return [said[first[key]] for key in same]
