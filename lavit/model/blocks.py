"""Blocks of an arm's model: what may learn or be frozen as one, and has a learning rate of its own.

===========  ===================================================================================================
llm          the LLM's own weights
connector    what takes features into the LLM's width
gates        gated cross-attention between the LLM's layers, where images stand beside the sequence
rows         new rows and places: marks, places, codes and vectors as they enter
head         what predicts visual tokens
===========  ===================================================================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

PREFIXES = {
    "llm": ("llm.",),
    "connector": ("connector.",),
    "gates": ("gates.",),
    "rows": ("marks.", "place.", "code_rows.", "code_in.", "vector_in."),
    "head": ("head.",),
}
BLOCKS = tuple(PREFIXES)


def block_of(parameter: str) -> str:
    """The block of a parameter, by its name in the model.

    Raises:
        KeyError: it belongs to none.
    """
    for block, prefixes in PREFIXES.items():
        if parameter.startswith(prefixes):
            return block
    raise KeyError(parameter)


def blocks_of(model: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """Block -> name -> parameter, of the blocks that the model has."""
    found: dict[str, dict[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        found.setdefault(block_of(name), {})[name] = parameter
    return found


def frozen_hashes(model: nn.Module) -> dict[str, str]:
    """Block -> SHA-256 over its parameters that do not learn, where it has any."""
    found = {}
    for block, parameters in blocks_of(model).items():
        still = [(name, parameter) for name, parameter in parameters.items() if not parameter.requires_grad]
        if still:
            found[block] = tensors_hash(still)
    return found


def tensors_hash(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 over named tensors: equal exactly where every bit is."""
    from torch.distributed.tensor import DTensor

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors):
        digest.update(name.encode())
        gathered = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        digest.update(gathered.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
