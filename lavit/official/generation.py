"""Images from an LLM whose one vocabulary holds text ids, two image marks and visual codes, as LaVIT has it.

Ids: text from 0, then the mark that starts an image, the mark that ends it, then the codes. The model ends an image by
itself, by the end mark. Guidance runs every image twice in one batch with one cache. The published order of steps
is kept: guidance, shortest length, forbidden ids, temperature, top-k, top-p (LaVIT, section 4; its released code).

Shapes: P prompts, G drawings (and as many rows again without their prompts, where they are guided), T positions,
W width, A ids that are scored.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache, LlamaForCausalLM

from lavit.errors import LavitError
from lavit.model.sampling import draw, forbid, guide

EOS = 2  # of Llama's text vocabulary; it pads as well
CONTROL = 3  # ids below are no text: they may be written, mean nothing, and are dropped


class ImageWriter:
    """A batch of images that are being written: its cache, and the scores of each image's next id.

    Guidance is taken between log-softmaxes over all ids, after which text is forbidden. Both log-softmaxes differ
    from the plain logits by one number a row, which the last softmax, over what is allowed, takes out again. So the
    head need not be computed for text at all, and no id need be masked: that is ``full`` False, the same
    distribution. ``full`` True is the published way, for comparison.

    Args:
        llm: the LLM with the extended vocabulary.
        prompts: ids that end with ``image_start``; padded on the left.
        image_start: the first id that is no text, and all that the unconditional half is told.
        image_end: the id that ends an image.
        guidance: scale of classifier-free guidance; 1: the batch has no unconditional half.
        copies: drawings of each prompt; prompts are read once.
        full: score every id.

    Raises:
        LavitError: the LLM's head is not one table.
    """

    def __init__(
        self,
        llm: LlamaForCausalLM,
        prompts: Sequence[Sequence[int]],
        image_start: int,
        image_end: int,
        guidance: float,
        copies: int = 1,
        full: bool = False,
    ):
        head = llm.get_output_embeddings()
        if not isinstance(head, nn.Linear):
            raise LavitError("the LLM's head is split into text and new rows", "join the tables to draw")
        self.llm, self.image_start, self.image_end, self.guidance = llm, image_start, image_end, guidance
        self.skipped = 0 if full else image_start - CONTROL  # ids without a column, all of them text
        self.head_AW = head.weight if full else torch.cat([head.weight[:CONTROL], head.weight[image_start:]])
        guided = guidance != 1
        ids_PT, self.mask_GT = pad_left([*prompts, *([[image_start]] * len(prompts) * guided)], EOS, llm.device)
        position_PT = (self.mask_GT.cumsum(-1) - 1).clamp_min(0)
        self.cache = DynamicCache(config=llm.config)
        self.hidden_GW = self._forward(ids_PT, position_PT)
        self.position_G = position_PT[:, -1]
        self.halves = 2 if guided else 1
        if copies > 1:
            self.cache.batch_repeat_interleave(copies)
            self.hidden_GW, self.mask_GT, self.position_G = (
                x.repeat_interleave(copies, 0) for x in (self.hidden_GW, self.mask_GT, self.position_G)
            )

    def _forward(self, ids_GT: Tensor, position_GT: Tensor) -> Tensor:
        return self.llm.model(
            input_ids=ids_GT,
            attention_mask=self.mask_GT,
            position_ids=position_GT,
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state[:, -1]

    def scores(self, may_end: bool = True) -> Tensor:
        """Guided scores of the next id [G, A], what is forbidden at minus infinity."""
        scores_GA = F.linear(self.hidden_GW, self.head_AW).float()
        if self.halves == 2:
            prompted_GA, unprompted_GA = scores_GA.chunk(2)
            scores_GA = guide(prompted_GA, unprompted_GA, self.guidance)
        if not may_end:
            forbid(scores_GA, self.image_end - self.skipped)
        return scores_GA if self.skipped else forbid(scores_GA, slice(CONTROL, self.image_start))

    def ids(self, columns_G: Tensor) -> Tensor:
        """Ids of columns of the scores."""
        return torch.where(columns_G < CONTROL, columns_G, columns_G + self.skipped)

    def step(self, ids_G: Tensor) -> None:
        """Go on after one more id an image; both halves of a guided batch get the same."""
        self.mask_GT = F.pad(self.mask_GT, (0, 1), value=1)
        self.position_G = self.position_G + 1
        self.hidden_GW = self._forward(ids_G.repeat(self.halves)[:, None], self.position_G[:, None])


@torch.no_grad()
def generate_image_ids(
    llm: LlamaForCausalLM,
    prompts: Sequence[Sequence[int]],
    *,
    image_start: int,
    image_end: int,
    first_code: int,
    min_new: int = 20,
    max_new: int = 200,
    guidance: float = 4.0,
    temperature: float = 1.0,
    top_k: int | None = 50,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
    num_return: int = 1,
    full_head: bool = False,
) -> list[Tensor]:
    """Codes of the images that the model draws after each prompt.

    Prompts are padded on the left with the end-of-text id; none begins with a mark of its own, as published. The
    unconditional half of the batch goes on from the image's start mark alone.

    Args:
        llm: the LLM, its vocabulary extended by marks and codes.
        prompts: ids that end with ``image_start``, see :func:`build_image_prompt`.
        image_start, image_end: ids of the marks; text ids lie below them.
        first_code: id of code 0; codes are the rest of the vocabulary.
        min_new: ids before which an image may not end.
        max_new: ids after which it is taken as it is, ended or not.
        guidance: 4.0 for texts, 5.0 for multimodal prompts and 1.5 in the evaluation are published; 1: none.
        temperature: 0 takes the likeliest id at every step.
        top_k, top_p: see :func:`lavit.model.sampling.draw`.
        generator: where draws come from.
        num_return: drawings of each prompt; the prompt is read once.
        full_head: score text ids too, only to forbid them: the published way, see :class:`ImageWriter`.

    Returns:
        Codes from 0, one tensor a drawing, those of a prompt next to each other. Ids below ``first_code`` that were
        written are left out, so that an image may hold fewer than ``min_new`` codes.

    Raises:
        LavitError: a prompt does not end with ``image_start``, or lengths that exclude each other.
    """
    if not 0 <= min_new <= max_new or max_new < 1:
        raise LavitError(f"min_new is {min_new}, max_new is {max_new}", "give 0 <= min_new <= max_new")
    for place, prompt in enumerate(prompts):
        if not prompt or prompt[-1] != image_start:
            raise LavitError(f"prompt {place} does not end with id {image_start}", "write it with build_image_prompt")
    writer = ImageWriter(llm, prompts, image_start, image_end, guidance, num_return, full_head)
    ended = torch.zeros(len(prompts) * num_return, dtype=torch.bool, device=llm.device)
    written: list[Tensor] = []
    while True:
        scores_GA = writer.scores(may_end=len(written) >= min_new)
        ids_G = writer.ids(draw(scores_GA, temperature, generator, top_k, top_p)).masked_fill(ended, EOS)
        written.append(ids_G)
        ended = ended | (ids_G == image_end)
        if len(written) == max_new or bool(ended.all()):
            return [ids[ids >= first_code] - first_code for ids in torch.stack(written, 1)]
        writer.step(ids_G)


def build_image_prompt(
    parts: Sequence[Sequence[int] | Tensor],
    *,
    image_start: int,
    image_end: int,
    first_code: int,
    wrap: bool = True,
) -> list[int]:
    """Ids of a prompt of texts and images, up to and with the mark that starts the image to be drawn.

    Args:
        parts: in order of reading: lists are text ids, tensors are the codes of an image, from 0.
        image_start, image_end, first_code: see :func:`generate_image_ids`.
        wrap: each image between its marks, as in training. The released code joins the bare codes: False does so too.

    Raises:
        LavitError: a text id that is none, or a negative code.
    """
    ids: list[int] = []
    for place, part in enumerate(parts):
        if isinstance(part, Tensor):
            if bool((part < 0).any()):
                raise LavitError(f"part {place} of a prompt holds the code {int(part.min())}", "codes start at 0")
            codes = (part + first_code).tolist()
            ids += [image_start, *codes, image_end] if wrap else codes
        else:
            if any(not 0 <= i < image_start for i in part):
                raise LavitError(
                    f"part {place} of a prompt is a list with ids outside 0 to {image_start - 1}",
                    "give text ids as a list, and the codes of an image as a tensor",
                )
            ids += part
    return [*ids, image_start]


def pad_left(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids of uneven rows, padded on the left, and 1 where an id is real: both int64 [rows, longest]."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, (torch.arange(width, device=device) >= width - lengths[:, None]).long()
