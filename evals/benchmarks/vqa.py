"""Visual question answering: exact answers, per kind of question, beside the floors that need no image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from evals.benchmark import REAL, SHUFFLED, TEXT_PRIOR, VISION_OFF, Answers, Batch
from evals.errors import EvaluationError
from evals.metrics import vqa
from evals.prior import guess_answers, prior_records
from evals.records import Record
from evals.shots import FewShot
from evals.sitting import Sitting, count_tokens
from lavit.build import locate
from lavit.data.protocol import Question
from lavit.model.text_settings import GREEDY_ANSWER, TextSettings

PLACE = "{question}"
"""Where the question stands in a prompt."""


class QuestionAnswering(FewShot):
    """Several questions an image, answered freely, right if the normalised answer is one of the accepted
    ones.

    Accuracy is the mean over questions, also given per kind. Beside it stand ``balanced.<kind>`` (mean over
    the right answers of the accuracy among their questions) and ``majority`` with ``majority.<kind>`` (the
    accuracy of the most frequent answer to each kind, in this very set). The control ``text_prior`` answers with what
    is most often right of the same question about the other images.

    Args:
        per_image: questions an image; the corpus may have fewer. None: all of them.
        prompt: what the model is asked, with ``{question}`` where the question stands; "": the question alone.
        decode: how answers are written (:class:`lavit.model.text_settings.TextSettings`); the model's own way where
            None.
        postprocess: dotted path of a function from what was written to what is scored; records keep the former.
        further: see :class:`~evals.shots.FewShot` (examples in the prompt) and :class:`~evals.benchmark.Benchmark`;
            counts are counts of images.

    Raises:
        EvaluationError: a prompt without ``{question}``, or no function at ``postprocess``.
    """

    metric = "accuracy"
    asks_questions = True
    known_controls = (VISION_OFF, SHUFFLED, TEXT_PRIOR)
    derived_controls = (TEXT_PRIOR,)
    own_decode = GREEDY_ANSWER
    protocol = vqa.NAME

    def __init__(
        self,
        name: str,
        per_image: int | None = 6,
        *,
        prompt: str = "",
        decode: Mapping[str, Any] | None = None,
        postprocess: str | None = None,
        **further: Any,
    ):
        super().__init__(name, **further)
        where = f"suite.benchmarks.{name}"
        if prompt and PLACE not in prompt:
            raise EvaluationError(f"{where}.prompt is {prompt!r}: the question stands nowhere.", f"Write {PLACE}.")
        if self.shots and prompt:
            raise EvaluationError(f"{where} has both shots and a prompt.", "Write the prompt into shots_template.")
        self.per_image, self.prompt, self.postprocess = per_image, prompt, postprocess
        self.decode = None if decode is None else TextSettings.of(decode, GREEDY_ANSWER)
        self._clean: Callable[[str], str] = locate(postprocess) if postprocess else str
        if not callable(self._clean):
            raise EvaluationError(f"{where}.postprocess: {postprocess} is no function.", "Name one of text to text.")

    def settings(self) -> dict[str, Any]:
        """Everything that a result depends on; what is left to the model is not among it."""
        found = super().settings()
        found["decode"] = None if self.decode is None else dataclasses.asdict(self.decode)
        return {name: v for name, v in found.items() if v or name not in ("prompt", "decode", "postprocess")}

    def ask(self, batch: Batch, sitting: Sitting) -> Answers:
        """Answer all questions about the images of one batch."""
        questions = sitting.corpus.questions(self.split, batch.asked_B, self.per_image)  # type: ignore[arg-type]
        row_Q = np.repeat(np.arange(len(questions)), [len(group) for group in questions])
        flat = [question for group in questions for question in group]
        texts = [self.prompt.replace(PLACE, question.text) or question.text for question in flat]
        if self.shots and flat:
            settings = self.decode or GREEDY_ANSWER
            answers, texts = self.answer_after_shots(batch, sitting, settings, texts, row_Q)
            tokens: list[int | None] = [None] * len(answers)
        else:
            answers, tokens = self.answer(batch, sitting, flat, texts, row_Q)
        records = [
            Record(
                benchmark=self.name,
                metric=self.metric,
                control=batch.control,
                split=self.split,
                example_id=question.id,
                cluster_id=self.image_id(batch.asked_B[row]),
                kind=question.kind,
                prompt=text,
                prediction=answer,
                references=self.references(question),
                aux=self.facts(question),
                tokens=count,
                order=int(batch.order_B[row]),
            )
            for row, question, text, answer, count in zip(row_Q, flat, texts, answers, tokens, strict=True)
        ]
        return Answers([self._score(record) for record in records])

    def answer(
        self, batch: Batch, sitting: Sitting, questions: Sequence[Question], texts: Sequence[str], row_Q: np.ndarray
    ) -> tuple[list[str], list[int | None]]:
        """What the model says to each text about image ``row_Q`` of the batch, and the visual tokens of that image.

        Each image is encoded once, whatever the number of its questions.
        """
        if not texts:
            return [], []
        if batch.control == VISION_OFF:
            # Without an image, equal questions are the same question: each is asked once.
            distinct = list(dict.fromkeys(texts))
            said = dict(zip(distinct, self.write(sitting, None, distinct), strict=True))
            return [said[text] for text in texts], [None] * len(texts)
        visual = sitting.encode(self.split, batch.shown_B)
        counts = count_tokens(visual)
        return self.write(sitting, visual[row_Q], list(texts)), [counts[row] for row in row_Q]

    def write(self, sitting: Sitting, visual: Any, texts: list[str]) -> list[str]:
        """One answer a text, written as ``decode`` says."""
        model = sitting.model
        return model.answer(visual, texts) if self.decode is None else model.answer(visual, texts, self.decode)

    def references(self, question: Question) -> tuple[str, ...]:
        """What is right: every accepted answer once, the one to learn first."""
        return tuple(dict.fromkeys([question.answer, *question.answers]))

    def facts(self, question: Question) -> dict[str, float]:
        """Numbers about a question that its record is to hold."""
        return {}

    def judge(self, record: Record) -> float:
        """Score of a record 0-1, from prediction, references and aux alone."""
        return float(vqa.is_right(self._clean(record.prediction), record.references))

    def _score(self, record: Record) -> Record:
        return record.scored(self.judge(record))

    def finish(self, records: list[Record]) -> list[Record]:
        """Add the text prior."""
        prior = prior_records(records, self.controls[TEXT_PRIOR], guess_answers)
        return records + [self._score(record) for record in prior]

    def rescore(self, records: list[Record]) -> list[Record]:
        """Compare every answer with its references again, and make the text prior again."""
        return self.finish([self._score(r) for r in records if r.control not in self.derived_controls])

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
