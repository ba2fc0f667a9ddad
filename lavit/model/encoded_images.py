"""Images after the visual tokenizer, ready to enter an arm's LLM: the arm's side of the protocol's ``Visual``."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from lavit.sequences import VisualStore
from lavit.tokenizer.tokens import VisualTokens


class EncodedImages:
    """Visual tokens of a set of images, as rows of a store."""

    def __init__(self, store: VisualStore, index: np.ndarray):
        self.store, self.index = store, index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: np.ndarray) -> EncodedImages:
        return EncodedImages(self.store, self.index[index])

    @property
    def tokens_B(self) -> np.ndarray:
        """Embeddings that each image is read as, in the sequence or beside it."""
        return self.store.tokens_of(torch.from_numpy(self.index)).numpy()

    def entering(self) -> list[tuple[int, int]]:
        """First row and count of each image as it is read, see :meth:`VisualStore.entering`."""
        return [self.store.entering(int(i)) for i in self.index]

    def written(self) -> list[tuple[int, int]]:
        """First row and count of each image as it is written, see :meth:`VisualStore.written`."""
        return [self.store.written(int(i)) for i in self.index]

    def rows(self) -> list[tuple[int, int]]:
        """First row and count of each image's visual tokens."""
        return [self.store.rows(int(i)) for i in self.index]


def pack(
    batches: list[VisualTokens], slots: int | None = None, beside: bool = False, writes_slots: bool = False
) -> EncodedImages:
    """Visual tokens of batches of images, one after the other.

    Args:
        batches: what the tokenizer gave.
        slots, beside, writes_slots: see :class:`lavit.sequences.VisualStore`.
    """
    masks = [tokens.mask_BK for tokens in batches]
    each = list(zip(batches, masks, strict=True))
    offsets = F.pad(torch.cat([mask.sum(1) for mask in masks]).cumsum(0), (1, 0)).cpu()
    store = VisualStore(
        # Arms were trained on half-precision rows; evaluate on the same.
        torch.cat([tokens.features_BKC[mask].half() for tokens, mask in each]),
        torch.cat([tokens.vectors_BKD[mask].half() for tokens, mask in each]),
        torch.cat([tokens.codes_BK[mask] for tokens, mask in each]),
        torch.cat([tokens.places_BK[mask] for tokens, mask in each]),
        offsets,
    )
    store.slots, store.beside, store.writes_slots = slots, beside, writes_slots
    return EncodedImages(store, np.arange(len(store)))
