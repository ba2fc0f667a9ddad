"""VizWiz-VQA: questions of blind people, some of which cannot be answered, and whether a model can tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evals.benchmark import REAL, Batch
from evals.benchmarks.question_sets import TenAnswers
from evals.datasets.vizwiz import VizWizQuestions
from evals.errors import EvaluationError
from evals.metrics.answerability import answerability
from evals.records import Record
from evals.sitting import Sitting
from lavit.data.protocol import Question

UNANSWERABLE = "unanswerable"


class VizWiz(TenAnswers):
    """Accuracy by VizWiz's rule, also by answer type; ``answerability_ap`` and ``answerability_f1``, 0-1.

    A model says that a question cannot be answered by answering "unanswerable"; or, asked first whether it can be, by
    any answer with the letters "no" in it, as LaVIT's evaluation has it. The official average precision wants a
    confidence; a model that only says yes or no has two values of it.

    Args:
        ask_answerable: ask that first; where it cannot be answered, "unanswerable" is the answer.
        further: see :class:`~evals.benchmarks.question_sets.TenAnswers`.

    Raises:
        EvaluationError: examples in the prompt, which do not go with it.
    """

    dataset = VizWizQuestions
    own_rule = "vizwiz"

    def __init__(self, name: str, ask_answerable: bool = False, **further: Any):
        super().__init__(name, **further)
        self.ask_answerable = ask_answerable
        if ask_answerable and further.get("shots"):
            raise EvaluationError(
                f"suite.benchmarks.{name}: ask_answerable asks twice, examples in the prompt show one question.",
                "Set shots to 0, or ask_answerable to false.",
            )

    def answer(
        self, batch: Batch, sitting: Sitting, questions: Sequence[Question], texts: Sequence[str], row_Q: np.ndarray
    ) -> tuple[list[str], list[int | None]]:
        """Ask twice where that is wanted; each image is encoded once."""
        said, tokens = super().answer(batch, sitting, questions, texts, row_Q)
        if self.ask_answerable:
            first = [f'Is the question: "{question.text}" answerable?' for question in questions]
            first = [self.prompt.replace("{question}", text) or text for text in first]
            can, _ = super().answer(batch, sitting, questions, first, row_Q)
            said = [UNANSWERABLE if "no" in word.lower() else answer for word, answer in zip(can, said, strict=True)]
        return said, tokens

    def facts(self, question: Question) -> dict[str, float]:
        """Whether it can be answered."""
        return {**super().facts(question), "answerable": float(question.tags["answerable"])}

    def summarise(self, records: Sequence[Record]) -> tuple[dict[str, float], dict[str, str]]:
        """Means, and the score of telling which questions cannot be answered."""
        metrics, missing = super().summarise(records)
        real = [record for record in records if record.control == REAL]
        said = [float(self._clean(record.prediction).strip().lower() != UNANSWERABLE) for record in real]
        found, why = answerability([record.aux["answerable"] == 1 for record in real], said)
        names = {"average_precision": "answerability_ap", "f1_score": "answerability_f1"}
        metrics = {name: value for name, value in metrics.items() if "/answerable" not in name}  # a fact, no score
        metrics |= {f"{self.name}/{names[name]}": value for name, value in found.items()}
        return metrics, missing | {f"{self.name}/{names[name]}": reason for name, reason in why.items()}
