"""Convex mixtures of the LLM's own text embeddings (AlignVLM: Masry et al. 2025, section 3.1).

A feature becomes logits over the text vocabulary, and their softmax weighs the embeddings of its words: what enters
lies among the words that the LLM knows. Between a linear connector and a discrete tokenizer whose codes are words.

Shapes: E rows, C feature width, W width of the LLM, V text vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lavit.connectors.bound import BoundConnector
from lavit.errors import LavitError
from lavit.language import access


class AlignVLM(BoundConnector):
    """Features [E, C] to embeddings [E, W], row by row.

    Args:
        feature_dim: C.
        width: W, the language model's.
        temperature: the logits are divided by it; towards 0 a feature becomes one word.
        top_k: only the most likely words are mixed; 0 for all of them.
        own_head: whether the logits come from a copy of the LLM's output rows that learns (the paper's form), or from
            these rows themselves, through which gradients pass but which learn nothing here.
    """

    def __init__(self, feature_dim: int, width: int, temperature: float = 1.0, top_k: int = 0, own_head: bool = False):
        super().__init__()
        if temperature <= 0:
            raise LavitError(f"connector.temperature={temperature} divides the logits", "a number above 0")
        self.project, self.norm = nn.Linear(feature_dim, width), nn.LayerNorm(width)
        self.temperature, self.top_k, self.own_head = temperature, top_k, own_head
        self.rows_VW: nn.Parameter | None = None

    def bind(self, llm: PreTrainedModel) -> None:
        """Take up the LLM, whose words are mixed; the own head begins as a copy of its output rows."""
        super().bind(llm)
        if self.own_head:
            self.rows_VW = nn.Parameter(access.head(llm).weight.detach().float().clone())

    @property
    def lent_weights(self) -> int:
        """The table of embeddings, and the output rows where they are the LLM's."""
        table_VW = access.embedding(self._llm[0]).weight
        return table_VW.numel() * (1 if self.own_head else 2)

    def words(self, features_EC: Tensor) -> Tensor:
        """Weights [E, V] of the words in each row's mixture: at least 0, in all 1."""
        rows_VW = access.head(self._llm[0]).weight.detach().float() if self.rows_VW is None else self.rows_VW
        logits_EV = self.norm(self.project(features_EC)) @ rows_VW.T / self.temperature
        if self.top_k:
            least_E1 = logits_EV.topk(min(self.top_k, logits_EV.shape[1]), dim=-1).values[:, -1:]
            logits_EV = torch.where(logits_EV >= least_E1, logits_EV, float("-inf"))
        return logits_EV.softmax(-1)

    def forward(self, features_EC: Tensor) -> Tensor:
        """The mixtures [E, W]."""
        llm = self._llm[0]
        return self.words(features_EC) @ access.embedding(llm).weight.detach().float() * access.entering_scale(llm)
