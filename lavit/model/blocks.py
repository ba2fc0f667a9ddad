"""Blocks of an arm's model: what may learn or be frozen as one, and has a learning rate of its own.

===========  ===================================================================================================
llm          the LLM's own weights
lora         low-rank updates of its matrices (:mod:`lavit.model.lora`)
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

from lavit.ledger import FORWARD_ONLY, TRAINED, TRAVERSED

PREFIXES = {
    "llm": ("llm.",),
    "lora": (),  # told by :data:`ADAPTER`
    "connector": ("connector.",),
    "gates": ("gates.",),
    "rows": ("marks.", "place.", "code_rows.", "code_in.", "vector_in."),
    "head": ("head.",),
}
ADAPTER = ".lora_"  # in the names of what peft adds inside the LLM
BLOCKS = tuple(PREFIXES)
#: Where a block stands on the way from the input to the losses: 0 beside each other below the LLM, 2 above it.
PLACE = {"connector": 0, "rows": 0, "head": 2}
INSIDE = 1  # the LLM, and all that stands in it


def block_of(parameter: str) -> str:
    """The block of a parameter, by its name in the model.

    Raises:
        KeyError: it belongs to none.
    """
    if ADAPTER in parameter:
        return "lora"
    for block, prefixes in PREFIXES.items():
        if parameter.startswith(prefixes):
            return block
    raise KeyError(parameter)


def blocks_of(model: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """Block -> name -> parameter, of the blocks that the model has, in the order of :data:`BLOCKS`."""
    found: dict[str, dict[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        found.setdefault(block_of(name), {})[stable_name(name)] = parameter
    return {block: found[block] for block in BLOCKS if block in found}


def stable_name(parameter: str) -> str:
    """The name of a parameter whether or not peft has put an adapter beside it."""
    return parameter.replace(".base_layer.", ".")


def block_sizes(model: nn.Module) -> dict[str, dict[str, int]]:
    """Block -> its ``total`` and its ``trainable`` parameters."""
    return {
        block: {
            "total": sum(p.numel() for p in parameters.values()),
            "trainable": sum(p.numel() for p in parameters.values() if p.requires_grad),
        }
        for block, parameters in blocks_of(model).items()
    }


def passes(block: str, learning: Iterable[str]) -> int:
    """FLOPs of a block's matrices, per position and weight, where the blocks ``learning`` learn.

    6 where it learns itself; 4 where it is frozen and gradients pass through it to what learns in it or before it; 2
    where nothing does (:mod:`lavit.ledger`).
    """
    learning = set(learning)
    if block in learning:
        return TRAINED
    place = PLACE.get(block, INSIDE)
    nearest = min((PLACE.get(other, INSIDE) for other in learning), default=place + 1)
    return TRAVERSED if nearest < place or nearest == place == INSIDE else FORWARD_ONLY


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
