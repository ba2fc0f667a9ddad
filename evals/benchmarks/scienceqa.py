"""ScienceQA: multiple choice, by what the model writes or by which option it finds likeliest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.benchmark import VISION_OFF, Batch
from evals.benchmarks.question_sets import QuestionSetAnswering
from evals.datasets.scienceqa import ScienceQaQuestions
from evals.errors import EvaluationError
from evals.metrics import scienceqa
from evals.records import Record
from evals.sitting import Sitting, count_tokens
from lavit.data.protocol import Examples, Question

if TYPE_CHECKING:
    from lavit.model.protocol import VisionLanguageModel

INSTRUCTION = "{question}\nAnswer with the option's letter from the given choices directly."


class ScienceQa(QuestionSetAnswering):
    """Accuracy, also by subject; ``no_option`` is the share of answers that name none.

    Args:
        choose: ``written``: the option that the model's answer means, by
            :func:`evals.metrics.scienceqa.option_of`; ``likeliest``: the option whose letter is the likeliest
            continuation of the prompt.
        prompt: see :class:`~evals.benchmarks.vqa.QuestionAnswering`; LLaVA's instruction by default.
        further: see :class:`~evals.benchmarks.question_sets.QuestionSetAnswering`.

    Raises:
        EvaluationError: another way to choose, or one that examples in the prompt do not go with.
    """

    dataset = ScienceQaQuestions
    default_split = "test"
    protocol = scienceqa.NAME

    def __init__(self, name: str, choose: str = "written", prompt: str = INSTRUCTION, **further: Any):
        super().__init__(name, prompt=prompt, **further)
        self.choose = choose
        if choose not in ("written", "likeliest"):
            raise EvaluationError(f"suite.benchmarks.{name}.choose is {choose!r}.", "It is written or likeliest.")
        if further.get("shots") and (choose == "likeliest" or self.split.endswith("_all")):
            raise EvaluationError(
                f"suite.benchmarks.{name}: examples in the prompt go with pictures and written answers alone.",
                "Set shots to 0, or split to test and choose to written.",
            )

    @property
    def pictured(self) -> bool:  # type: ignore[override]
        """Not where some problems have none."""
        return not self.split.endswith("_all")

    def obstacle(self, model: VisionLanguageModel, corpus: Examples) -> str | None:
        """Ranking options needs a model that tells likelihoods."""
        if self.choose == "likeliest" and not hasattr(model, "loglikelihood"):
            return "this model does not tell how likely a text is (choose: written asks it to write)"
        return super().obstacle(model, corpus)

    def answer(
        self, batch: Batch, sitting: Sitting, questions: Sequence[Question], texts: Sequence[str], row_Q: np.ndarray
    ) -> tuple[list[str], list[int | None]]:
        """Problems without a picture are asked without one; a shuffled one is asked with another's."""
        shown_Q = [batch.shown_B[row] for row in row_Q]
        corpus = sitting.corpus
        assert isinstance(corpus, ScienceQaQuestions)
        seen = [batch.control != VISION_OFF and corpus.image_path(int(index)) is not None for index in shown_Q]
        said = [""] * len(texts)
        tokens: list[int | None] = [None] * len(texts)
        for with_image in (True, False):
            places = [place for place, sees in enumerate(seen) if sees == with_image]
            if places:
                shown = np.array([shown_Q[place] for place in places]) if with_image else None
                options = [len(questions[place].tags) for place in places]
                answers, counts = self._say(sitting, shown, [texts[place] for place in places], options)
                for place, answer, count in zip(places, answers, counts, strict=True):
                    said[place], tokens[place] = answer, count
        return said, tokens

    def _say(
        self, sitting: Sitting, shown_Q: np.ndarray | None, texts: list[str], options: list[int]
    ) -> tuple[list[str], list[int | None]]:
        """Answers to texts about images, or about none."""
        visual = None if shown_Q is None else sitting.encode(self.split, shown_Q)
        tokens: list[int | None] = [None] * len(texts) if visual is None else count_tokens(visual)
        if self.choose == "written":
            return self.write(sitting, visual, texts), tokens
        images = None if shown_Q is None else sitting.corpus.images(self.split, shown_Q)
        prompts = [text if images is None else [images[row], text] for row, text in enumerate(texts)]
        rows = [(row, letter) for row, count in enumerate(options) for letter in scienceqa.LETTERS[:count]]
        told = sitting.model.loglikelihood(  # type: ignore[attr-defined]
            [prompts[row] for row, _ in rows], [f" {letter}" for _, letter in rows]
        )
        best: dict[int, tuple[float, str]] = {}
        for (row, letter), (value, _) in zip(rows, told, strict=True):
            if row not in best or value > best[row][0]:
                best[row] = (value, letter)
        return [best[row][1] for row in range(len(texts))], tokens

    def facts(self, question: Question) -> dict[str, float]:
        """How many options there are."""
        return {"options": float(len(question.tags)), "no_option": 0.0}

    def judge(self, record: Record) -> float:
        """Whether the answer means the right option."""
        return float(self._option(record) == scienceqa.LETTERS.index(record.references[0]))

    def _option(self, record: Record) -> int:
        options = int(record.aux.get("options", len(scienceqa.LETTERS)))
        return scienceqa.option_of(self._clean(record.prediction).strip(), options)

    def _score(self, record: Record) -> Record:
        lost = float(self._option(record) == scienceqa.FAILED)
        return super()._score(dataclasses.replace(record, aux={**record.aux, "no_option": lost}))

    def summarise(self, records: Sequence[Record]) -> tuple[dict[str, float], dict[str, str]]:
        """As every question answering, without the mean number of options, which is no score."""
        metrics, missing = super().summarise(records)
        return {name: value for name, value in metrics.items() if "/options" not in name}, missing
