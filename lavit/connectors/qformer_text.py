"""What a Q-Former's first stage needs beside its queries: text embeddings, text parts, heads, and three masks.

BLIP-2 (Li et al. 2023, section 3.1) sums three losses that differ in who sees whom:

* contrast (ITC): queries see queries, text sees text; an image's similarity to a text is that of its best query;
* matching (ITM): all see all; pairs that belong together against hard negatives;
* generation (ITG): queries see queries, text sees all queries and the text before it; its first token is replaced by
  one of its own.

All of it is dropped when the Q-Former becomes a connector.

Shapes: B images and texts, M queries, T text positions, L = M + T, H hidden width, E joint width, V text vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.connectors.qformer import EPSILON, FeedForward, QFormer

EMBEDDING_STD = 0.02
CLEAREST = 100.0  # the inverse temperature grows no further (CLIP)
ROUNDING = 1e-4  # added to what a negative's chance is in proportion to, so that none is zero (as in BLIP-2's code)
LAST_RESORT = 1e-12  # the same for texts that are equal: they are drawn only where a batch holds no other


class QFormerPretraining(nn.Module):
    """A Q-Former with its text side.

    Args:
        qformer: the queries; its way into the LLM is not used.
        vocabulary: V; one more row is the token that begins a text to be generated.
        longest: T.
        mlp_ratio: hidden width of text's feed-forward parts in units of H.
        joint: width E in which contrast compares (BLIP-2: 256).
        temperature: of contrast, at the beginning (0.07).
    """

    def __init__(
        self, qformer: QFormer, vocabulary: int, longest: int, mlp_ratio: float, joint: int, temperature: float
    ):
        super().__init__()
        hidden = qformer.hidden
        self.qformer, self.decode_id = qformer, vocabulary
        self.words = nn.Embedding(vocabulary + 1, hidden)
        self.places = nn.Embedding(longest, hidden)
        for table in (self.words, self.places):
            nn.init.normal_(table.weight, std=EMBEDDING_STD)
        self.text_parts = nn.ModuleList(FeedForward(hidden, mlp_ratio) for _ in qformer.layers)
        self.image_joint, self.text_joint = nn.Linear(hidden, joint), nn.Linear(hidden, joint)
        self.log_scale = nn.Parameter(torch.tensor(1 / temperature).log())
        self.match = nn.Linear(hidden, 2)
        self.turn = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.LayerNorm(hidden, eps=EPSILON))
        self.word_bias = nn.Parameter(torch.zeros(vocabulary + 1))

    def run(self, features_BNC: Tensor, ids_BT: Tensor, seen_BLL: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states of queries [B, M, H] and text [B, T, H]."""
        text_BTH = self.words(ids_BT) + self.places.weight[: ids_BT.shape[1]]
        every_BN = torch.ones(features_BNC.shape[:2], dtype=torch.bool, device=features_BNC.device)
        x_BLH = self.qformer.read(features_BNC, every_BN, text_BTH, seen_BLL, list(self.text_parts))
        return x_BLH[:, : self.qformer.tokens], x_BLH[:, self.qformer.tokens :]

    def similarity(self, features_BNC: Tensor, ids_BT: Tensor, text_BT: Tensor) -> Tensor:
        """Similarity [B, B] of each image (row) to each text, by the image's best query; in units of temperature."""
        queries_BMH, text_BTH = self.run(features_BNC, ids_BT, contrast_mask(self.qformer.tokens, text_BT))
        image_BME = F.normalize(self.image_joint(queries_BMH), dim=-1)
        text_BE = F.normalize(self.text_joint(text_BTH[:, 0]), dim=-1)  # the first token speaks for the text
        best_BB = torch.einsum("ime,te->imt", image_BME, text_BE).amax(1)
        return best_BB * self.log_scale.exp().clamp(max=CLEAREST)

    def matching(self, features_BNC: Tensor, ids_BT: Tensor, text_BT: Tensor) -> Tensor:
        """Logits [B, 2] of no match and match: a mean over queries."""
        queries_BMH, _ = self.run(features_BNC, ids_BT, matching_mask(self.qformer.tokens, text_BT))
        return self.match(queries_BMH).mean(1)

    def generation(self, features_BNC: Tensor, ids_BT: Tensor, text_BT: Tensor) -> Tensor:
        """Cross-entropy in nats of each next text token given the image; a mean over tokens."""
        begun_BT = torch.cat([torch.full_like(ids_BT[:, :1], self.decode_id), ids_BT[:, 1:]], 1)
        _, text_BTH = self.run(features_BNC, begun_BT, generation_mask(self.qformer.tokens, text_BT))
        logits_BTV = F.linear(self.turn(text_BTH[:, :-1]), self.words.weight, self.word_bias)
        next_BT = ids_BT[:, 1:].masked_fill(~text_BT[:, 1:], -100)
        return F.cross_entropy(logits_BTV.flatten(0, 1), next_BT.flatten(), ignore_index=-100)


def contrast_mask(queries: int, text_BT: Tensor) -> Tensor:
    """Who sees whom in contrast [B, L, L]: queries queries, text text.

    Args:
        queries: M.
        text_BT: True where there is a text token, False at padding.
    """
    seen_BLL = matching_mask(queries, text_BT)
    seen_BLL[:, :queries, queries:] = False
    seen_BLL[:, queries:, :queries] = False
    return seen_BLL


def matching_mask(queries: int, text_BT: Tensor) -> Tensor:
    """Who sees whom in matching [B, L, L]: all see all but padding."""
    there_BL = torch.cat([text_BT.new_ones(len(text_BT), queries), text_BT], 1)
    return there_BL[:, None].repeat(1, there_BL.shape[1], 1)


def generation_mask(queries: int, text_BT: Tensor) -> Tensor:
    """Who sees whom in generation [B, L, L]: queries queries, text all queries and itself causally."""
    seen_BLL = matching_mask(queries, text_BT)
    seen_BLL[:, :queries, queries:] = False
    longest = text_BT.shape[1]
    causal_TT = torch.ones(longest, longest, dtype=torch.bool, device=text_BT.device).tril()
    seen_BLL[:, queries:, queries:] &= causal_TT
    return seen_BLL


def contrast_loss(similarity_BB: Tensor, same_BB: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of finding the own text among a batch's, and the own image; with label smoothing.

    Args:
        similarity_BB: images in rows.
        same_BB: True where two texts are equal: such texts are all right.
        smoothing: share of the target that is spread over the batch (BLIP-2: 0.1).
    """
    target_BB = same_BB.float() / same_BB.float().sum(1, keepdim=True)
    target_BB = (1 - smoothing) * target_BB + smoothing / len(target_BB)
    texts, images = (-(target_BB * F.log_softmax(s, -1)).sum(1).mean() for s in (similarity_BB, similarity_BB.T))
    return (texts + images) / 2


def hard_negatives(similarity_BB: Tensor, same_BB: Tensor, generator: torch.Generator) -> Tensor:
    """For each row a column [B] that does not belong to it, drawn the more often the more similar it seems."""
    chance_BB = similarity_BB.detach().softmax(1) + ROUNDING
    chance_BB = torch.where(same_BB, LAST_RESORT, chance_BB)
    noise_BB = torch.rand(chance_BB.shape, generator=generator).clamp(1e-20, 1 - 1e-7).to(chance_BB.device)
    return (chance_BB.log() - (-noise_BB.log()).log()).argmax(1)  # Gumbel: a draw by these chances
