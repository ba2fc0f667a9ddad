"""Exact-answer accuracy of visual question answering, and the floors beside which it must be read.

This is the plain protocol of data with one right answer (or several that are equally right). The protocols of
the benchmarks with ten human answers (VQAv2, VizWiz ...) are others: they weigh answers by how many people
gave them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

NAME = "exact-1"
"""The protocol that an evaluation reports: normalise as :func:`normalise_answer`, then compare for
equality."""

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = re.compile(r"[^\w\s&+/'-]")


def normalise_answer(answer: str) -> str:
    """Lower case, no punctuation, no articles, single blanks; an answer that is only an article stays."""
    text = _PUNCTUATION.sub(" ", answer.lower())
    return " ".join(_ARTICLE.sub(" ", text).split()) or " ".join(text.split())


def is_right(prediction: str, answers: Iterable[str]) -> bool:
    """Whether the prediction equals one of the accepted answers after normalisation."""
    return normalise_answer(prediction) in {normalise_answer(answer) for answer in answers}


def majority_accuracy(kinds: Sequence[str], answers: Sequence[str]) -> float:
    """Accuracy of one who knows, for each kind of question, the answer most frequent in this very set.

    A model that ignores both image and question text, and knows only the kind, cannot do better.
    """
    per_kind: dict[str, Counter[str]] = {}
    for kind, answer in zip(kinds, answers, strict=True):
        per_kind.setdefault(kind, Counter())[normalise_answer(answer)] += 1
    return sum(max(counter.values()) for counter in per_kind.values()) / max(len(answers), 1)


def balanced_accuracy(scores: Sequence[float], answers: Sequence[str]) -> float:
    """Mean over the distinct right answers of the accuracy among their questions (macro recall).

    On yes/no questions with many more "no" than "yes" a constant answer gets 0.5 here, whatever the shares.
    """
    by_answer: dict[str, list[float]] = {}
    for score, answer in zip(scores, answers, strict=True):
        by_answer.setdefault(normalise_answer(answer), []).append(score)
    return sum(sum(group) / len(group) for group in by_answer.values()) / len(by_answer)
