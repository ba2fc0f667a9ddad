"""How few-shot prompts are written: named templates, and what fills their places."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evals.errors import EvaluationError
from lavit.data.protocol import Images

if TYPE_CHECKING:
    from lavit.model.protocol import Part

Piece = str | tuple[str, Images]
"""Of a prompt: a text, or an image with its id."""


@dataclass(frozen=True)
class Template:
    """How a prompt with examples is written; ``{image}``, ``{question}`` and ``{answer}`` stand for what they name.

    Attributes:
        shot: a solved example.
        asked: what is to be gone on with.
        stop: what is written from here on belongs to no answer; "" where the model itself knows its end.
    """

    shot: str
    asked: str
    stop: str = "\n"


TEMPLATES = {
    "caption": Template("{image}{answer}\n", "{image}"),
    "output": Template("{image}Output: {answer}\n", "{image}Output:"),
    "output_text": Template("Output: {answer}\n", "{image}Output:"),
    "question": Template("{image}Question: {question} Answer: {answer}\n", "{image}Question: {question} Answer:"),
    "question_text": Template("Question: {question} Answer: {answer}\n", "{image}Question: {question} Answer:"),
    "short_answer": Template(
        "{image}Question: {question} Short answer: {answer}\n", "{image}Question: {question} Short answer:"
    ),
    "trained_caption": Template("{image}{answer}<eos>", "{image}", ""),
    "trained_question": Template(
        "{image}<question>{question}<answer>{answer}<eos>", "{image}<question>{question}<answer>", ""
    ),
}
"""By name: the ``_text`` ones have examples of text alone, as Flamingo's "zero shots" (Alayrac et al. 2022, 4.1) have;
the ``trained_`` ones are written with the control tokens that arms of the embedded world were trained with."""


def read_template(given: str | Mapping[str, str], where: str) -> Template:
    """The template of that name, or made of ``{shot, asked, stop}``; ``where`` names the key in errors.

    Raises:
        EvaluationError: there is none of that name, or the mapping has other keys.
    """
    if isinstance(given, Mapping):
        try:
            return Template(**given)
        except TypeError as error:
            raise EvaluationError(f"{where}: {error}.", "It has shot, asked, and stop.") from error
    if given not in TEMPLATES:
        raise EvaluationError(f"{where}: there is no {given!r}.", f"Known: {', '.join(TEMPLATES)}.")
    return TEMPLATES[given]


def fill(template: str, image: tuple[str, Images] | None, question: str = "", answer: str = "") -> list[Piece]:
    """A template with its places filled in; without an image, nothing stands in the image's place."""
    texts = {"question": question, "answer": answer}
    pieces: list[Piece] = []
    for place, text in enumerate(re.split(r"\{(image|question|answer)\}", template)):
        if place % 2 == 0 or text in texts:
            pieces.append(text if place % 2 == 0 else texts[text])
        elif image is not None:
            pieces.append(image)
    return pieces


def merge(pieces: Sequence[Piece]) -> list[Part]:
    """The parts of a prompt: images, and between them whole texts, so that words are not cut where pieces meet."""
    parts: list[Part] = []
    for piece in pieces:
        if not isinstance(piece, str):
            parts.append(piece[1])
        elif parts and isinstance(parts[-1], str):
            parts[-1] += piece
        elif piece:
            parts.append(piece)
    return parts
