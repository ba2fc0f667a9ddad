"""The next embedding of the image itself, as the connector gives it to the LLM (Emu 1).

Shapes: P predictions, I images, B images of a batch, M slots, N patches, W width of the LLM, C feature width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.model.targets.readout import ReadOut
from lavit.model.targets.regressed import Regressed
from lavit.model.targets.spread import effective_rank, variance
from lavit.model.targets.target import ImageShape
from lavit.sequences import VisualStore
from lavit.tokenizer import VisualTokenizer


class EmuTarget(Regressed):
    """Regress z_1 ... z_M, the connector's output for the image, at ``[IMG]`` and at every slot but the last (Emu,
    section 2.2); the last slot predicts the end.

    What is regressed moves while the connector learns. It is detached: no gradient reaches the connector by way of the
    target (else the cheapest way to predict it is to make it constant). The embeddings of the same image that are fed
    in are not detached, as in Emu: they are inputs like any other. Nothing else keeps the target from collapsing, so
    that its variance is watched (:mod:`lavit.stages.collapse`).

    Emu regresses the embedding of ``[/IMG]`` after z_M; here a class ends the image, as for every target (the lab's
    arms differ in what a token is, not in how images end).

    Args:
        images: the arm's shape.
        readout: ``width``, ``blocks`` and ``heads`` of what turns slots into features, to draw. It learns beside the
            arm by reconstruction, from detached embeddings: nothing of the arm learns from it.
        collapse_below: share of the variance at the start below which training is stopped.
        stop_gradient: False lets gradient through the target, which collapses; only for ``control``.
        control: says that a collapse is what is wanted.
        end: see :class:`~lavit.model.targets.target.Target`.

    Raises:
        LavitError: the connector gives no fixed number of embeddings, the tokenizer drops patches, or the target has no
            stop-gradient although it is no control.
    """

    name = "emu"
    writes_slots = True

    def __init__(
        self,
        images: ImageShape,
        readout: Mapping[str, Any],
        collapse_below: float = 0.05,
        stop_gradient: bool = True,
        control: bool = False,
        end: str = "class",
    ):
        if images.slots is None:
            raise LavitError(
                "target=emu regresses a fixed number of embeddings that the connector makes of an image as a whole, "
                "and this arm's connector embeds tokens one by one (or there is none)",
                "set connector=causal_former with tokens=fixed and visual_input=continuous",
            )
        if not stop_gradient and not control:
            raise LavitError(
                "target.stop_gradient=false: what is regressed learns to be easy to regress, and collapses",
                "set it to true; to see the collapse, choose the control target=collapse",
            )
        super().__init__(images, images.width, bias=False, end=end)
        self.slots, self.stop_gradient, self.collapse_below = images.slots, stop_gradient, float(collapse_below)
        self.readout = ReadOut(images.slots, images.places, images.width, images.feature_dim, **readout)

    def projector(self) -> nn.Linear | None:
        """None: embeddings are fed back as they are."""
        return None

    def error(self, predicted_PD: Tensor, wanted_PD: Tensor) -> Tensor:
        """Squared error averaged over the LLM's width: the space has as many dimensions as the LLM is wide."""
        return (predicted_PD - wanted_PD).square().mean(-1)

    def further_loss(
        self, vectors_PD: Tensor, rows_P: Tensor, store: VisualStore, total: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Squared error of the features that are read out of detached slots; variance and effective rank of these."""
        vectors_IMW = vectors_PD.detach().view(-1, self.slots, self.width)
        wanted_INC, _ = store.padded_features(rows_P[:: self.slots] // self.slots)
        share = 1.0 if total is None else len(vectors_IMW) / float(total(rows_P.new_tensor(len(vectors_IMW)).double()))
        loss = F.mse_loss(self.readout(vectors_IMW), wanted_INC.detach()) * share
        spread = {"variance": variance(vectors_IMW) * share, "rank": effective_rank(vectors_IMW) * share}
        return loss, {"readout": loss.detach(), **spread}

    def decode(self, tokenizer: VisualTokenizer, vectors_BKD: Tensor, places_BK: Tensor, mask_BK: Tensor) -> Tensor:
        """Features of all patches, read out of the slots."""
        return tokenizer.restore(self.readout(vectors_BKD, mask_BK))
