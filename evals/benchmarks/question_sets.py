"""Question answering on published datasets: what they have in common, and those that need no more than that."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from evals.benchmark import Benchmark
from evals.benchmarks.from_files import FromFiles
from evals.benchmarks.vqa import QuestionAnswering
from evals.datasets.textvqa import TextVqaQuestions
from evals.datasets.vqav2 import OkVqaQuestions, Vqav2Questions
from evals.errors import EvaluationError
from evals.metrics import vqa_protocols
from evals.records import Record
from lavit.data.protocol import Question


class QuestionSetAnswering(FromFiles, QuestionAnswering):
    """All questions of a dataset's split; images, not questions, make a batch.

    Args:
        split: by default :attr:`default_split`.
        further: see :class:`~evals.benchmarks.vqa.QuestionAnswering`.
    """

    default_split: ClassVar[str] = "val"

    def __init__(
        self, name: str, split: str | None = None, per_image: int | None = None, batch: int = 16, **further: Any
    ):
        super().__init__(name, split=split or self.default_split, per_image=per_image, batch=batch, **further)

    def _score(self, record: Record) -> Record:
        """With the score, it also fills every ``accuracy.<part>`` that the record says it belongs to."""
        score = self.judge(record)
        aux = {name: score if name.startswith("accuracy.") else value for name, value in record.aux.items()}
        return dataclasses.replace(record, score=score, aux=aux)


class TenAnswers(QuestionSetAnswering):
    """Questions that ten people answered, scored by one of the rules for them.

    Accuracy is the mean over questions, also by question type (``accuracy.<type>``) and by answer type
    (``accuracy.yes-no``, ``accuracy.number`` ...).

    Args:
        rule: one of :data:`evals.metrics.vqa_protocols.PROTOCOLS`; by default the dataset's own.
        further: see :class:`QuestionSetAnswering`.

    Raises:
        EvaluationError: there is no such rule.
    """

    own_rule: ClassVar[str] = "official"

    def __init__(self, name: str, rule: str | None = None, **further: Any):
        super().__init__(name, **further)
        self.rule = rule or self.own_rule
        if self.rule not in vqa_protocols.PROTOCOLS:
            raise EvaluationError(
                f"suite.benchmarks.{name}.rule: there is no {self.rule!r}.",
                f"Known: {', '.join(vqa_protocols.PROTOCOLS)}.",
            )

    def settings(self) -> dict[str, Any]:
        """The protocol is the rule and its version."""
        return {**super().settings(), "protocol": f"{vqa_protocols.NAME} {self.rule}"}

    def references(self, question: Question) -> tuple[str, ...]:
        """What each of the ten people said."""
        return question.answers

    def facts(self, question: Question) -> dict[str, float]:
        """A place for the accuracy of the answer's type; a slash parts benchmark and metric, so there is none."""
        kind = question.tags["answer_type"].replace("/", "-")
        return {f"accuracy.{kind}": 0.0} if kind else {}

    def judge(self, record: Record) -> float:
        """Accuracy under the rule."""
        return vqa_protocols.PROTOCOLS[self.rule](self._clean(record.prediction), record.references)

    def summarise(self, records: Sequence[Record]) -> tuple[dict[str, float], dict[str, str]]:
        """Means alone: there is no single right answer that a majority could be of."""
        return Benchmark.summarise(self, records)


class Vqav2(TenAnswers):
    """VQAv2 validation; test-dev is scored by its server alone."""

    dataset = Vqav2Questions


class OkVqa(TenAnswers):
    """OK-VQA validation."""

    dataset = OkVqaQuestions


class TextVqa(TenAnswers):
    """TextVQA validation; no text is read to the model, it has to read the image itself."""

    dataset = TextVqaQuestions
    own_rule = "evalai"
