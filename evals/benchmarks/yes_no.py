"""Datasets that ask for a yes or a no: POPE (is it in the image?) and NLVR (is it true of the image?)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evals.benchmark import REAL
from evals.benchmarks.question_sets import QuestionSetAnswering
from evals.datasets.nlvr import NlvrClaims
from evals.datasets.pope import PopeQuestions
from evals.metrics import nlvr, pope
from evals.records import Record

_TRUE = frozenset({"true", "yes"})
_FALSE = frozenset({"false", "no"})


class Pope(QuestionSetAnswering):
    """Accuracy, and over the set ``precision``, ``recall``, ``f1`` of yes and ``yes_ratio``, 0-1.

    Whatever is not denied is affirmed (:func:`evals.metrics.pope.reads_as`), as in POPE's own code.
    """

    dataset = PopeQuestions
    default_split = "adversarial"
    protocol = pope.NAME

    def judge(self, record: Record) -> float:
        """Whether the answer reads as the label."""
        return float(pope.reads_as(self._clean(record.prediction)) == record.references[0])

    def summarise(self, records: Sequence[Record]) -> tuple[dict[str, float], dict[str, str]]:
        """Further shares of each control."""
        metrics, missing = super().summarise(records)
        for control in dict.fromkeys(record.control for record in records):
            rows = [record for record in records if record.control == control]
            at = f"@{control}" if control else ""
            said = [self._clean(row.prediction) for row in rows]
            totals, why = pope.totals(said, [row.references[0] for row in rows])
            for name in ("Precision", "Recall", "F1 score", "Yes ratio"):
                key = f"{self.name}/{name.lower().replace('f1 score', 'f1').replace(' ', '_')}{at}"
                if name in totals:
                    metrics[key] = totals[name]
                else:
                    missing[key] = why[name]
        return metrics, missing


class Nlvr(QuestionSetAnswering):
    """Accuracy, and ``consistency``: the share of sentences judged rightly of all images that they are asked about.

    Asked as a question, by default "Is it true that ...?"; yes and true count as true, no and false as false, by the
    first word, and anything else is wrong.

    Args:
        prompt: ``{question}`` stands for the sentence.
        further: see :class:`~evals.benchmarks.question_sets.QuestionSetAnswering`.
    """

    dataset = NlvrClaims
    default_split = "dev"
    protocol = nlvr.NAME

    def __init__(self, name: str, prompt: str = 'is it true that "{question}"?', **further: Any):
        super().__init__(name, prompt=prompt, **further)

    def judge(self, record: Record) -> float:
        """Whether the first word says what the label says."""
        return float(nlvr.is_right(_verdict(self._clean(record.prediction)), record.references[0]))

    def summarise(self, records: Sequence[Record]) -> tuple[dict[str, float], dict[str, str]]:
        """Consistency of the real answers, over the sentences whose images are all among them."""
        metrics, missing = super().summarise(records)
        real = [record for record in records if record.control == REAL]
        sentences = [nlvr.sentence_of(record.example_id.rpartition("-")[0]) for record in real]
        metrics[f"{self.name}/consistency"] = nlvr.consistency(sentences, [record.score == 1 for record in real])
        return metrics, missing


def _verdict(answer: str) -> str:
    """``true``, ``false``, or "" for neither."""
    word = (answer.lower().split() or [""])[0].strip('.,!"')
    return "true" if word in _TRUE else "false" if word in _FALSE else ""
