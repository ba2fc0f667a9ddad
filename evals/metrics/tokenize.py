"""Penn-Treebank words of a caption, without Java: what the official caption scorers see after PTBTokenizer.

The official evaluation of captions runs Stanford's PTBTokenizer (lower-cased) and then drops a list of
punctuation tokens; that list is repeated here from pycocoevalcap, so that only the tokenizer itself is ours
(:mod:`evals.metrics.treebank`). On captions the two agree word for word, on other English prose in all but rarities,
which is why the result of an evaluation says which of the two was used (:data:`NAME`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from evals.metrics.treebank import split

NAME = "ptb-python-2"
"""Which tokenizer made the words; part of the protocol that an evaluation reports."""

# pycocoevalcap/tokenizer/ptbtokenizer.py. The brackets stand there in capitals although the text is
# lower-cased first, so the official evaluation keeps "-lrb-" as a word; we keep it too.
PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])

_OPEN_END = re.compile(r"(?<!\w)[A-Za-z]\.(?:\s+\S+)?\s*$")
_LINE_BREAK = re.compile("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def one_line(text: str) -> str:
    """``text`` with a blank for each line break of any kind, and "?" for half a surrogate pair, which no file can hold.

    Both tokenizers see captions like this; the official scorer does so for a plain line feed only, and gets out of step
    at the others.
    """
    return _LINE_BREAK.sub(" ", text).encode("utf-8", "replace").decode("utf-8")


def split_words(text: str, following: str = "") -> list[str]:
    """Lower-case ``text`` and split it into Treebank tokens, punctuation still in.

    Any whitespace, a line break included, separates; ``don't`` becomes ``do n't``, ``it's`` becomes ``it
    's``, hyphenated words stay whole, brackets become ``-lrb-`` and ``-rrb-``.

    Args:
        text: a caption.
        following: the caption that comes next, see :func:`tokenize_all`.
    """
    return list(split(one_line(text), following))


def tokenize(text: str, following: str = "") -> str:
    """Return the words that count for a caption score, joined by single blanks; "" where none is left."""
    return " ".join(word for word in split_words(text, following) if word not in PUNCTUATION)


def tokenize_all(texts: Sequence[str]) -> list[str]:
    """:func:`tokenize` of captions in a row, as the official scorer has them: all references, or all predictions.

    The order matters where a caption ends in a single letter and a full stop ("vitamin c."): whether the full stop
    belongs to the letter depends on how the next caption begins.
    """
    known: dict[tuple[str, str], str] = {}  # few distinct sentences make up a small world: split each only once
    words: list[str] = []
    following = ""
    for text in reversed(texts):
        key = (text, following if _OPEN_END.search(text) else "")
        if key not in known:
            known[key] = tokenize(*key)
        words.append(known[key])
        following = one_line(text).lstrip()[:40] or following
    return words[::-1]
