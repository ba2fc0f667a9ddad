"""FLOPs of the parts of an arm that see an image whole, measured, and of what writes images."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import nn

from lavit.connectors.image import ImageConnector
from lavit.ledger import FORWARD_ONLY, TRAINED, dense_flops
from lavit.model.lavit import LaVIT
from lavit.stages.outputs import forward_flops

BESIDE = ("place.weight", "target.readout.")  # of the head: tables, and what runs once an image


class ImageFlops:
    """Forward FLOPs of one image, each part measured when it is first asked for.

    Args:
        model: the arm's.
    """

    def __init__(self, model: LaVIT):
        self.model = model

    @cached_property
    def connector(self) -> float:
        """Through a connector that sees an image whole."""
        assert self.model.connector is not None
        return connector_flops(self.model.connector)

    @cached_property
    def readout(self) -> float:
        """Of features that are read out of a connector's embeddings."""
        assert self.model.head is not None
        readout: Any = self.model.head.target.readout
        device = next(readout.parameters()).device
        return forward_flops(readout, torch.zeros(1, readout.slots, readout.llm_width, device=device))


def connector_flops(connector: nn.Module) -> float:
    """FLOPs of one image through a connector that sees it whole, forward."""
    assert isinstance(connector, ImageConnector)
    device = next(connector.parameters()).device
    features_BNC = torch.zeros(1, connector.patches, connector.feature_dim, device=device)
    mask_BN = torch.ones(1, connector.patches, dtype=torch.bool, device=device)
    return forward_flops(connector, features_BNC, mask_BN)


def trained(block: str) -> int:
    """What a block costs that learns, a position and weight."""
    return TRAINED


def writing_flops(
    model: LaVIT, image: ImageFlops, predictions: int, written: int, passes: Callable[[str], int] = trained
) -> float:
    """Training FLOPs of what predicts visual tokens, and of what feeds them back.

    Args:
        model: the arm's.
        image: FLOPs of one image.
        predictions: positions that predict a token or the end.
        written: positions that hold a token that is written.
        passes: FLOPs of a block for each position and weight.
    """
    head = model.head
    assert head is not None
    per_prediction = sum(p.numel() for name, p in head.named_parameters() if not name.startswith(BESIDE))
    flops = dense_flops(per_prediction, predictions, passes("head"))
    if not model.writes_slots:
        enters = model.code_in if model.discrete else model.vector_in
        assert enters is not None
        return flops + dense_flops(enters.weight.numel(), written, passes("rows"))
    assert model.slots is not None
    connector = passes("connector")
    wanted = FORWARD_ONLY if head.target.stop_gradient else connector  # what is regressed is made anew
    once = (connector + wanted) * image.connector + passes("head") * image.readout
    return flops + written / model.slots * once / FORWARD_ONLY
