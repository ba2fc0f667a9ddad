"""Rows of unequal length as one batch, padded on the left, so that all of them are continued at the same position."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def pad_left(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows [T, ...] as a batch [B, T, ...] with zeros on the left, and which positions are real, bool [B, T]."""
    padded = pad_sequence(rows, batch_first=True, padding_side="left")
    width = padded.shape[1]
    lengths_B1 = torch.tensor([[len(row)] for row in rows], device=padded.device)
    return padded, torch.arange(width, device=padded.device) >= width - lengths_B1
