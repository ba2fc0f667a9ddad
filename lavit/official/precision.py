"""Running released weights in the types that they came in.

Released parts are of different types (half precision here, bfloat16 there). As the released code does, matrices are
multiplied in their own type while layer norms stay in float32; what decides (selector, codebook) is computed in float32
throughout, where the released code looks codes up in bfloat16 too, which changes some of them for nothing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def weights_dtype(module: nn.Module) -> torch.dtype:
    """Type of a module's matrices."""
    return next(weight.dtype for weight in module.parameters() if weight.dim() > 1)


def raise_norms(module: nn.Module) -> None:
    """Put the layer norms of a module into float32."""
    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            part.float()


def in_own_type(module: nn.Module, device: torch.device) -> AbstractContextManager[object]:
    """A context in which matrices are multiplied in the type of a module's weights."""
    dtype = weights_dtype(module)
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def enter(x: Tensor, module: nn.Module) -> Tensor:
    """A tensor in the type of a module's matrices."""
    return x.to(weights_dtype(module))
