"""VQA accuracy by the rules that LaVIT's published numbers were computed with.

Ten people answered each question, and an answer counts in full when three of the others gave it (Antol et al. 2015,
and the answer normalisation of the VQA benchmark). To that LaVIT adds a chain of prefixes that it drops from its own
answers. Oddities are kept where they change scores, and named where they are: only the same rules give comparable
numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lavit.errors import LavitError

NAME = "lavit-vqa"
UNANSWERABLE = "unanswerable"

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_NUMBER_WITH_COMMA = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
_FULL_STOPS_REMOVED = 32  # the official code hands a regex flag of this value over as the number of replacements

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORDS = {word: str(number) for number, word in enumerate(_NUMBERS)} | {"none": "0", "nope": "no"}
_ARTICLES = {"a", "an", "the"}

# Known by being written without an apostrophe, save where that is another word (she'd, we'll, it's).
_ONE_APOSTROPHE = """
    ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't
    it'd it'll ma'am might've mightn't must've mustn't needn't not've o'clock oughtn't shan't should've shouldn't
    somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd there're there's
    they'd they'll they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's
    where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
"""
_TWO_APOSTROPHES = """
    couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've something'd've
    there'd've they'd've we'd've who'd've wouldn't've y'all'll you'd've
"""


def _contractions() -> dict[str, str]:
    known = {full.replace("'", ""): full for full in _ONE_APOSTROPHE.split()}
    for full in _TWO_APOSTROPHES.split():
        first, second, third = full.split("'")
        known[f"{first}{second}'{third}"] = known[f"{first}'{second}{third}"] = full
    return known


_CONTRACTIONS = _contractions()

_PREFIXES = (
    *("it's ", "it 's ", "it is ", "that's ", "that 's ", "that is ", "this is "),
    *("he's ", "he 's ", "he is ", "she's ", "she 's ", "she is ", "they're ", "they 're ", "they are "),
    *("very ", "for ", "to ", "in ", "on ", "at ", "a ", "an ", "the "),
)
_NO_ANSWER = ("i don't know", "i do n't know")


def strip_punctuation(answer: str) -> str:
    """Stage 1: lower case, one line, marks out. The only stage that the human answers go through.

    A mark vanishes where a blank stands on either side of it somewhere in the answer, or where the answer holds a
    number with a comma; else it becomes a blank. Full stops vanish unless a digit follows. Apostrophes, colons stay.
    """
    whole = answer.replace("\n", " ").replace("\t", " ").strip().lower()
    text = whole
    number = _NUMBER_WITH_COMMA.search(whole) is not None
    for mark in _MARKS:
        vanishes = number or f"{mark} " in whole or f" {mark}" in whole
        text = text.replace(mark, "" if vanishes else " ")
    return _FULL_STOP.sub("", text, count=_FULL_STOPS_REMOVED)


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
    said = normalise_prediction(prediction)
    matches = [strip_punctuation(answer) == said for answer in answers]
    total = sum(matches)
    return sum(min(1.0, (total - own) / 3) for own in matches) / len(matches)


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
