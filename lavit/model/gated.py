"""Gated cross-attention (Flamingo, Alayrac et al. 2022, section 2.2): images beside the sequence, and blocks that look
at them between the layers of a language model.

Each position sees one image at most: the last one that its own sequence has shown before it. What sees none attends to
nothing and gets exactly zero, not a uniform mean. Blocks begin with closed gates, so that a model begins as its
language model, bit for bit.

Shapes: B rows, T positions, W width, I images, S embeddings of an image, N positions that see one, P the most of them
that see the same, H heads, D width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError


class GatedBlock(nn.Module):
    """``y += tanh(a) * attention(norm(y), images)``, then ``y += tanh(b) * feed(norm(y))``, with a = b = 0 at first.

    As in OpenFlamingo: images are not normalised again, matrices have no biases.

    Args:
        width: of the language model.
        heads: of the cross-attention.
        head_width: of each of them.
        ratio: hidden width of the feed-forward part in units of ``width``.
        media_width: of the images' embeddings; None: ``width``.
    """

    def __init__(self, width: int, heads: int, head_width: int, ratio: float = 4.0, media_width: int | None = None):
        super().__init__()
        inner, hidden = heads * head_width, round(ratio * width)
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, inner, bias=False)
        self.key = nn.Linear(media_width or width, inner, bias=False)
        self.value = nn.Linear(media_width or width, inner, bias=False)
        self.out = nn.Linear(inner, width, bias=False)
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden, bias=False), nn.GELU(), nn.Linear(hidden, width, bias=False)
        )
        # Of one entry, not of none: sharded training cannot split scalars.
        self.attention_gate, self.feed_gate = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def forward(self, y_BTW: Tensor, view: View | None) -> Tensor:
        """Hidden states after the block [B, T, W]; ``view`` says which image each position sees (None: no image)."""
        groups = None if view is None else view.groups(*y_BTW.shape[:2])
        if view is not None and groups is not None:
            y_XW, (at_N, slot_N, at_IP) = y_BTW.flatten(0, 1), groups
            found_IPW = self.attend(y_XW[at_IP], *view.media.read(self), view.media.mask_IS)
            found_NW = found_IPW.flatten(0, 1)[slot_N] * self.attention_gate.tanh()
            y_BTW = y_XW.index_add(0, at_N, found_NW.to(y_XW.dtype)).view_as(y_BTW)
        return y_BTW + self.feed(y_BTW) * self.feed_gate.tanh()

    def attend(self, y_IPW: Tensor, keys_IHSD: Tensor, values_IHSD: Tensor, mask_IS: Tensor | None) -> Tensor:
        """What positions, grouped by the image that they see, find in it [I, P, W]."""
        queries_IHPD = self._split(self.query(self.norm(y_IPW)))
        mask = None if mask_IS is None else mask_IS[:, None, None]
        found_IHPD = F.scaled_dot_product_attention(queries_IHPD, keys_IHSD, values_IHSD, attn_mask=mask)
        return self.out(found_IHPD.transpose(1, 2).flatten(2))

    def project(self, media_ISW: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of images [I, H, S, D]."""
        return self._split(self.key(media_ISW)), self._split(self.value(media_ISW))

    def _split(self, x_ITX: Tensor) -> Tensor:
        return x_ITX.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Gates(nn.ModuleList):
    """The gated blocks of a language model, one before every n-th of its layers.

    Args:
        width: of the language model.
        layers: how many it has.
        llm_heads: heads of its own attention.
        every: n; blocks stand before the layers n, 2 n and so on, counted from one.
        heads: of the cross-attention; None: ``llm_heads``.
        head_width: None: ``width`` over ``llm_heads``.
        ratio: see :class:`GatedBlock`.

    Attributes:
        sight: what all blocks look at now; empty outside of :meth:`Media.seen_by`, and then they see no image.

    Raises:
        LavitError: the language model has fewer layers than ``every``.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        llm_heads: int,
        every: int,
        heads: int | None = None,
        head_width: int | None = None,
        ratio: float = 4.0,
    ):
        if not 1 <= every <= layers:
            raise LavitError(
                f"entry.gates.every={every}: the language model has {layers} layers, so there would be no gated block",
                f"set entry.gates.every to a number from 1 to {layers}",
            )
        at = range(every - 1, layers, every)
        shape = (heads or llm_heads, head_width or width // llm_heads)
        super().__init__(GatedBlock(width, *shape, ratio) for _ in at)
        #: Indices of the layers that blocks stand before, from zero.
        self.at = list(at)
        self.sight = Sight()

    def attach(self, layers: nn.ModuleList) -> None:
        """Put the blocks before their layers. The layers and the names of their weights stay as they are."""
        for block, index in zip(self, self.at, strict=True):
            assert isinstance(block, GatedBlock)
            layers[index].register_forward_pre_hook(_Before(block, self.sight), with_kwargs=True)

    def multiplications(self, positions: float, looking: float, media: float, pairs: float) -> tuple[float, float]:
        """Multiplications of a forward pass: those with weights, and those of scores and weighted sums.

        Args:
            positions: that pass the blocks.
            looking: those of them that see an image.
            media: embeddings of all images that are seen.
            pairs: of a position and an embedding that it sees.
        """
        weights = scores = 0.0
        for block in self:
            assert isinstance(block, GatedBlock)
            weights += positions * sum(p.numel() for p in block.feed.parameters() if p.ndim > 1)
            weights += looking * (block.query.weight.numel() + block.out.weight.numel())
            weights += media * (block.key.weight.numel() + block.value.weight.numel())
            scores += pairs * 2 * block.query.out_features
        return weights, scores


class Sight:
    """What the blocks of a model look at in the forward pass that runs."""

    view: View | None = None


class _Before:
    """Runs a block before a layer of the language model; a class, so that copies of a model look for themselves."""

    def __init__(self, block: GatedBlock, sight: Sight):
        self.block, self.sight = block, sight

    def __call__(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if args:
            return (self._look(args[0]), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": self._look(kwargs["hidden_states"])}

    def _look(self, hidden_BTW: Tensor) -> Tensor:
        """The block in its own precision: the language model's may be lower."""
        own = next(self.block.parameters()).dtype
        seen_BTW: Tensor = self.block(hidden_BTW.to(own), self.sight.view)
        return seen_BTW.to(hidden_BTW.dtype)


