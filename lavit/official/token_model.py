"""The released LaVIT at the level of tokens: how likely a text is to it, and what lm-evaluation-harness asks of it.

Shapes: B rows, T positions, N scored positions of a row, V text ids, W width of the LLM.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lavit.model.padding import pad_left
from lavit.model.token_model import TokenModel
from lavit.official import encoded
from lavit.official.understanding import EOS
from lavit.sequences import Sequence as Row

if TYPE_CHECKING:
    from lavit.official.model import OfficialModel


class ReleasedTokens(TokenModel):
    """Images enter as projected features between their two marks. No id is put before a text, as published, save where
    the first one has to be predicted from something: that is Llama's mark of a beginning."""

    def __init__(self, model: OfficialModel):
        self.model, self.llm = model, model.llm
        self.max_length = int(model.llm.config.max_position_embeddings)
        begins = model.words.bos_token_id
        self.prefix, self.eos = EOS if begins is None else int(begins), EOS
        self.image_size, self.text_size = model.image_size, model.vocabulary.text_size

    def encode(self, text: str, special: bool = True) -> list[int]:
        """See the base class; no marks, whatever ``special`` says."""
        ids: list[int] = self.model.words(text, add_special_tokens=False).input_ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """See the base class."""
        return str(self.model.words.decode(ids, skip_special_tokens=True))

    def look(self, images: list[np.ndarray]) -> Any:
        """See the base class."""
        sized = [encoded.squash(image[None], self.model.image_size)[0] for image in images]
        return self.model.encode(np.stack(sized)) if sized else None

    def show(self, row: Row, index: int, visual: Any) -> None:
        """See the base class."""
        row.text([self.model.vocabulary.image_start])
        if index >= 0:
            first, end = (int(place) for place in visual.offsets[index : index + 2])
            row.enters.append((len(row.ids), first, end - first))
            row.text([EOS] * (end - first))
        row.text([self.model.vocabulary.image_end])

    def logits(self, rows: list[Row], counts: list[int], visual: Any) -> list[Tensor]:
        """See the base class; padded on the right, where a causal model does not look."""
        embeds_BTW = pad_sequence([self._embed(row, visual) for row in rows], batch_first=True)
        hidden_BTW = self.llm.model(inputs_embeds=embeds_BTW, use_cache=False).last_hidden_state
        ends = zip(rows, counts, strict=True)
        at = [hidden_BTW[b, len(row.ids) - count : len(row.ids)] for b, (row, count) in enumerate(ends)]
        scores = self.llm.lm_head(torch.cat(at))[:, : self.model.vocabulary.text_size].float()
        return list(scores.split(counts))

    def generation_inputs(self, rows: list[Row], visual: Any) -> dict[str, Tensor]:
        """See the base class."""
        embeds_BTW, real_BT = pad_left([self._embed(row, visual) for row in rows])
        return {"inputs_embeds": embeds_BTW, "attention_mask": real_BT.long()}

    def _embed(self, row: Row, visual: Any) -> Tensor:
        """Input embeddings [T, W] of a row."""
        embeds_TW = self.model.reader.ids(row.ids)
        for position, first, count in row.enters:
            image_KW = self.model.reader.project(visual.merged_RC[first : first + count])
            embeds_TW = embeds_TW.index_copy(0, torch.arange(position, position + count).to(image_KW.device), image_KW)
        return embeds_TW
