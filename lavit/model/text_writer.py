"""Text after many prompts at once: one pass over what they share, beams side by side, ended rows leave.

Every row is written as transformers' ``generate`` writes it alone, token for token, up to the rounding of sums: a batch
multiplies larger matrices, whose products may differ in the last bit, so where two ids are equally likely to that bit
the other one may win.

Shapes: B rows, K beams, G prefixes, L new positions, S slots of the cache, T ids that are written, W width, V ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lavit.language import access
from lavit.model.gated import Media, looking
from lavit.model.padding import pad_left
from lavit.model.slot_cache import SlotCache
from lavit.model.text_search import BeamSearch, Greedy, Search
from lavit.model.text_settings import TextSettings

BATCH = 256  # rows times beams
ROWS = 64  # more of them no longer fit into a CPU's caches together
MASK = 2**26  # entries of the attention mask of one pass over prompts
ALIKE = 8  # positions that prompts must share to be compared any further
LEAVE = 0.75  # ended rows leave when at most this share of a batch goes on


@dataclass
class Beside:
    """Images that stand beside prompts.

    Attributes:
        media: the images.
        prefixes: the image that each position of a prefix sees [L], -1 none.
        rests: the same of what each row reads after it.
    """

    media: Media
    prefixes: list[Tensor]
    rests: list[Tensor] | None = None

    def of(self, prefixes: list[int], rows: list[int]) -> Beside:
        """For some prefixes and some rows, with the images that they see alone."""
        parts = [self.prefixes[i] for i in prefixes] + ([] if self.rests is None else [self.rests[i] for i in rows])
        seen = torch.cat(parts)
        image_I, which = torch.unique(seen[seen >= 0], return_inverse=True)
        index = torch.full_like(seen, -1).masked_scatter(seen >= 0, which)
        split = list(index.split([len(part) for part in parts]))
        rests = None if self.rests is None else split[len(prefixes) :]
        return Beside(self.media.only(image_I), split[: len(prefixes)], rests)


@dataclass
class Prompts:
    """What is read before each row is written, as embeddings.

    Attributes:
        prefixes: what rows begin with, each [L, W]; read once, however many rows begin with it.
        prefix_of: the prefix of each row.
        rests: what each row reads after it, [L, W], at least one position; None: nothing, for all rows.
        beside: images that stand beside them; None: none do.
    """

    prefixes: list[Tensor]
    prefix_of: list[int]
    rests: list[Tensor] | None = None
    beside: Beside | None = None

    @classmethod
    def whole(cls, rows: list[Tensor]) -> Prompts:
        """Prompts that share nothing."""
        return cls(rows, list(range(len(rows))))

    @classmethod
    def sharing(cls, rows: list[Tensor]) -> Prompts:
        """Prompts [L, W] of which some begin with the same embeddings, bit for bit, e.g. with the same image."""
        if min(map(len, rows), default=0) < 2:
            return cls.whole(rows)
        groups: dict[bytes, list[int]] = {}
        for number, row in enumerate(rows):
            beginning = row[:ALIKE].detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
            groups.setdefault(beginning, []).append(number)
        found = cls([], [0] * len(rows), [])
        assert found.rests is not None
        lengths = [0] * len(rows)
        for members in groups.values():
            first, end = rows[members[0]], min(len(rows[number]) for number in members) - 1
            for number in members[1:]:
                same_L = (rows[number][:end] == first[:end]).all(1)
                end = end if bool(same_L.all()) else int(same_L.int().argmin())
            for number in members:
                found.prefix_of[number], lengths[number] = len(found.prefixes), end
            found.prefixes.append(first[:end])
        found.rests += [row[length:] for row, length in zip(rows, lengths, strict=True)]
        return found if len(groups) < len(rows) else cls.whole(rows)

    def batches(self, beams: int) -> list[list[int]]:
        """Rows of similar length, those with a common prefix together."""
        rest = [len(row) for row in self.rests] if self.rests is not None else [0] * len(self.prefix_of)
        length = [len(prefix) for prefix in self.prefixes]
        order = sorted(range(len(rest)), key=lambda i: (length[self.prefix_of[i]], self.prefix_of[i], rest[i]))
        longest = max((length[p] + q for p, q in zip(self.prefix_of, rest, strict=True)), default=1)
        size = max(1, min(ROWS, BATCH // beams, MASK // longest**2))
        return [order[first : first + size] for first in range(0, len(order), size)]


@torch.no_grad()
def write_ids(
    llm: PreTrainedModel,
    prompts: Prompts,
    settings: TextSettings,
    eos: int,
    forbidden: tuple[slice | int, ...] = (),
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    """Ids after each prompt, without the end mark.

    Args:
        llm: the LLM; with attention that takes masks ("sdpa" or "eager").
        prompts: what it reads.
        settings: beams, lengths, sampling.
        eos: the end mark.
        forbidden: ids that are never written.
        generator: of sampling, on the CPU; None: a new one from ``settings.seed``. Draws belong to rows: how they are
            batched does not move them.
    """
    rows = len(prompts.prefix_of)
    chance_RT = None
    if settings.temperature > 0:
        generator = generator or torch.Generator().manual_seed(settings.seed)
        chance_RT = torch.rand(rows, settings.max_new, generator=generator)
    written: list[list[int]] = [[] for _ in range(rows)]
    for chosen in prompts.batches(settings.beams):
        reader, hidden_BW = _read_prompts(llm, prompts, chosen, settings)
        common = (len(chosen), settings, eos, forbidden, hidden_BW.device)
        search: Search
        if settings.beams > 1:
            search = BeamSearch(*common)
        else:
            chance_BT = None if chance_RT is None else chance_RT[chosen].to(hidden_BW.device)
            search = Greedy(chance_BT, *common)
        _write(reader, hidden_BW, search, settings.beams)
        for row, ids in zip(chosen, search.written(), strict=True):
            written[row] = ids[: ids.index(eos)] if eos in ids else ids
    return written


class Reader:
    """Rows of a batch in the LLM's cache.

    Attributes:
        seen_BS: which slots hold something and not padding.
        image_B: the image beside each row that its last position sees, -1 none.
    """

    def __init__(self, llm: PreTrainedModel, capacity: int, rows: int, media: Media | None = None):
        self.llm, self.cache, self.media = llm, SlotCache(capacity), media
        self.seen_BS = torch.zeros(rows, 0, dtype=torch.bool, device=llm.device)
        self.image_B = torch.full((rows,), -1, device=llm.device)

    def read(self, blocks: list[Tensor], images: list[Tensor] | None = None) -> Tensor:
        """Read a block [L, W] a row, and give the hidden state at its end [B, W].

        Args:
            blocks: embeddings.
            images: the image that each position of a block sees [L]; None: no position sees any.
        """
        x_BLW, real_BL = pad_left(blocks)
        new = x_BLW.shape[1]
        self.seen_BS = torch.cat([self.seen_BS, real_BL], 1)
        slots = self.seen_BS.shape[1]
        positions_BL = (self.seen_BS.cumsum(1) - 1).clamp_min(0)[:, -new:]
        causal_LS = torch.ones(new, slots, dtype=torch.bool, device=x_BLW.device).tril(slots - new)
        bias_BLS = _bias(self.seen_BS[:, None] & causal_LS, x_BLW.dtype)
        image_BL = None
        if images is not None:
            image_BL = pad_left([image_L + 1 for image_L in images])[0] - 1
            self.image_B = image_BL[:, -1]
        return self.forward(x_BLW, positions_BL, bias_BLS, image_BL)[:, -1]

    def forward(self, x_BLW: Tensor, positions_BL: Tensor, bias_BLS: Tensor, image_BL: Tensor | None = None) -> Tensor:
        """Hidden states of new positions [B, L, W].

        Args:
            x_BLW: their embeddings.
            positions_BL: where they stand.
            bias_BLS: what is added to how much they look at each slot.
            image_BL: the image beside the sequence that each of them sees; None: what the row's last position saw.
        """
        passes: Any = access.body(self.llm)
        if image_BL is None:
            image_BL = self.image_B[:, None].expand(-1, x_BLW.shape[1])
        with looking(self.media, image_BL):
            out = passes(
                inputs_embeds=x_BLW,
                attention_mask=bias_BLS[:, None],
                position_ids=positions_BL,
                past_key_values=self.cache,
                use_cache=True,
            )
        self.cache.used += x_BLW.shape[1]
        return out.last_hidden_state

    def take(self, rows: Tensor, capacity: int | None = None) -> None:
        """Go on with the given rows, each as often as it is named."""
        self.cache, self.seen_BS = self.cache.take(rows, capacity), self.seen_BS[rows]
        self.image_B = self.image_B[rows]


def _bias(seen: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)


def _read_prompts(
    llm: PreTrainedModel, prompts: Prompts, chosen: list[int], settings: TextSettings
) -> tuple[Reader, Tensor]:
    """Rows that have read their prompts, with free slots for what they will write; hidden states [B, W]."""
    prefix_of = [prompts.prefix_of[row] for row in chosen]
    distinct = list(dict.fromkeys(prefix_of))
    prefixes = [prompts.prefixes[number] for number in distinct]
    free = settings.beams * (settings.max_new - 1)
    longest = max(map(len, prefixes))
    shared = len(distinct) < len(chosen) or prompts.rests is not None
    beside = None if prompts.beside is None else prompts.beside.of(distinct, chosen)
    media = None if beside is None else beside.media
    reader = Reader(llm, longest + (0 if shared else free), len(prefixes), media)
    hidden_BW = reader.read(prefixes, None if beside is None else beside.prefixes)
    if not shared:
        return reader, hidden_BW
    place = {number: place for place, number in enumerate(distinct)}
    rows = torch.tensor([place[number] for number in prefix_of], device=hidden_BW.device)
    rests = [] if prompts.rests is None else [prompts.rests[row] for row in chosen]
    reader.take(rows, longest + max(map(len, rests), default=0) + free)
    if not rests:
        return reader, hidden_BW[rows]
    return reader, reader.read(rests, None if beside is None else beside.rests)


def _write(reader: Reader, hidden_BW: Tensor, search: Search, beams: int) -> None:
    """Let a search write until all its rows have ended."""
    llm, cache = reader.llm, reader.cache
    embed = llm.get_input_embeddings()
    position_BK = reader.seen_BS.sum(1, keepdim=True).expand(-1, beams)
    closed = torch.finfo(hidden_BW.dtype).min
    bias_BKS = torch.full((len(hidden_BW), beams, cache.capacity), closed, dtype=hidden_BW.dtype, device=llm.device)
    bias_BKS[:, :, : cache.used] = _bias(reader.seen_BS, hidden_BW.dtype)[:, None]
    own = torch.arange(beams, device=llm.device)
    scores_BKV = access.text_logits(llm, hidden_BW).float()[:, None].expand(-1, beams, -1)
    while True:
        ids_BK, parent_BK = search.advance(scores_BKV)
        if parent_BK is not None:
            bias_BKS = bias_BKS.gather(1, parent_BK[:, :, None].expand(-1, -1, bias_BKS.shape[-1]))
        going = (~search.done_B).nonzero()[:, 0]
        if len(going) == 0:
            return
        if len(going) <= LEAVE * len(ids_BK):
            search.keep(going)
            reader.take(going)
            ids_BK, position_BK, bias_BKS = ids_BK[going], position_BK[going], bias_BKS[going]
        used = reader.cache.used
        bias_BKS[:, own, used + own] = 0
        hidden_BKW = reader.forward(embed(ids_BK), position_BK, bias_BKS[:, :, : used + beams])
        position_BK = position_BK + 1
        scores_BKV = access.text_logits(llm, hidden_BKW).float()
