"""Packed rows: several sequences (here: documents) one behind another, so that little of a batch is padding.

A document never sees another one: attention is causal within each (:func:`attention_mask`), and positions begin anew
with each. A row is a :class:`Sequence` that knows the lengths of its documents, so whatever cuts sequences into
batches cuts rows.

Shapes: B rows, T positions.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from lavit.errors import LavitError
from lavit.sequences.assembly import Sequence, buckets


def fit_rows(lengths: Iterable[int], capacity: int) -> list[list[int]]:
    """Which documents share a row: best fit, the longest first (best-fit decreasing).

    Each document goes into the fullest row that still has room for it. A document longer than ``capacity`` has a row
    of its own. Equal lengths give equal rows, whatever else has been packed before.

    Args:
        lengths: of the documents.
        capacity: positions of a row.

    Returns:
        For each row the indices of its documents, ascending; rows in the order in which they were opened.
    """
    lengths = list(lengths)
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (positions left, row), ascending
    for document in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        at = bisect.bisect_left(room, (lengths[document], -1))
        if at < len(room):
            left, row = room.pop(at)
            rows[row].append(document)
        else:
            left, row = capacity, len(rows)
            rows.append([document])
        bisect.insort(room, (left - lengths[document], row))
    return [sorted(row) for row in rows]


def join(documents: Iterable[Sequence]) -> Sequence:
    """One row of several documents.

    The first position of each has no weight in the loss: nothing of the row may predict it.
    """
    row = Sequence()
    for document in documents:
        start = len(row.ids)
        row.ids += document.ids
        row.supervised += [0.0, *document.supervised[1:]]
        for images, own in (
            (row.enters, document.enters),
            (row.shown, document.shown),
            (row.generated, document.generated),
        ):
            images += [(start + at, first, count) for at, first, count in own]
        row.documents.append(len(document.ids))
    return row


def packed(sequences: list[Sequence], capacity: int, overhead: int) -> list[list[Sequence]]:
    """Batches of packed rows: one, unless documents longer than ``capacity`` make another worth its while.

    Args:
        sequences: of one step.
        capacity: positions of a row.
        overhead: see :func:`buckets`.
    """
    rows = fit_rows([len(sequence.ids) for sequence in sequences], capacity)
    return buckets([join(sequences[i] for i in row) for row in rows], overhead)


#: How a step's sequences become batches, by ``train.batching``.
BATCHING: dict[str, Callable[[list[Sequence], Mapping[str, Any]], list[list[Sequence]]]] = {
    "buckets": lambda sequences, train: buckets(sequences, int(train["bucket_overhead"])),
    "packed": lambda sequences, train: packed(sequences, int(train["row"]), int(train["bucket_overhead"])),
    "padded": lambda sequences, train: [sequences],
}


def batches(sequences: list[Sequence], train: Mapping[str, Any]) -> list[list[Sequence]]:
    """Cut a step's sequences into batches, as ``train.batching`` says; results differ by rounding alone.

    Args:
        sequences: of one step.
        train: ``batching`` (``buckets`` of similar length, ``packed`` rows, or all ``padded`` to the longest),
            ``bucket_overhead``, and ``row`` where they are packed.

    Raises:
        LavitError: another way of batching is asked for.
    """
    name = train["batching"]
    if name not in BATCHING:
        raise LavitError(f"train.batching={name!r} is unknown", f"choose of {', '.join(BATCHING)}")
    return BATCHING[name](sequences, train)


def attention_mask(document_BT: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the scores of packed rows [B, 1, T, T]: 0 within a document and not ahead, else -inf.

    Args:
        document_BT: number of the document that each position belongs to; padding counts as one.
        dtype: of the scores.
    """
    width = document_BT.shape[1]
    same_BTT = document_BT[:, :, None] == document_BT[:, None, :]
    seen_BTT = same_BTT & torch.ones(width, width, dtype=torch.bool, device=document_BT.device).tril()
    mask_BTT = torch.zeros(seen_BTT.shape, dtype=dtype, device=document_BT.device)
    return mask_BTT.masked_fill_(~seen_BTT, float("-inf"))[:, None]