class Media:
    """Images as they stand beside sequences. Their keys and values are made once, for all passes that look at them.

    Args:
        gates: the blocks that look.
        embeddings_ISW: their embeddings.
        mask_IS: which of them are real; None: all.
    """

    def __init__(self, gates: Gates, embeddings_ISW: Tensor, mask_IS: Tensor | None):
        self.gates, self.embeddings_ISW, self.mask_IS = gates, embeddings_ISW, mask_IS
        self._read: dict[GatedBlock, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.embeddings_ISW)

    def read(self, block: GatedBlock) -> tuple[Tensor, Tensor]:
        """Keys and values that a block looks at."""
        if block not in self._read:
            self._read[block] = block.project(self.embeddings_ISW)
        return self._read[block]

    def only(self, images: Tensor) -> Media:
        """Some of these images, in that order."""
        mask_IS = None if self.mask_IS is None else self.mask_IS[images]
        return Media(self.gates, self.embeddings_ISW[images], mask_IS)

    @contextmanager
    def seen_by(self, seen_BT: Tensor) -> Iterator[None]:
        """Let the passes inside see these images: ``seen_BT`` is the one that each position sees, -1 none."""
        sight = self.gates.sight
        before, sight.view = sight.view, View(self, seen_BT)
        try:
            yield
        finally:
            sight.view = before


def looking(media: Media | None, seen_BT: Tensor) -> AbstractContextManager[None]:
    """:meth:`Media.seen_by`, or nothing to see where there are no images."""
    return nullcontext() if media is None else media.seen_by(seen_BT)


class View:
    """Which image each position of a pass sees.

    Args:
        media: the images.
        seen_BT: the number of the image that each position sees, -1 none. Passes that go on from there, each row as
            often as there are beams, see what the last position of their row saw.
    """

    def __init__(self, media: Media, seen_BT: Tensor):
        self.media, self.seen_BT = media, seen_BT
        self._groups: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor] | None] = {}

    def groups(self, rows: int, length: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """Positions of a pass by the image that they see; None where no position sees any.

        Returns:
            The flat positions that see one [N], the place of each in the groups [N], and the flat positions of each
            image's group, filled up with the first of all [I, P].
        """
        if (rows, length) not in self._groups:
            self._groups[rows, length] = self._grouped(rows, length)
        return self._groups[rows, length]

    def _grouped(self, rows: int, length: int) -> tuple[Tensor, Tensor, Tensor] | None:
        seen_BT = self.seen_BT
        if length != seen_BT.shape[1]:
            seen_BT = seen_BT[:, -1:].expand(-1, length)
        if rows != len(seen_BT):
            seen_BT = seen_BT.repeat_interleave(rows // len(seen_BT), 0)
        seen_X = seen_BT.flatten()
        at_N = (seen_X >= 0).nonzero()[:, 0]
        if len(at_N) == 0:
            return None
        at_N = at_N[seen_X[at_N].argsort(stable=True)]
        image_N = seen_X[at_N]
        count_I = image_N.bincount(minlength=len(self.media))
        most = int(count_I.max())
        first_I = count_I.cumsum(0) - count_I
        slot_N = image_N * most + torch.arange(len(at_N), device=at_N.device) - first_I[image_N]
        at_IP = torch.zeros(len(count_I) * most, dtype=torch.long, device=at_N.device).index_copy(0, slot_N, at_N)
        return at_N, slot_N, at_IP.view(-1, most)
