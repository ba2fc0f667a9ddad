"""Ragged rows: the kept (or dropped) patches of a batch as one packed sequence, without a loop over images.

Linear layers, norms and MLPs see packed rows only. Attention needs to know where an image ends: for it alone rows are
laid out as [B, longest, ...], which a fused attention kernel then reads with a mask of one number a key.

Shapes: B images, M places, R packed rows, K rows of the longest image, X anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class PackedRows:
    """Which row of a packed sequence belongs to which image.

    Attributes:
        slot_R: place of each row in the flattened [B, K] layout; the rows of an image fill the first ranks.
        count_B: rows of each image.
        longest: the largest count K (0 where there is no row at all).
        in_order: True where slots ascend.
    """

    slot_R: Tensor
    count_B: Tensor
    longest: int
    in_order: bool = True

    @property
    def even(self) -> bool:
        """True where every image has as many rows, so that nothing is padded."""
        return len(self.slot_R) == len(self.count_B) * self.longest

    @property
    def image_R(self) -> Tensor:
        """Image of each row."""
        return self.slot_R // max(1, self.longest)

    @property
    def rank_R(self) -> Tensor:
        """Rank of each row among those of its image."""
        return self.slot_R % max(1, self.longest)

    def mask_BK(self) -> Tensor:
        """True where the padded layout holds a row."""
        return torch.arange(self.longest, device=self.count_B.device) < self.count_B[:, None]

    def pad(self, rows_RX: Tensor) -> Tensor:
        """Rows as [B, K, ...], zero where there is none."""
        shape = (len(self.count_B), self.longest, *rows_RX.shape[1:])
        if self.even and self.in_order:
            return rows_RX.view(shape)
        padded = rows_RX.new_zeros((shape[0] * shape[1], *rows_RX.shape[1:]))
        return padded.index_copy(0, self.slot_R, rows_RX).view(shape)

    def unpad(self, padded_BKX: Tensor) -> Tensor:
        """The inverse of :meth:`pad`."""
        flat = padded_BKX.flatten(0, 1)
        return flat if self.even and self.in_order else flat.index_select(0, self.slot_R)


def pack_counts(count_B: Tensor) -> PackedRows:
    """Rows that lie image after image, ``count_B`` of each."""
    images = torch.arange(len(count_B), device=count_B.device)
    image_R = images.repeat_interleave(count_B)
    longest = int(count_B.max()) if len(count_B) else 0
    first_B = count_B.cumsum(0) - count_B
    rank_R = torch.arange(len(image_R), device=count_B.device) - first_B[image_R]
    return PackedRows(image_R * longest + rank_R, count_B, longest)


@dataclass
class Kept:
    """The kept and the dropped places of a batch, as packed rows.

    Attributes:
        kept_R: flat index b * M + m of each kept place, image after image, in raster order.
        dropped_S: the same of each dropped place.
        whole_W: images of which every place is kept.
        rows: layout of the kept rows.
        memory: layout of what kept rows read in cross-attention: the dropped rows, then one row for each whole image.
    """

    kept_R: Tensor
    dropped_S: Tensor
    whole_W: Tensor
    rows: PackedRows
    memory: PackedRows

    def take(self, features_BMX: Tensor) -> Tensor:
        """Kept rows [R, ...] of a batch."""
        return features_BMX.flatten(0, 1).index_select(0, self.kept_R)

    def take_memory(self, origin_BMC: Tensor) -> Tensor:
        """Rows [S + W, C] that cross-attention reads.

        An image that dropped nothing reads the mean of all its rows. Its key then does not matter, and averaging before
        the value projection is averaging the values, which is what LaVIT's softmax gives there.
        """
        dropped_SC = origin_BMC.flatten(0, 1).index_select(0, self.dropped_S)
        return torch.cat([dropped_SC, origin_BMC.index_select(0, self.whole_W).mean(1)])


def pack_kept(keep_BM: Tensor) -> Kept:
    """Split a batch by its decisions (above one half: kept)."""
    kept_BM = keep_BM > 0.5
    places = kept_BM.shape[1]
    kept_R, dropped_S = kept_BM.flatten().nonzero()[:, 0], (~kept_BM).flatten().nonzero()[:, 0]
    count_B = kept_BM.sum(1)
    dropped_B = places - count_B
    whole_W = (dropped_B == 0).nonzero()[:, 0]
    rows, dropped = pack_counts(count_B), pack_counts(dropped_B)
    if not len(whole_W):
        return Kept(kept_R, dropped_S, whole_W, rows, dropped)
    longest = max(1, dropped.longest)
    slot = torch.cat([dropped.image_R * longest + dropped.rank_R, whole_W * longest])
    memory = PackedRows(slot, dropped_B.clamp(min=1), longest, in_order=not len(dropped_S))
    return Kept(kept_R, dropped_S, whole_W, rows, memory)
