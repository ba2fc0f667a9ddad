"""Text around LaVIT's understanding: how a question is asked, and how an answer or a caption is cut out.

The order of the cuts is part of the protocol: an answer is lemmatised and compared as it is after all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from lavit.errors import LavitError

QUESTION_WORDS = 50
VQA_PROMPT = "Question: {} Answer:"
ANSWER_ENDS = ("\n", "question:", "Long answer:", ",", ".")
CAPTION_ENDS = (".",)

_DROPPED = str.maketrans("", "", '.!"()*#:;~')


def preprocess_question(question: str, words: int = QUESTION_WORDS) -> str:
    """Lower case, without ``. ! " ( ) * # : ; ~``, without blanks at the end, cut to the first ``words`` words.

    Words are what single blanks divide: two blanks in a row count as an empty word.
    """
    plain = question.lower().translate(_DROPPED).rstrip(" ")
    return " ".join(plain.split(" ")[:words])


def vqa_prompt(question: str) -> str:
    """What follows the image when a question is asked."""
    return VQA_PROMPT.format(preprocess_question(question))


def truncate_answer(generated: str) -> str:
    """The answer proper: stripped, then cut in turn at each of :data:`ANSWER_ENDS` (what is left is not stripped)."""
    return _first_piece(generated.strip(), ANSWER_ENDS)


def truncate_caption(generated: str) -> str:
    """The first sentence: stripped, then cut at the first full stop."""
    return _first_piece(generated.strip(), CAPTION_ENDS)


def _first_piece(text: str, ends: Iterable[str]) -> str:
    for end in ends:
        text = text.split(end, 1)[0]
    return text


class Token(Protocol):
    """What :func:`lemmatise` reads of a spaCy token."""

    text: str
    lemma_: str
    pos_: str


Tagger = Callable[[str], Iterable[Token]]


def lemmatise(answer: str, tagger: Tagger) -> str:
    """Lower case, nouns and verbs by their lemma, tokens joined by blanks: the last step before answers are compared.

    Args:
        answer: a truncated answer.
        tagger: a spaCy pipeline, see :func:`english_tagger`.
    """
    tokens = tagger(answer.lower())
    return " ".join(token.lemma_ if token.pos_ in ("NOUN", "VERB") else token.text for token in tokens)


def english_tagger(name: str = "en_core_web_sm") -> Tagger:
    """The spaCy pipeline of the official protocol.

    Raises:
        LavitError: spaCy or the pipeline is not installed.
    """
    try:
        import spacy
    except ImportError as error:
        raise LavitError("lemmas need spaCy, which is not installed", "pip install 'lavit-lab[lemmas]'") from error
    try:
        return spacy.load(name)
    except OSError as error:
        raise LavitError(f"spaCy has no pipeline '{name}'", f"python -m spacy download {name}") from error
