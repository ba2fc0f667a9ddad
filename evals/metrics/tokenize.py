"""Penn-Treebank words of a caption, without Java: what the official caption scorers see after PTBTokenizer.

The official evaluation of captions runs Stanford's PTBTokenizer (lower-cased) and then drops a list of
punctuation tokens; that list is repeated here from pycocoevalcap, so that only the tokenizer itself is ours.
On captions the two agree word for word; they part on rarities such as web addresses and emoticons, which is
why the result of an evaluation says which of the two was used (:data:`NAME`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

NAME = "ptb-python-1"
"""Which tokenizer made the words; part of the protocol that an evaluation reports."""

# pycocoevalcap/tokenizer/ptbtokenizer.py. The brackets stand there in capitals although the text is
# lower-cased first, so the official evaluation keeps "-lrb-" as a word; we keep it too.
PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])

_SPELLED = {
    "(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-",
    '"': "``", "“": "``", "”": "''", "‘": "`",
}  # fmt: skip

_ABBREVIATIONS = (
    "mr|mrs|ms|dr|prof|sr|jr|st|ave|blvd|rd|mt|ft|gen|col|sgt|capt|lt|gov|sen|rep|rev|hon|inc|ltd|co|corp|vs|etc|"
    "jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|no|dept|est|bros"
)

# Tried in this order at every position; what no pattern takes is a token of its own.
_TOKEN = re.compile(
    rf"""
      (?P<ellipsis>\.\.+|…)
    | (?P<dashes>--+|[–—])
    | (?P<number>[-+]?\d+(?:[,.:/]\d+)*(?:st|nd|rd|th|s)?(?:-[^\W_]+)*(?!\w))
    | (?P<acronym>(?:[a-z]\.){{2,}})
    | (?P<abbreviation>\b(?:{_ABBREVIATIONS})\.(?=\s+\S))
    | (?P<clitic>['’](?:s|m|d|re|ve|ll|em|til|tis|twas)\b)
    | (?P<negation>n['’]t\b)
    | (?P<and>['’]n['’])
    | (?P<shout>[!?]{{2,}})
    | (?P<decade>['’]\d\ds?\b)
    | (?P<word>[^\W_]+(?:(?:[-_/.@&+]|['’](?!(?:s|m|d|re|ve|ll)\b))[^\W_]+)*)
    | (?P<other>\S)
    """,
    re.VERBOSE,
)

_NEGATED = re.compile(r"\b([^\W\d_]+)(n['’]t)\b")
_FUSED = {
    "cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na",
    "gimme": "gim me", "lemme": "lem me",
}  # fmt: skip
_FUSED_WORD = re.compile(r"\b(" + "|".join(_FUSED) + r")\b")


_LINE_BREAK = re.compile("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def one_line(text: str) -> str:
    """``text`` with a blank for each line break of any kind, and "?" for half a surrogate pair, which no file can hold.

    Both tokenizers see captions like this; the official scorer does so for a plain line feed only, and gets out of step
    at the others.
    """
    return _LINE_BREAK.sub(" ", text).encode("utf-8", "replace").decode("utf-8")


def split_words(text: str) -> list[str]:
    """Lower-case ``text`` and split it into Treebank tokens, punctuation still in.

    Any whitespace, a line break included, separates; ``don't`` becomes ``do n't``, ``it's`` becomes ``it
    's``, hyphenated words stay whole, brackets become ``-lrb-`` and ``-rrb-``.
    """
    text = _FUSED_WORD.sub(lambda match: _FUSED[match[1]], text.lower())
    text = _NEGATED.sub(r"\1 \2", text)
    return [_write(match[0]) for match in _TOKEN.finditer(text)]


def _write(token: str) -> str:
    """Spell a token as PTBTokenizer does: plain quotes, ASCII dashes and ellipses, named brackets."""
    if re.fullmatch(r"\.\.+|…", token):
        return "..."
    if re.fullmatch(r"--+|[–—]", token):
        return "--"
    if token in _SPELLED:
        return _SPELLED[token]
    return token.replace("’", "'")


def tokenize(text: str) -> str:
    """Return the words that count for a caption score, joined by single blanks; "" where none is left."""
    return " ".join(word for word in split_words(text) if word not in PUNCTUATION)


def tokenize_all(texts: Sequence[str]) -> list[str]:
    """:func:`tokenize` of each text; the same text is split only once."""
    known = {text: tokenize(text) for text in dict.fromkeys(texts)}
    return [known[text] for text in texts]
