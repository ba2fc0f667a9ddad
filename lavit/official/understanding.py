"""Text from LaVIT's LLM about what it has seen: the published settings of captions and answers, over transformers.

Shapes: B examples, S positions, D width of the LLM, V ids.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LlamaForCausalLM, LogitsProcessor, LogitsProcessorList

from lavit.model.sampling import forbid
from lavit.model.text_settings import TextSettings

EOS = 2


CAPTION = TextSettings(beams=2, min_new=8, max_new=36)
ANSWER = TextSettings(beams=5, min_new=2, max_new=10, length_penalty=0.0, early_stopping=True)


class ForbidVisual(LogitsProcessor):
    """Rules out image marks and codes, which are all ids from ``first`` on, by one assignment a step."""

    def __init__(self, first: int):
        self.first = first

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [B, V] of text alone."""
        return forbid(scores.clone(), slice(self.first, None))


@torch.no_grad()
def generate_text_ids(
    llm: LlamaForCausalLM,
    embeds_BSD: Tensor,
    mask_BS: Tensor,
    settings: TextSettings,
    *,
    image_start: int,
    seed: int = 0,
) -> list[list[int]]:
    """Text ids after each row of embeddings, without the end mark.

    Args:
        llm: the LLM with the extended vocabulary.
        embeds_BSD: what the model has read, padded on the left.
        mask_BS: 1 where there is something to attend to.
        settings: :data:`CAPTION`, :data:`ANSWER` or others.
        image_start: the first id that is no text; it and all above it are forbidden.
        seed: of sampling. The global generator is left as it was.
    """
    options: dict[str, Any] = {"do_sample": settings.temperature > 0}
    if settings.temperature > 0:
        options |= {"temperature": settings.temperature, "top_k": settings.top_k or 0, "top_p": settings.top_p}
    if settings.beams > 1:
        options |= {"length_penalty": settings.length_penalty, "early_stopping": settings.early_stopping}
    config = GenerationConfig(
        num_beams=settings.beams,
        min_new_tokens=settings.min_new,
        max_new_tokens=settings.max_new,
        eos_token_id=EOS,
        pad_token_id=EOS,
        **options,
    )
    with torch.random.fork_rng(devices=[embeds_BSD.device] if embeds_BSD.is_cuda else []):
        torch.manual_seed(seed)
        out_BT: Tensor = llm.generate(  # type: ignore[misc, assignment]
            inputs_embeds=embeds_BSD,
            attention_mask=mask_BS,
            generation_config=config,
            logits_processor=LogitsProcessorList([ForbidVisual(image_start)]),
        )
    return [row[: row.index(EOS)] if EOS in row else row for row in out_BT.tolist()]
