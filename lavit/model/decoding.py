"""Batched decoding with a key-value cache: greedy text, and images that the model ends itself.

Prompts are padded on the left so that all rows write at the same position; a row that has ended is fed padding.

Shapes: B rows, T prompt positions, W width, L places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, GenerationConfig, LlamaForCausalLM

from lavit.errors import LavitError
from lavit.model.draw_settings import DrawSettings
from lavit.model.lavit import LaVIT
from lavit.model.sampling import draw, forbid, guide
from lavit.model.text_settings import TextSettings
from lavit.sequences import Sequence, VisualStore

BATCH = 256


class Decoder:
    """A batch of prompts, its cache, and the hidden state that predicts each row's next position."""

    def __init__(self, model: LaVIT, prompts: list[Sequence], store: VisualStore | None):
        self.model = model
        rows = [embed_prompt(model, prompt, store) for prompt in prompts]
        lengths = torch.tensor([len(row) for row in rows])
        x_BTW = pad_sequence([row.flip(0) for row in rows], batch_first=True).flip(1)
        width = x_BTW.shape[1]
        self.mask_BT = (torch.arange(width) >= (width - lengths)[:, None]).long().to(x_BTW.device)
        self.cache = DynamicCache(config=model.llm.config)
        positions = (self.mask_BT.cumsum(-1) - 1).clamp_min(0)
        # Rows of equal length need no mask, which lets the attention kernel use its causal fast path.
        mask = None if bool((lengths == width).all()) else self.mask_BT
        self.hidden_BW = self._forward(x_BTW, mask, positions)
        self.position_B = lengths.to(x_BTW.device)
        self.padded = mask is not None

    def _forward(self, x_BTW: Tensor, mask: Tensor | None, positions: Tensor) -> Tensor:
        out = self.model.llm.model(
            inputs_embeds=x_BTW,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        return out.last_hidden_state[:, -1]

    def step(self, x_BW: Tensor) -> None:
        """Feed one embedding a row."""
        self.mask_BT = torch.cat([self.mask_BT, self.mask_BT.new_ones(len(x_BW), 1)], 1)
        mask = self.mask_BT if self.padded else None
        self.hidden_BW = self._forward(x_BW[:, None], mask, self.position_B[:, None])
        self.position_B = self.position_B + 1


def embed_prompt(model: LaVIT, prompt: Sequence, store: VisualStore | None) -> Tensor:
    """Embeddings of one prompt [T, W]; images that enter or are shown are read from ``store``."""
    device = model.marks.weight.device
    x = model.embed_ids(torch.tensor(prompt.ids, device=device))
    for position, first, count in prompt.enters:
        assert store is not None
        rows = slice(first, first + count)
        x = x.clone()
        x[position : position + count] = model.embed_entering(store.features_MC[rows], store.places_M[rows])
    for position, first, count in prompt.shown:
        assert store is not None
        x = x.clone()
        x[position : position + count] = model.embed_written(store, slice(first, first + count))
    return x


@torch.no_grad()
def generate_text(
    model: LaVIT, prompts: list[Sequence], store: VisualStore | None, settings: TextSettings, eos: int
) -> list[list[int]]:
    """Text ids after each prompt, without the end mark."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids))
    written: list[list[int]] = [[] for _ in prompts]
    for first in range(0, len(prompts), BATCH):
        chosen = order[first : first + BATCH]
        rows = [embed_prompt(model, prompts[i], store) for i in chosen]
        for i, ids in zip(chosen, _generate(model.llm, rows, settings, eos), strict=True):
            written[i] = ids
    return written


def _generate(llm: LlamaForCausalLM, rows: list[Tensor], settings: TextSettings, eos: int) -> list[list[int]]:
    x_BTW = pad_sequence([row.flip(0) for row in rows], batch_first=True).flip(1)
    lengths = torch.tensor([len(row) for row in rows])
    width = x_BTW.shape[1]
    options: dict[str, Any] = {"do_sample": settings.temperature > 0}
    if settings.temperature > 0:
        options |= {"temperature": settings.temperature, "top_k": settings.top_k or 0, "top_p": settings.top_p}
    if settings.beams > 1:
        options |= {"length_penalty": settings.length_penalty, "early_stopping": settings.early_stopping}
    config = GenerationConfig(
        num_beams=settings.beams,
        min_new_tokens=settings.min_new,
        max_new_tokens=settings.max_new,
        eos_token_id=eos,
        pad_token_id=eos,
        **options,
    )
    with torch.random.fork_rng(devices=[x_BTW.device] if x_BTW.is_cuda else []):
        torch.manual_seed(settings.seed)
        out_BT: Tensor = llm.generate(  # type: ignore[misc, assignment]
            inputs_embeds=x_BTW,
            attention_mask=(torch.arange(width) >= (width - lengths)[:, None]).long().to(x_BTW.device),
            generation_config=config,
        )
    return [row[: row.index(eos)] if eos in row else row for row in out_BT.tolist()]


@torch.no_grad()
def greedy_text(llm: LlamaForCausalLM, prompts: list[list[int]], limit: int, eos: int) -> list[list[int]]:
    """Greedy text of a bare text LLM after each prompt, without the end mark."""
    width = max(map(len, prompts))
    ids_BT = torch.zeros(len(prompts), width, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    for row, prompt in enumerate(prompts):
        ids_BT[row, width - len(prompt) :] = torch.tensor(prompt)
        mask_BT[row, width - len(prompt) :] = 1
    out_BT: Tensor = llm.generate(  # type: ignore[misc, assignment]
        input_ids=ids_BT.to(llm.device),
        attention_mask=mask_BT.to(llm.device),
        max_new_tokens=limit,
        do_sample=False,
        eos_token_id=eos,
        pad_token_id=eos,
    )
    rows = out_BT[:, width:].tolist()
    return [row[: row.index(eos)] if eos in row else row for row in rows]


@dataclass
class WrittenImages:
    """Visual tokens that a model has written: vectors [B, K, D], places [B, K] and which are real [B, K]."""

    codes_BK: Tensor
    vectors_BKD: Tensor
    places_BK: Tensor
    mask_BK: Tensor


@torch.no_grad()
def generate_images(
    model: LaVIT,
    prompts: list[Sequence],
    settings: DrawSettings,
    generator: torch.Generator | None = None,
    store: VisualStore | None = None,
    unprompted: Sequence | None = None,
) -> WrittenImages:
    """Write an image after each prompt, token by token, until the model ends it or all places are filled.

    Guided drawing runs every image twice in one batch with one cache: rows 0 to B - 1 after their prompts, rows B to
    2B - 1 after ``unprompted``. Both halves are fed the tokens that were drawn from their guided scores.

    Args:
        model: an arm that writes images.
        prompts: sequences that end with the image mark.
        settings: lengths, temperatures, top-k, top-p and guidance; ``best_of`` is the caller's business.
        generator: where draws come from, needed at temperatures above 0.
        store: the images that prompts show.
        unprompted: what guidance starts from in place of each prompt; needed where ``settings.guidance`` is not 1.

    Raises:
        LavitError: ``settings.min_tokens`` is more than there are places.
    """
    head, rows = model.head, len(prompts)
    assert head is not None, "this arm writes no images"
    if settings.min_tokens > head.places:
        raise LavitError(f"draw.min_tokens is {settings.min_tokens}", f"this arm's images have {head.places} places")
    guided = settings.guidance != 1
    if guided:
        assert unprompted is not None, "guidance needs a prompt that says nothing"
        prompts = prompts + [unprompted] * rows
    decoder = Decoder(model, prompts, store)
    device = decoder.hidden_BW.device
    last = torch.full((rows,), -1, device=device)
    ended = torch.zeros(rows, dtype=torch.bool, device=device)
    codes, vectors, places, masks = [], [], [], []
    limit = min(head.places, settings.max_tokens or head.places)
    for index in range(limit):
        own, free = decoder.hidden_BW[:rows], decoder.hidden_BW[rows:] if guided else None
        if head.implied:
            place = torch.full((rows,), index, device=device)
        else:
            scores = head.place_logits(own, last)
            if free is not None:
                scores = guide(scores, head.place_logits(free, last), settings.guidance)
            scores = forbid_short(scores, settings.min_tokens - index)
            place = draw(scores, settings.place_temperature, generator, settings.top_k, settings.top_p)
            ended = ended | (place == head.places)
            if bool(ended.all()):
                break
            place = place.clamp_max(head.places - 1)
        hidden = head.token_hidden(own, place)
        unguided = None if free is None else head.token_hidden(free, place)
        code, vector = head.target.choose(hidden, model.codebook_KD, settings, generator, unguided)
        codes.append(code)
        vectors.append(vector)
        places.append(place)
        masks.append(~ended)
        last = torch.where(ended, torch.full_like(place, head.places - 1), place)
        if index + 1 < limit:
            written = model.embed_generated(code.clamp_min(0), vector, place)
            decoder.step(torch.cat([written, written]) if guided else written)
    return WrittenImages(torch.stack(codes, 1), torch.stack(vectors, 1), torch.stack(places, 1), torch.stack(masks, 1))


def forbid_short(scores_BL: Tensor, missing: int) -> Tensor:
    """Rule out, in place, what would leave an image too short: its end, and places with too few places behind them.

    Args:
        scores_BL: scores of the places and, last, of the end [B, L + 1].
        missing: tokens that an image still lacks to be long enough, the one to be chosen now among them.
    """
    places = scores_BL.shape[-1] - 1
    if missing < 1:
        return scores_BL
    return forbid(scores_BL, places, slice(places - missing + 1, places))
