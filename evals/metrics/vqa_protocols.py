"""VQA accuracy under the four rules that are in use for questions with ten human answers.

All but A-OKVQA's give, for a prediction that k of the *other* nine people gave too, min(1, k / 3), averaged over the
ten people left out in turn (Antol et al., VQA, ICCV 2015, and the challenge's evaluation code). They differ in what is
brought into one form before it is compared:

| protocol | prediction | the people's answers |
|---|---|---|
| ``official`` (VQAv2, OK-VQA) | normalised unless all ten answers are equal | the same |
| ``evalai`` (TextVQA; the EvalAI servers) | normalised always, ``'s`` a word of its own | the same |
| ``vizwiz`` | normalised always | left as they are |
| ``aokvqa`` (direct answer) | left as it is: min(1, k / 3) over all ten | left as they are |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

NAME = "vqa-accuracy-1"
"""Version of these rules; with the protocol's name it is part of an evaluation's fingerprint."""

ANSWERS = 10
"""People who answered each question; the rules mean nothing for another number."""

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_PERIOD = re.compile(r"\.(?!\d)")
_PERIODS = 32
"""Periods that are removed: the official code hands a regular-expression flag over as the count."""
_THOUSANDS = re.compile(r"\d,\d")
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = {"none": "0"} | {
    word: str(number)
    for number, word in enumerate("zero one two three four five six seven eight nine ten".split())  # noqa: SIM905
}
_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
    o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
    someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've
    there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
    what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
    wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
""".split()  # noqa: SIM905
MENDED = {
    word[:place] + word[place + 1 :]: word
    for word in _CONTRACTIONS
    for place, letter in enumerate(word)
    if letter == "'"
} | {"somebody'd": "somebodyd"}
"""A contraction short of one apostrophe → with it. The last entry is the official table's own slip."""
_STRAIGHT = frozenset("ain't aren't can't could've couldn't we've where's who've".split())  # noqa: SIM905
_MENDED_VIZWIZ = {
    (wrong if right in _STRAIGHT or wrong in ("couldn'tve", "hadn'tve") else wrong.replace("'", "’")): (
        right if right in _STRAIGHT else right.replace("'", "’")
    )
    for wrong, right in MENDED.items()
}
"""VizWiz's table was saved with typographic apostrophes nearly everywhere, so that "dont" becomes "don’t"."""


def strip_punctuation(text: str) -> str:
    """Each mark is deleted where it stands beside a blank anywhere in ``text``, else becomes a blank.

    A number with a comma in it ("1,000") makes all marks be deleted. Periods go unless a digit follows.
    """
    number = _THOUSANDS.search(text) is not None
    result = text
    for mark in set(_PUNCTUATION) & set(text):
        beside_blank = f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if number or beside_blank else " ")
    return _PERIOD.sub("", result, count=_PERIODS)


def normalise_words(text: str, mended: Mapping[str, str] = MENDED) -> str:
    """Lower case, number words as digits, no articles, apostrophes put back by ``mended``, single blanks."""
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(mended.get(word, word) for word in words if word not in _ARTICLES)


def one_line(text: str) -> str:
    """Line ends and tabs as blanks, none at the ends."""
    return text.replace("\n", " ").replace("\t", " ").strip()


@lru_cache(maxsize=1 << 16)
def normalise_official(text: str) -> str:
    """The normal form of the VQA challenge."""
    return normalise_words(strip_punctuation(one_line(text)))


@lru_cache(maxsize=1 << 16)
def normalise_evalai(text: str) -> str:
    """The normal form of the EvalAI servers: commas and question marks go, ``'s`` is split off, then as ever."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return normalise_official(text)


@lru_cache(maxsize=1 << 16)
def normalise_vizwiz(text: str) -> str:
    """The normal form of the VizWiz challenge: the official one with VizWiz's own table of contractions."""
    return normalise_words(strip_punctuation(one_line(text)), _MENDED_VIZWIZ)


def leave_one_out(prediction: str, answers: Sequence[str]) -> float:
    """The mean, over leaving each person out in turn, of min(1, matches among the others / 3): 0 to 1.

    Args:
        prediction: in the form in which it is compared.
        answers: the people's, likewise.
    """
    same = [answer == prediction for answer in answers]
    matches = sum(same)
    return sum(min(1.0, (matches - own) / 3) for own in same) / len(same)


def official(prediction: str, answers: Sequence[str]) -> float:
    """Accuracy 0-1 by the VQA challenge's code; unanimous answers are compared as they stand."""
    answers, prediction = [one_line(answer) for answer in answers], one_line(prediction)
    if len(set(answers)) > 1:
        answers, prediction = [normalise_official(answer) for answer in answers], normalise_official(prediction)
    return leave_one_out(prediction, answers)


def evalai(prediction: str, answers: Sequence[str]) -> float:
    """Accuracy 0-1 by the TextVQA evaluator (M4C) and the EvalAI servers."""
    return leave_one_out(normalise_evalai(prediction), [normalise_evalai(answer) for answer in answers])


def vizwiz(prediction: str, answers: Sequence[str]) -> float:
    """Accuracy 0-1 by the VizWiz challenge's code: the people's answers are not normalised."""
    return leave_one_out(normalise_vizwiz(prediction), answers)


def aokvqa(prediction: str, answers: Sequence[str]) -> float:
    """Direct-answer accuracy 0-1 of A-OKVQA: nothing is normalised, nobody left out."""
    return min(1.0, sum(answer == prediction for answer in answers) / 3)


PROTOCOLS: dict[str, Callable[[str, Sequence[str]], float]] = {
    "official": official,
    "evalai": evalai,
    "vizwiz": vizwiz,
    "aokvqa": aokvqa,
}
"""Name → rule (prediction, ten answers) → accuracy 0-1."""
