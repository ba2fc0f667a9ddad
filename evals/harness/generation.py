"""Text after prompts, until a string appears: in batches, each row ended by itself.

Shapes: B rows, T positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from evals.errors import EvaluationError
from lavit.model.likelihood import cut_left
from lavit.model.sampling import forbid
from lavit.model.token_model import TokenModel
from lavit.sequences import Sequence as Row

PASSED_ON = frozenset(
    {"temperature", "top_k", "top_p", "num_beams", "length_penalty", "early_stopping", "min_new_tokens"}
    | {"repetition_penalty", "no_repeat_ngram_size"}
)
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


@dataclass(frozen=True)
class Settings:
    """How a request wants its text.

    Attributes:
        until: strings that end it; none of them is part of the text.
        most: ids at most.
        sample: drawn, or the likeliest.
        options: further settings of transformers' generation.
    """

    until: tuple[str, ...]
    most: int
    sample: bool
    options: tuple[tuple[str, Any], ...]


def read_settings(given: dict[str, Any], most: int) -> Settings:
    """The settings of a task's ``generation_kwargs``, read as the harness's own models read them.

    Args:
        given: ``until``, ``max_gen_toks``, ``do_sample``, ``temperature`` and what :data:`PASSED_ON` names.
        most: ids where the task names no number.

    Raises:
        EvaluationError: a setting that is not known here, which would be ignored otherwise.
    """
    options = dict(given)
    until = options.pop("until", None) or []
    lengths = [value for name in _LENGTHS if (value := options.pop(name, None)) is not None]
    temperature = float(options.pop("temperature", 0.0) or 0.0)
    sample = options.pop("do_sample", None)
    sample = temperature > 0 if sample is None else bool(sample)
    unknown = sorted(set(options) - PASSED_ON)
    if unknown:
        raise EvaluationError(
            f"generation_kwargs.{unknown[0]} is not known.",
            f"Known: until, {', '.join(_LENGTHS)}, do_sample, {', '.join(sorted(PASSED_ON))}.",
        )
    if sample:
        options["temperature"] = temperature or 1.0
    else:
        for name in ("top_k", "top_p"):
            options.pop(name, None)
    strings = (until,) if isinstance(until, str) else tuple(until)
    return Settings(strings, int(lengths[0]) if lengths else most, sample, tuple(sorted(options.items())))


class _UntilText(StoppingCriteria):
    """Ends a row as soon as the text that was written in it holds one of the strings."""

    def __init__(self, model: TokenModel, until: Sequence[str], start: int):
        self.model, self.until, self.start = model, [text for text in until if text], start
        self.ended: list[bool] = []

    def __call__(self, input_ids: Tensor, scores: Any, **further: Any) -> Tensor:
        """Which rows have ended [B]."""
        rows = input_ids[:, self.start :].tolist()
        texts = [self.model.decode(row) for row in rows]
        ended = [any(string in text for string in self.until) for text in texts]
        return torch.tensor(ended, device=input_ids.device, dtype=torch.bool)


@torch.no_grad()
def write_text(model: TokenModel, rows: list[Row], visual: Any, settings: Settings) -> list[str]:
    """What the model writes after each row, up to the first of ``settings.until``.

    Prompts lose their left end where they leave no room for the text. Draws come from torch's global generator.

    Raises:
        EvaluationError: the text alone is longer than what the model reads.
    """
    room = model.max_length - settings.most
    if room < 1:
        raise EvaluationError(
            f"max_gen_toks is {settings.most}, but the model reads {model.max_length} positions in all.",
            "Lower max_gen_toks in the task's generation_kwargs (or --gen_kwargs max_gen_toks=N).",
        )
    rows = [cut_left(row, len(row.ids), room) for row in rows]
    inputs: dict[str, Any] = dict(model.generation_inputs(rows, visual))
    start = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0
    if model.text_size is not None:
        inputs["logits_processor"] = LogitsProcessorList([_TextAlone(model.text_size)])
    config = GenerationConfig(
        max_new_tokens=settings.most,
        do_sample=settings.sample,
        eos_token_id=model.eos,
        pad_token_id=model.eos,
        **dict(settings.options),
    )
    stopping = StoppingCriteriaList([_UntilText(model, settings.until, start)])
    with model.beside(rows, visual):
        written = model.llm.generate(**inputs, generation_config=config, stopping_criteria=stopping)
    return [_cut(model, row[start:], settings.until) for row in written.tolist()]


class _TextAlone(LogitsProcessor):
    """Rules out image marks and codes, which are all ids from ``first`` on."""

    def __init__(self, first: int):
        self.first = first

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [B, V] of text alone."""
        return forbid(scores.clone(), slice(self.first, None))


def _cut(model: TokenModel, ids: list[int], until: Sequence[str]) -> str:
    text = model.decode(ids[: ids.index(model.eos)] if model.eos in ids else ids)
    for string in until:
        if string:
            text = text.split(string)[0]
    return text
