"""Drawing with the released LLM: what a benchmark's ``draw`` settings mean to it, and the best of several drawings.

Shapes: G drawings, N patches, C channels, S positions, V ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lavit.errors import LavitError
from lavit.model.draw_settings import DrawSettings
from lavit.model.protocol import Drawing, Prompt
from lavit.official import encoded
from lavit.official.generation import build_image_prompt, generate_image_ids
from lavit.official.painting import Painter

if TYPE_CHECKING:
    from lavit.official.model import OfficialModel

LONGEST = 200  # tokens after which an image is taken as it is, as published


def draw_images(
    model: OfficialModel, painter: Painter, prompts: Sequence[Prompt], seed: int, settings: DrawSettings
) -> Drawing:
    """One image a prompt.

    The release writes codes alone, whose places follow from their order: ``token_temperature``, ``top_k``, ``top_p``
    and ``guidance`` are its own, ``min_tokens`` and ``max_tokens`` bound the length (None: 200, as published), and
    ``place_temperature`` has nothing to act on. Images of a prompt enter as bare codes, as published. Of several
    drawings the one is kept whose features make the prompt's text likeliest as a caption.

    Raises:
        LavitError: several drawings at temperature 0, which would all be the same; or more tokens than the decoder has
            places for.
    """
    k, batch = settings.best_of, model.settings.batch
    if k > 1 and settings.token_temperature == 0:
        raise LavitError(f"draw.best_of is {k} and draw.token_temperature 0: the same image every time", "raise it")
    longest = min(LONGEST, painter.longest) if settings.max_tokens is None else settings.max_tokens
    if longest > painter.longest:
        raise LavitError(f"draw.max_tokens is {longest}", f"the decoder can place {painter.longest} tokens of an image")
    generator, known = torch.Generator().manual_seed(seed), model.vocabulary
    marks: dict[str, Any] = {name: getattr(known, name) for name in ("image_start", "image_end", "first_code")}
    ids = [_prompt_ids(model, prompt, marks) for prompt in prompts]
    drawings = []
    for first in range(0, len(prompts), max(1, batch // k)):
        part = slice(first, first + max(1, batch // k))
        codes = generate_image_ids(
            model.llm,
            ids[part],
            **marks,
            min_new=settings.min_tokens,
            max_new=longest,
            guidance=settings.guidance,
            temperature=settings.token_temperature,
            top_k=settings.top_k,
            top_p=settings.top_p,
            generator=generator,
            num_return=k,
        )
        if k > 1:
            codes = _best(model, painter, prompts[part], codes, k)
        drawings.append(painter.drawing(codes, model.tower.tokenizer.quantizer, seed + first))
    return Drawing(
        np.concatenate([drawing.images for drawing in drawings]),
        np.concatenate([drawing.tokens for drawing in drawings]),
        torch.cat([drawing.features for drawing in drawings]),
    )


def _prompt_ids(model: OfficialModel, prompt: Prompt, marks: dict[str, Any]) -> list[int]:
    parts: list[list[int] | Tensor] = []
    for part in [prompt] if isinstance(prompt, str) else prompt:
        parts.append(model.pieces([part])[0][0] if isinstance(part, str) else model.codes(part[None])[0])
    return build_image_prompt(parts, **marks, wrap=False)


def _best(
    model: OfficialModel, painter: Painter, prompts: Sequence[Prompt], codes: list[Tensor], k: int
) -> list[Tensor]:
    """The best of each ``k`` neighbouring drawings, by the mean log-probability of the prompt's text as a caption."""
    texts = [p if isinstance(p, str) else " ".join(part for part in p if isinstance(part, str)) for p in prompts]
    if not all(text.strip() for text in texts):
        raise LavitError("a prompt without text cannot rank its drawings", "give it text, or set draw.best_of to 1")
    features_GNC = painter.features(codes, model.tower.tokenizer.quantizer)
    keys_G = encoded.image_keys((features_GNC * 2**16).round())
    visual = encoded.encode(model.tower, features_GNC, keys_G, model.device)
    kept = []
    for number, text in enumerate(texts):
        rows = range(number * k, (number + 1) * k)
        scores = [_likelihood(model, visual.rows(row), text) for row in rows]
        kept.append(codes[rows[int(np.argmax(scores))]])
    return kept


def _likelihood(model: OfficialModel, merged_KC: Tensor, text: str) -> float:
    """Mean log-probability (nats) of a text's ids after an image."""
    (ids,) = model.pieces([text])[0]
    assert isinstance(ids, list)
    inputs = model.reader.read([[merged_KC, ids]])
    logits_SV = model.llm(inputs_embeds=inputs.embeds_BSD, attention_mask=inputs.mask_BS).logits[0].float()
    logs_SV = logits_SV[-len(ids) - 1 : -1].log_softmax(-1)
    return float(logs_SV.gather(1, torch.tensor(ids, device=logs_SV.device)[:, None]).mean())
