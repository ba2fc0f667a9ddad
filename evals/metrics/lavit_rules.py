"""VQA accuracy by the rules that LaVIT's published numbers were computed with.

Ten people answered each question, and an answer counts in full when three of the others gave it (Antol et al. 2015,
and the answer normalisation of the VQA benchmark). To that LaVIT adds a chain of prefixes that it drops from its own
answers. Oddities are kept where they change scores, and named where they are: only the same rules give comparable
numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.metrics import vqa_protocols
from evals.metrics.vqa_protocols import MENDED, leave_one_out, one_line
from lavit.errors import LavitError

NAME = "lavit-vqa"
UNANSWERABLE = "unanswerable"

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORDS = {word: str(number) for number, word in enumerate(_NUMBERS)} | {"none": "0", "nope": "no"}
_ARTICLES = {"a", "an", "the"}

_CONTRACTIONS = {  # these three are not on record for LaVIT's table
    wrong: right for wrong, right in MENDED.items() if right not in ("'ow's'at", "y'all'd've", "somebodyd")
}

_PREFIXES = (
    *("it's ", "it 's ", "it is ", "that's ", "that 's ", "that is ", "this is "),
    *("he's ", "he 's ", "he is ", "she's ", "she 's ", "she is ", "they're ", "they 're ", "they are "),
    *("very ", "for ", "to ", "in ", "on ", "at ", "a ", "an ", "the "),
)
_NO_ANSWER = ("i don't know", "i do n't know")


def strip_punctuation(answer: str) -> str:
    """Stage 1: lower case, one line, marks out. The only stage that the human answers go through.

    Marks go by the benchmark's own rule (:func:`evals.metrics.vqa_protocols.strip_punctuation`).
    """
    return vqa_protocols.strip_punctuation(one_line(answer).lower())


def simplify_words(answer: str) -> str:
    """Stage 2: numbers up to ten as digits, no articles, apostrophes of contractions restored, single blanks."""
    words = [_WORDS.get(word, word) for word in answer.lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def drop_prefixes(answer: str) -> str:
    """Stage 3, LaVIT's own: what an answer begins with is dropped, and an answer of nothing is ``unanswerable``.

    Of an answer that begins with a prefix, only what follows the prefix's *last* occurrence is left ("he is he is"
    gives "he is"). The chain holds the prefixes that are on record for the official code ("it's", "she 's", "that
    is" ...) and the same pronouns' other spellings.
    """
    for prefix in _PREFIXES:
        if answer.startswith(prefix):
            answer = answer.rsplit(prefix, 1)[-1]
    return UNANSWERABLE if not answer or answer.startswith(_NO_ANSWER) else answer


def normalise_prediction(answer: str) -> str:
    """All three stages, in order."""
    return drop_prefixes(simplify_words(strip_punctuation(answer)))


def question_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Accuracy (0 to 1) of one answer: the mean, over leaving each person out, of min(1, matches among the rest / 3).

    Args:
        prediction: as generated, truncated and lemmatised (:mod:`lavit.official.text`).
        answers: what people answered (ten in VQAv2).
    """
    if not answers:
        raise LavitError("a question without human answers cannot be scored")
    return leave_one_out(normalise_prediction(prediction), [strip_punctuation(answer) for answer in answers])


@dataclass(frozen=True)
class VqaAccuracy:
    """Accuracies in percent, rounded to two places as they are published.

    Attributes:
        per_question: by question id.
        overall: mean over the questions (of the unrounded accuracies).
    """

    per_question: dict[str, float]
    overall: float


def vqa_accuracy(predictions: Mapping[str, str], answers: Mapping[str, Sequence[str]]) -> VqaAccuracy:
    """Accuracy of a set of questions.

    Raises:
        LavitError: the two maps are not about the same questions, or there are none.
    """
    if strange := sorted(map(str, predictions.keys() ^ answers.keys())):
        raise LavitError(
            f"{len(strange)} questions have only a prediction or only human answers, the first: {strange[0]}",
            "score exactly the questions that were asked",
        )
    if not predictions:
        raise LavitError("there are no questions to score")
    scores = {key: question_accuracy(predictions[key], answers[key]) for key in predictions}
    return VqaAccuracy(
        {key: round(100 * score, 2) for key, score in scores.items()},
        round(100 * sum(scores.values()) / len(scores), 2),
    )
