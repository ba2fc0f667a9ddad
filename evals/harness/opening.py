"""From what a user names, or a loaded model, to a model at the level of tokens."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from evals.errors import EvaluationError
from lavit.model.token_model import TokenModel

log = logging.getLogger(__name__)


def open_model(
    checkpoint: str | None, pretrained: str | None, device: str = "cpu", dtype: str = "auto", length: int | None = None
) -> TokenModel:
    """Open ``checkpoint`` (an arm's folder, or an imported release) or ``pretrained`` (a transformers folder).

    Raises:
        LavitError: it cannot be opened.
    """
    device = _present(device)
    if checkpoint is not None:
        from lavit.checkpoint import open_checkpoint

        return token_model(open_checkpoint(checkpoint, device).model)
    from evals.harness.causal import load_causal

    assert pretrained is not None
    return load_causal(pretrained, device, dtype, length)


def token_model(model: Any) -> TokenModel:
    """A loaded model at the level of tokens.

    Raises:
        EvaluationError: it does not offer that.
    """
    if isinstance(model, TokenModel):
        return model
    if isinstance(model, str | Path):
        return open_model(None, str(model))
    if callable(getattr(model, "tokens", None)):
        return model.tokens()
    raise EvaluationError(f"{type(model).__name__} does not say how likely a text is to it: it has no `tokens()`.")


def _present(device: str) -> str:
    """The device, or the processor where there is no such device: the harness asks for `cuda:0` unless it is told."""
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        log.info("There is no %s here: the model runs on the processor", device)
        return "cpu"
    return device
