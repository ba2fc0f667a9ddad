"""Visual question answering: exact answers, per kind of question, beside the floors that need no image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evals.benchmark import REAL, SHUFFLED, VISION_OFF, Answers, Batch, Benchmark
from evals.metrics import vqa
from evals.records import Record
from evals.sitting import Sitting, count_tokens


class QuestionAnswering(Benchmark):
    """Several questions an image, answered freely, right if the normalised answer is one of the accepted
    ones.

    Accuracy is the mean over questions, also given per kind. Beside it stand ``balanced.<kind>`` (mean over
    the right answers of the accuracy among their questions) and ``majority`` with ``majority.<kind>`` (the
    accuracy of the most frequent answer to each kind, in this very set).

    Args:
        per_image: questions an image; the corpus may have fewer.
        further: see :class:`~evals.benchmark.Benchmark`; counts are counts of images.
    """

    metric = "accuracy"
    known_controls = (VISION_OFF, SHUFFLED)
    protocol = vqa.NAME

    def __init__(self, name: str, per_image: int = 6, **further: Any):
        super().__init__(name, **further)
        self.per_image = per_image

    def ask(self, batch: Batch, sitting: Sitting) -> Answers:
        """Answer all questions about the images of one batch."""
        questions = sitting.corpus.questions(self.split, batch.asked_B, self.per_image)
        row_Q = np.repeat(np.arange(len(questions)), [len(group) for group in questions])
        flat = [question for group in questions for question in group]
        texts = [question.text for question in flat]
        tokens: list[int | None] = [None] * len(flat)
        if not flat:
            answers: list[str] = []
        elif batch.control == VISION_OFF:
            # Without an image, equal questions are the same question: each is asked once.
            distinct = list(dict.fromkeys(texts))
            said = dict(zip(distinct, sitting.model.answer(None, distinct), strict=True))
            answers = [said[text] for text in texts]
        else:
            visual = sitting.encode(self.split, batch.shown_B)
            answers = sitting.model.answer(visual[row_Q], texts)
            counts = count_tokens(visual)
            tokens = [counts[row] for row in row_Q]
        records = [
            Record(
                benchmark=self.name,
                metric=self.metric,
                control=batch.control,
                split=self.split,
                example_id=question.id,
                cluster_id=self.image_id(batch.asked_B[row]),
                kind=question.kind,
                prompt=question.text,
                prediction=answer,
                references=tuple(dict.fromkeys([question.answer, *question.answers])),
                score=float(vqa.is_right(answer, [question.answer, *question.answers])),
                tokens=count,
                order=int(batch.order_B[row]),
            )
            for row, question, answer, count in zip(row_Q, flat, answers, tokens, strict=True)
        ]
        return Answers(records)

    def summarise(self, records: Sequence[Record]) -> tuple[dict[str, float], dict[str, str]]:
        """Accuracy overall and per kind, balanced accuracy per kind, and the majority floors."""
        metrics, missing = super().summarise(records)
        real = [record for record in records if record.control == REAL]
        metrics[f"{self.name}/majority"] = _majority(real)
        for kind in sorted({record.kind for record in real} - {""}):
            rows = [record for record in real if record.kind == kind]
            metrics[f"{self.name}/majority.{kind}"] = _majority(rows)
            metrics[f"{self.name}/balanced.{kind}"] = vqa.balanced_accuracy(
                [row.score for row in rows], [row.references[0] for row in rows]
            )
        return metrics, missing


def _majority(records: Sequence[Record]) -> float:
    return vqa.majority_accuracy([record.kind for record in records], [record.references[0] for record in records])
