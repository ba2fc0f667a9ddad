"""What arms write: text, and images that the model ends itself, in batches with a key-value cache.

Prompts are padded on the left so that all rows write at the same position; a row that has ended is fed padding.

Shapes: B rows, T prompt positions, W width, L places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from lavit.errors import LavitError
from lavit.language import access
from lavit.model.draw_settings import DrawSettings
from lavit.model.gated import Media
from lavit.model.lavit import LaVIT
from lavit.model.padding import pad_left
from lavit.model.sampling import draw, forbid, guide
from lavit.model.text_settings import TextSettings
from lavit.model.text_writer import Beside, Prompts, write_ids
from lavit.sequences import Sequence, VisualStore, collate


class Decoder:
    """A batch of prompts, its cache, and the hidden state that predicts each row's next position."""

    def __init__(self, model: LaVIT, prompts: list[Sequence], store: VisualStore | None):
        self.model = model
        x_BTW, real_BT = pad_left(embed_prompts(model, prompts, store))
        self.mask_BT = real_BT.long()
        self.cache = DynamicCache(config=model.llm.config)
        positions = (self.mask_BT.cumsum(-1) - 1).clamp_min(0)
        # Rows of equal length need no mask, which lets the attention kernel use its causal fast path.
        mask = None if bool(real_BT.all()) else self.mask_BT
        self.hidden_BW = self._forward(x_BTW, mask, positions)
        self.position_B = real_BT.sum(1)
        self.padded = mask is not None

    def _forward(self, x_BTW: Tensor, mask: Tensor | None, positions: Tensor) -> Tensor:
        out = access.body(self.model.llm)(
            inputs_embeds=x_BTW.to(self.model.llm.dtype),
            attention_mask=mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        return out.last_hidden_state[:, -1].to(self.model.marks.weight.dtype)

    def step(self, x_BW: Tensor) -> None:
        """Feed one embedding a row."""
        self.mask_BT = torch.cat([self.mask_BT, self.mask_BT.new_ones(len(x_BW), 1)], 1)
        mask = self.mask_BT if self.padded else None
        self.hidden_BW = self._forward(x_BW[:, None], mask, self.position_B[:, None])
        self.position_B = self.position_B + 1


def embed_prompts(model: LaVIT, prompts: list[Sequence], store: VisualStore | None) -> list[Tensor]:
    """Embeddings of each prompt [T, W]; images that enter or are shown are read from ``store``."""
    x_BTW = model.embed(collate(prompts).to(model.marks.weight.device), store)
    return [row[: len(prompt.ids)] for row, prompt in zip(x_BTW, prompts, strict=True)]


def see_prompts(model: LaVIT, prompts: list[Sequence], store: VisualStore | None) -> tuple[Media | None, list[Tensor]]:
    """Images that stand beside the prompts, and which of them each position of a prompt sees [T], -1 none."""
    seen = [torch.from_numpy(prompt.seen()) for prompt in prompts]
    media, index = model.look(torch.cat(seen).to(model.marks.weight.device), store)
    return media, list(index.split([len(part) for part in seen]))


@torch.no_grad()
def generate_text(
    model: LaVIT, prompts: list[Sequence], store: VisualStore | None, settings: TextSettings, eos: int
) -> list[list[int]]:
    """Text ids after each prompt, without the end mark.

    What several prompts begin with, up to the end of an image, is read once: the image of several questions, or the
    examples that stand before every question.
    """
    ends = common_beginnings(prompts)
    media, seen = see_prompts(model, prompts, store)
    if not any(ends) or min(len(prompt.ids) for prompt in prompts) < 2:
        whole = Prompts.whole(embed_prompts(model, prompts, store))
        whole.beside = None if media is None else Beside(media, seen)
        return write_ids(model.llm, whole, settings, eos)
    beginnings: dict[Hashable, int] = {}
    prefixes: list[Sequence] = []
    prefix_of, seen_first = [], []
    for prompt, end, sees in zip(prompts, ends, seen, strict=True):
        # What nobody else begins with stands apart with at least the first id, so that something is left to follow it.
        beginning = prompt.part(0, end or 1)
        number = beginnings.setdefault(beginning.key(), len(prefixes))
        if number == len(prefixes):
            prefixes.append(beginning)
            seen_first.append(sees[: end or 1])
        prefix_of.append(number)
    rests = [prompt.part(end or 1, len(prompt.ids)) for prompt, end in zip(prompts, ends, strict=True)]
    read = Prompts(embed_prompts(model, prefixes, store), prefix_of, embed_prompts(model, rests, store))
    if media is not None:
        seen_then = [sees[end or 1 :] for sees, end in zip(seen, ends, strict=True)]
        read.beside = Beside(media, seen_first, seen_then)
    return write_ids(model.llm, read, settings, eos)


def common_beginnings(prompts: list[Sequence]) -> list[int]:
    """Where the longest beginning of each prompt ends that another one shares and that ends with an image; 0: none."""
    ends = [[at + count + 1 for at, _, count in (*p.enters, *p.shown) if at + count + 1 < len(p.ids)] for p in prompts]
    keys = [[prompt.part(0, end).key() for end in row] for prompt, row in zip(prompts, ends, strict=True)]
    often = Counter(key for row in keys for key in row)
    return [
        max((end for end, key in zip(row, found, strict=True) if often[key] > 1), default=0)
        for row, found in zip(ends, keys, strict=True)
    ]


@torch.no_grad()
def greedy_text(llm: PreTrainedModel, prompts: list[list[int]], limit: int, eos: int) -> list[list[int]]:
    """Greedy text of a bare text LLM after each prompt, without the end mark."""
    embed = llm.get_input_embeddings()
    rows = [embed(torch.tensor(prompt, device=llm.device)) for prompt in prompts]
    return write_ids(llm, Prompts.whole(rows), TextSettings(max_new=limit), eos)


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
