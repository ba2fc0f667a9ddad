"""The reference of batched writing: transformers' ``generate`` after one prompt, without padding."""

from typing import Any

import torch
from transformers import GenerationConfig, LlamaForCausalLM, LogitsProcessorList

from lavit.model.text_settings import TextSettings


def written_alone(
    llm: LlamaForCausalLM, row_TW: torch.Tensor, text: TextSettings, eos: int, *processors: Any, **further: Any
) -> list[int]:
    """Ids after a prompt's embeddings, without the end mark; ``further`` goes into the generation config."""
    search = {"length_penalty": text.length_penalty, "early_stopping": text.early_stopping} if text.beams > 1 else {}
    config = GenerationConfig(
        num_beams=text.beams,
        min_new_tokens=text.min_new,
        max_new_tokens=text.max_new,
        eos_token_id=eos,
        pad_token_id=eos,
        do_sample=False,
        **search,
        **further,
    )
    with torch.no_grad():
        ids = llm.generate(
            inputs_embeds=row_TW[None],
            attention_mask=torch.ones(1, len(row_TW), dtype=torch.long),
            generation_config=config,
            logits_processor=LogitsProcessorList(processors),
        )[0].tolist()
    return ids[: ids.index(eos)] if eos in ids else ids
