"""GQA: compositional questions, right if answered letter by letter."""

from __future__ import annotations

from evals.benchmarks.question_sets import QuestionSetAnswering
from evals.datasets.gqa import GqaQuestions
from evals.metrics import gqa
from evals.records import Record
from lavit.data.protocol import Question


class Gqa(QuestionSetAnswering):
    """Accuracy, also of ``accuracy.binary`` and ``accuracy.open`` questions and by structural type.

    GQA's rule is equality, and its answers are in lower case: answers are compared after case, blanks at the ends and
    a final period are gone. Its further measures need files that only some splits have: ``lavit score gqa``.
    """

    dataset = GqaQuestions
    default_split = "testdev_balanced"
    protocol = f"{gqa.NAME} plain-1"

    def facts(self, question: Question) -> dict[str, float]:
        """A place for the accuracy of its type."""
        return {f"accuracy.{'open' if question.kind == 'query' else 'binary'}": 0.0}

    def judge(self, record: Record) -> float:
        """Whether the answer is the one given."""
        return float(said_plainly(self._clean(record.prediction)) == record.references[0])


def said_plainly(answer: str) -> str:
    """Lower case, without blanks at the ends and a final period."""
    return answer.strip().lower().removesuffix(".").rstrip()
