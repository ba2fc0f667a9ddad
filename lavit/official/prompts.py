"""Prompts of texts and images as input embeddings of the released LLM, padded on the left.

For an image alone, and for an image with a question, this gives what :mod:`lavit.official.inputs` gives.

Shapes: B prompts, S positions of the longest, D width of the LLM, K rows of an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lavit.official.inputs import Inputs
from lavit.official.llm import VocabularyMap
from lavit.official.precision import in_own_type
from lavit.official.understanding import EOS

Piece = list[int] | Tensor
"""Text ids, or the merged features [K, C] of an image that is read."""


class PromptReader:
    """Turns pieces into embeddings.

    Args:
        embedding: the LLM's table.
        projector: of merged features to the LLM's width.
        vocabulary: which id means what.
    """

    def __init__(self, embedding: nn.Embedding, projector: nn.Linear, vocabulary: VocabularyMap):
        self.embedding, self.projector, self.vocabulary = embedding, projector, vocabulary
        self.device = embedding.weight.device

    def length(self, pieces: Sequence[Piece]) -> int:
        """Positions of a prompt: an image takes two more than it has rows."""
        return sum(len(piece) + (2 if isinstance(piece, Tensor) else 0) for piece in pieces)

    def read(self, prompts: Sequence[Sequence[Piece]]) -> Inputs:
        """The embeddings of a batch of prompts, none of them empty."""
        longest = max(self.length(pieces) for pieces in prompts)
        padding_D = self.ids([EOS])[0]
        embeds_BSD = padding_D.expand(len(prompts), longest, -1).clone()
        mask_BS = torch.zeros(len(prompts), longest, dtype=torch.long, device=self.device)
        for row, pieces in enumerate(prompts):
            written = torch.cat([self.image(p) if isinstance(p, Tensor) else self.ids(p) for p in pieces])
            embeds_BSD[row, longest - len(written) :] = written
            mask_BS[row, longest - len(written) :] = 1
        return Inputs(embeds_BSD, mask_BS)

    def ids(self, ids: Sequence[int]) -> Tensor:
        """Embeddings [n, D] of ids."""
        return self.embedding(torch.tensor(list(ids), dtype=torch.long, device=self.device))

    def image(self, merged_KC: Tensor) -> Tensor:
        """Embeddings [K + 2, D] of an image between its marks."""
        marks = self.ids([self.vocabulary.image_start, self.vocabulary.image_end])
        return torch.cat([marks[:1], self.project(merged_KC), marks[1:]])

    def project(self, merged_KC: Tensor) -> Tensor:
        """Rows [K, D] of an image as the LLM reads them."""
        with in_own_type(self.projector, self.device):
            rows_KD = self.projector(merged_KC.to(self.device))
        return rows_KD.to(self.embedding.weight.dtype)
