"""What teaches the vision encoder: linear heads on its patches, and a text tower where there are no dense labels.

Only the label head is kept (as a probe of decoded features); the others are thrown away after training.

Shapes: B images, N patches, C channels, L classes, P values of a patch's pixels, T words, E joint embedding.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WORD = re.compile(r"\w+")


class PatchLabels(nn.Linear):
    """Multi-hot class logits of each patch."""


def label_loss(logits_BNL: Tensor, labels_BNL: Tensor, objects_BN: Tensor, background_weight: float) -> Tensor:
    """Binary cross-entropy summed over classes; patches without an object count ``background_weight``.

    Background patches are the majority and soon known; unweighted they drown what the objects teach.
    """
    loss_BN = F.binary_cross_entropy_with_logits(logits_BNL, labels_BNL, reduction="none").sum(-1)
    weight_BN = torch.where(objects_BN, 1.0, background_weight)
    return (loss_BN * weight_BN).sum() / weight_BN.sum()


class Vocabulary:
    """The most frequent words of the training texts; 0 is padding, 1 an unknown word."""

    def __init__(self, texts: Iterable[str], size: int):
        counts = Counter(word for text in texts for word in WORD.findall(text.lower()))
        # Ties are broken by the alphabet, so that the vocabulary never depends on the order of the texts.
        ranked = sorted(counts, key=lambda word: (-counts[word], word))[: size - 2]
        self.index = {word: place + 2 for place, word in enumerate(ranked)}

    def __len__(self) -> int:
        return len(self.index) + 2

    def encode(self, texts: list[str], longest: int) -> Tensor:
        """Word ids [B, T], padded with 0 and cut to ``longest``."""
        rows = [[self.index.get(word, 1) for word in WORD.findall(text.lower())][:longest] for text in texts]
        width = max(1, max(len(row) for row in rows))
        return torch.tensor([row + [0] * (width - len(row)) for row in rows])


class TextTower(nn.Module):
    """A bag of words through an MLP, and the image side's projection: enough for image-text contrast (CLIP)."""

    def __init__(self, words: int, width: int, joint: int):
        super().__init__()
        self.words = nn.Embedding(words, joint, padding_idx=0)
        self.text = nn.Sequential(nn.Linear(joint, joint), nn.GELU(), nn.Linear(joint, joint))
        self.image = nn.Linear(width, joint)
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, features_BNC: Tensor, words_BT: Tensor) -> Tensor:
        """Symmetric InfoNCE over the batch. Equal texts are not each other's negatives."""
        count_B1 = (words_BT > 0).sum(1, keepdim=True).clamp(min=1)
        text_BE = F.normalize(self.text(self.words(words_BT).sum(1) / count_B1), dim=-1)
        image_BE = F.normalize(self.image(features_BNC.mean(1)), dim=-1)
        logits_BB = image_BE @ text_BE.T * self.log_scale.exp().clamp(max=100)
        same_BB = (words_BT[:, None] == words_BT[None]).all(-1)
        same_BB = same_BB & ~torch.eye(len(same_BB), dtype=torch.bool)
        logits_BB = logits_BB.masked_fill(same_BB, -1e4)
        own_B = torch.arange(len(logits_BB))
        return (F.cross_entropy(logits_BB, own_B) + F.cross_entropy(logits_BB.T, own_B)) / 2
