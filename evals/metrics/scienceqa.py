"""ScienceQA: which option a free answer means (the rule that LLaVA's published numbers were made by)."""

from __future__ import annotations

import re

NAME = "scienceqa-1"
"""Version of these rules, part of an evaluation's fingerprint."""

LETTERS = "ABCDE"
FAILED = -1
"""No option: always wrong."""

_STATED = re.compile(r"The answer is ([A-Z])[^\n]")


def option_of(text: str, options: int = len(LETTERS)) -> int:
    """Number of the option that ``text`` names, or :data:`FAILED`.

    A single letter; or a letter, a period and a blank at the start; or a single "The answer is X" anywhere, with one
    further character behind the letter (the official pattern's period stands for any).

    Args:
        text: what the model said.
        options: how many the question has; a letter beyond them is no option.
    """
    stated = _STATED.findall(text)
    if text in tuple(LETTERS):
        letter = text
    elif text[:1] in tuple(LETTERS) and text[1:3] == ". ":
        letter = text[0]
    elif len(stated) == 1:
        letter = stated[0]
    else:
        return FAILED
    return LETTERS.index(letter) if letter in LETTERS[:options] else FAILED
