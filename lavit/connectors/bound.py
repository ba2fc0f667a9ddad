"""Connectors that are made of the language model's own weights, too."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel


class BoundConnector(nn.Module):
    """A row-wise connector that is told its LLM before it is used.

    The LLM stays what it is: its weights are looked at, they are no parameters of the connector and learn nothing here.
    """

    def __init__(self) -> None:
        super().__init__()
        self._llm: tuple[PreTrainedModel, ...] = ()  # in a tuple, so that it is no part of this module

    def bind(self, llm: PreTrainedModel) -> None:
        """Take up the LLM; called once, when an arm's model is assembled."""
        self._llm = (llm,)

    @property
    def lent_weights(self) -> int:
        """Weights of the LLM that each row is multiplied with, for the count of FLOPs."""
        raise TypeError(f"{type(self).__name__} does not define lent_weights")
