"""What arms are asked for in words: captions, answers, and what follows a prompt."""

from __future__ import annotations

from lavit.model.decoding import generate_text
from lavit.model.lavit import LaVIT
from lavit.model.text_settings import GREEDY_ANSWER, GREEDY_CAPTION, TextSettings
from lavit.sequences import Sequence, SequenceBuilder, VisualStore

Rows = list[tuple[int, int]] | list[None]
"""First row and count of each image in a store; None: no image."""


def write_texts(
    model: LaVIT, builder: SequenceBuilder, store: VisualStore | None, prompts: list[Sequence], settings: TextSettings
) -> list[str]:
    """What the model writes after each prompt."""
    written = generate_text(model, prompts, store, settings, builder.text.eos)
    return [builder.text.decode(ids) for ids in written]


def write_captions(
    model: LaVIT,
    builder: SequenceBuilder,
    store: VisualStore | None,
    rows: Rows,
    settings: TextSettings = GREEDY_CAPTION,
) -> list[str]:
    """One caption an image."""
    return write_texts(model, builder, store, [builder.caption(r, None) for r in rows], settings)


def answer_questions(
    model: LaVIT,
    builder: SequenceBuilder,
    store: VisualStore | None,
    rows: Rows,
    questions: list[str],
    settings: TextSettings = GREEDY_ANSWER,
) -> list[str]:
    """One answer a question; image i belongs to question i."""
    prompts = [builder.questions(r, [(q, None)]) for r, q in zip(rows, questions, strict=True)]
    return write_texts(model, builder, store, prompts, settings)
