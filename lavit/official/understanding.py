"""Text from LaVIT's LLM about what it has seen: the published settings of captions and answers.

Shapes: B examples, S positions, D width of the LLM.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from lavit.model.text_settings import TextSettings
from lavit.model.text_writer import Prompts, write_ids

__all__ = ["ANSWER", "CAPTION", "EOS", "TextSettings", "generate_text_ids"]

EOS = 2
# The released code also takes top-k and top-p, and hands them to nobody.
CAPTION = TextSettings(beams=2, min_new=8, max_new=36)
ANSWER = TextSettings(beams=5, min_new=2, max_new=10, length_penalty=0.0, early_stopping=True)


def generate_text_ids(
    llm: LlamaForCausalLM,
    embeds_BSD: Tensor,
    mask_BS: Tensor,
    settings: TextSettings,
    *,
    image_start: int,
    seed: int = 0,
) -> list[list[int]]:
    """Text ids after each row of embeddings, without the end mark; the same as of transformers' ``generate``.

    Rows that begin with the same image share one reading of it.

    Args:
        llm: the LLM with the extended vocabulary.
        embeds_BSD: what the model has read, padded wherever.
        mask_BS: 1 where there is something to attend to; what is padding is not read at all.
        settings: :data:`CAPTION`, :data:`ANSWER` or others.
        image_start: the first id that is no text; it and all above it (image marks and codes) are forbidden.
        seed: of sampling. The global generator is left as it was.
    """
    rows = [row_SD[mask_S.bool()] for row_SD, mask_S in zip(embeds_BSD, mask_BS, strict=True)]
    generator = torch.Generator().manual_seed(seed)
    return write_ids(llm, Prompts.sharing(rows), settings, EOS, (slice(image_start, None),), generator)
