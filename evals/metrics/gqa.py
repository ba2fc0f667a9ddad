"""GQA's measures: accuracy, and whether answers are consistent, valid, plausible and distributed as they should be.

Rules of the dataset's own evaluation (Hudson & Manning, GQA, CVPR 2019, section 4.4): only balanced questions count;
an answer is right if it equals the one given, letter by letter.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

NAME = "gqa-1"
"""Version of these rules, part of an evaluation's fingerprint."""

_COMMON = ("color", "material", "shape")
_NO_STEP = ("exist", "query: name", "choose name")
BY = {
    "accuracyPerStructuralType": "structural",
    "accuracyPerSemanticType": "semantic",
    "accuracyPerLength": "length",
    "accuracyPerSteps": "steps",
}
"""Official name of a break-down → the property of a question that it is by."""


@dataclass(frozen=True)
class GqaQuestion:
    """What the rules need of a question.

    Attributes:
        answer: the right one.
        balanced: whether it counts.
        structural, semantic, detailed: its three types.
        group: the pool of questions whose answers are compared in distribution; None: in no pool.
        words: number of words.
        steps: number of reasoning steps, see :func:`count_steps`.
        entailed: ids of questions whose answers follow from this one's.
    """

    answer: str
    balanced: bool
    structural: str
    semantic: str
    detailed: str
    group: str | None
    words: int
    steps: int
    entailed: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """``open`` for a query, else ``binary`` (yes or no, or one of two that the question names)."""
        return "open" if self.structural == "query" else "binary"

    @property
    def properties(self) -> dict[str, str]:
        """What :data:`BY` breaks down by."""
        return {
            "structural": self.structural,
            "semantic": self.semantic,
            "length": str(self.words),
            "steps": str(self.steps),
        }


def count_steps(operations: Iterable[tuple[str, str]]) -> int:
    """Steps of a functional program of (operation, argument), without those that only read the result out."""
    texts = [f"{operation}: {argument}" for operation, argument in operations]
    return sum(not any(end in text for end in _NO_STEP) for text in texts)


def among(question: GqaQuestion, prediction: str, choices: Sequence[str]) -> bool:
    """Whether an answer is one of ``choices`` (valid or plausible ones); "what do both have in common" has its own."""
    return prediction in (_COMMON if "Common" in question.detailed else choices)


def accuracies(questions: Mapping[str, GqaQuestion], predictions: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Percent right, by each entry of :data:`BY`; and ``""``: over all and for ``binary`` and ``open`` alone."""
    right: dict[str, dict[str, list[bool]]] = {name: defaultdict(list) for name in ("", *BY)}
    for identity, question in questions.items():
        if question.balanced:
            hit = predictions[identity] == question.answer
            right[""]["accuracy"].append(hit)
            right[""][question.kind].append(hit)
            for name, by in BY.items():
                right[name][question.properties[by]].append(hit)
    return {name: {key: percent(hits) for key, hits in groups.items()} for name, groups in right.items()}


def consistency(questions: Mapping[str, GqaQuestion], predictions: Mapping[str, str]) -> float | None:
    """Percent right of the questions that a right answer entails, each right answer weighing the same.

    Returns:
        None where no right answer entails anything.

    Raises:
        KeyError: an entailed question is not among ``questions``.
    """
    shares = []
    for identity, question in questions.items():
        others = [other for other in question.entailed if other != identity]
        if question.balanced and others and predictions[identity] == question.answer:
            shares.append(sum(predictions[other] == questions[other].answer for other in others) / len(others))
    return 100 * sum(shares) / len(shares) if shares else None


def distribution(questions: Mapping[str, GqaQuestion], predictions: Mapping[str, str]) -> float | None:
    """Distance of predicted from right answers within each group of questions; 0 is best.

    Chi-square over the right answers of a group, averaged over groups by size, divided by 100.

    Returns:
        None where no balanced question is in a group.
    """
    gold: dict[str, Counter[str]] = defaultdict(Counter)
    said: dict[str, Counter[str]] = defaultdict(Counter)
    for identity, question in questions.items():
        if question.balanced and question.group is not None:
            gold[question.group][question.answer] += 1
            said[question.group][predictions[identity]] += 1
    total, size = 0.0, 0
    for group, expected in gold.items():
        score = sum((said[group][answer] - count) ** 2 / count for answer, count in expected.items())
        total += score * expected.total()
        size += expected.total()
    return total / size / 100 if size else None


def percent(hits: Sequence[bool]) -> float:
    """Share of true ones in percent."""
    return 100 * (sum(hits) / len(hits))
