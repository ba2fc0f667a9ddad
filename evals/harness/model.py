"""Models of this suite as lm-evaluation-harness asks them; registered there as ``lavit``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from tqdm import tqdm

from evals.errors import EvaluationError
from evals.harness.generation import Settings, read_settings, write_text
from evals.harness.prompts import to_prompt
from lavit.model.likelihood import loglikelihood, nll, prompt_row, take_in
from lavit.model.token_model import TokenModel

GENERATED = 256
"""Ids of a generated text at most, where its task names no number; as lm-eval has it."""


@register_model("lavit")
class LavitLM(LM):
    """An arm, an imported release or a transformers folder.

    Images are those of a task's ``doc_to_image``; each ``<image>`` in the text is where one of them stands, and those
    that have no place stand before the text.

    Args:
        checkpoint: an arm's folder in a store, or an imported release.
        pretrained: a transformers folder with a causal language model instead.
        model: an open model instead.
        batch_size: rows of a batch.
        max_length: positions of a transformers model, where its own number is not wanted.
        max_gen_toks: ids of a generated text where its task names no number.
        vision: False leaves all images out: what the text alone gives away.
        device: where the model runs.
        dtype: of a transformers folder's weights.

    Raises:
        EvaluationError: not exactly one model was named.
        LavitError: it cannot be opened.
    """

    MULTIMODAL = True

    def __init__(
        self,
        checkpoint: str | None = None,
        pretrained: str | None = None,
        model: TokenModel | None = None,
        batch_size: int | str | None = 64,
        max_length: int | None = None,
        max_gen_toks: int = GENERATED,
        vision: bool = True,
        device: str | None = None,
        dtype: str = "auto",
        max_batch_size: int | None = None,
    ):
        super().__init__()
        if sum(given is not None for given in (checkpoint, pretrained, model)) != 1:
            raise EvaluationError(
                "lm-eval's model `lavit` needs one of checkpoint and pretrained.",
                "--model_args checkpoint=runs/store/cooldown/KEY, or pretrained=DIR for a transformers folder.",
            )
        if batch_size is not None and not str(batch_size).isdigit():
            raise EvaluationError(f"batch_size is {batch_size!r}.", "Give a number of rows, e.g. --batch_size 64.")
        if model is None:
            from evals.harness.opening import open_model

            model = open_model(checkpoint, pretrained, device or "cpu", dtype, max_length)
        self.tokens, self.vision = model, vision
        self.batch_size, self.max_gen_toks = int(batch_size or 64), max_gen_toks

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Log-probability of each continuation after its context, and whether it is the likeliest.

        Requests never share more than a pass over the same input: each is scored over its own continuation, so that
        the same ids split at two places are two results.
        """
        prompts = [self._prompt(request, 2) for request in requests]
        continuations = [request.args[1] for request in requests]
        results = loglikelihood(self.tokens, prompts, continuations, self._positions())
        for request, result in zip(requests, results, strict=True):
            self.cache_hook.add_partial("loglikelihood", request.args, result)
        return results

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Log-probability of whole texts, in windows where they are longer than what the model reads."""
        texts = [request.args[0] for request in requests]
        totals = [-total for total, _ in nll(self.tokens, [""] * len(texts), texts, self._positions())]
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """What the model writes after each context, up to one of the strings that end it."""
        visual, parts = take_in(self.tokens, [self._prompt(request, 2) for request in requests])
        rows = [prompt_row(self.tokens, prompt, visual) for prompt in parts]
        groups: dict[Settings, list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault(read_settings(request.args[1], self.max_gen_toks), []).append(number)
        texts = [""] * len(requests)
        with tqdm(total=len(requests), desc="Writing", disable=len(requests) <= self.batch_size) as bar:
            for settings, members in groups.items():
                members.sort(key=lambda number: -len(rows[number].ids))  # longest first; ties stay in their order
                for first in range(0, len(members), self.batch_size):
                    batch = members[first : first + self.batch_size]
                    written = write_text(self.tokens, [rows[number] for number in batch], visual, settings)
                    for number, text in zip(batch, written, strict=True):
                        texts[number] = text
                        self.cache_hook.add_partial("generate_until", requests[number].args, text)
                    bar.update(len(batch))
        return texts

    @property
    def tokenizer_name(self) -> str:
        """What tells this model's prompts from another's in lm-eval's cache of requests."""
        return f"lavit-{type(self.tokens).__name__}"

    def _positions(self) -> int:
        return self.batch_size * self.tokens.max_length

    def _prompt(self, request: Instance, place: int) -> Sequence[str | np.ndarray] | str:
        arguments = request.args
        images = arguments[place].get("visual", []) if len(arguments) > place else []
        return to_prompt(arguments[0], images, self.tokens.image_size if self.vision else None, self.vision)


def wrap(model: Any, batch_size: int = 64, vision: bool = True) -> LM:
    """Any model of this suite, a transformers folder, or a model of the harness, as a model of the harness."""
    from evals.harness.opening import token_model

    return model if isinstance(model, LM) else LavitLM(model=token_model(model), batch_size=batch_size, vision=vision)
