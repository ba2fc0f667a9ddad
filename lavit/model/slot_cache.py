"""Keys and values of a batch, in slots that are allocated once.

transformers' own cache copies everything that it holds at every step and needs the prompt once for every beam. Here a
step writes into free slots, and all beams of a row share one run of slots: the attention mask says which of them are a
beam's own past.

Shapes: B rows, H heads of keys, L new positions, S slots, D width of a head.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor


class SlotCache:
    """Stands in for transformers' ``Cache`` in a forward pass whose attention mask is given in full (four axes).

    Args:
        capacity: number of slots S.

    Attributes:
        used: slots that are filled. Whoever runs the model adds the new positions after each pass.
    """

    def __init__(self, capacity: int):
        self.capacity, self.used = capacity, 0
        self.layers: list[tuple[Tensor, Tensor]] = []

    def update(self, keys_BHLD: Tensor, values_BHLD: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write a layer's new positions and return all of it."""
        if layer == len(self.layers):
            self.layers.append((self._slots(keys_BHLD), self._slots(values_BHLD)))
        end = self.used + keys_BHLD.shape[2]
        keys, values = self.layers[layer]
        keys[:, :, self.used : end] = keys_BHLD
        values[:, :, self.used : end] = values_BHLD
        return keys[:, :, :end], values[:, :, :end]

    def take(self, rows: Tensor, capacity: int | None = None) -> SlotCache:
        """A cache with the given rows of this one, each as often as it is named; its slots may be more."""
        taken = SlotCache(capacity or self.capacity)
        taken.used = self.used
        for keys, values in self.layers:
            filled = [old[:, :, : self.used].index_select(0, rows) for old in (keys, values)]
            taken.layers.append((taken._slots(filled[0]), taken._slots(filled[1])))
            for new, old in zip(taken.layers[-1], filled, strict=True):
                new[:, :, : self.used] = old
        return taken

    def _slots(self, like_BHLD: Tensor) -> Tensor:
        batch, heads, _, width = like_BHLD.shape
        return like_BHLD.new_empty(batch, heads, self.capacity, width)
