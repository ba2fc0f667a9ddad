"""The processes that train one stage together: how many, which one this is, and what they add up.

A process group is made by whoever starts the processes (``experiments.distributed``). A stage that runs alone is a
group of one: every function here then gives back what it was given, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lavit.errors import LavitError

Item = TypeVar("Item")

STRATEGIES = ("ddp", "fsdp")


@dataclass(frozen=True)
class TrainerConfig:
    """How a stage is spread over devices (``trainer`` in the config).

    Attributes:
        devices: processes, one device each; the global batch is the same for any number.
        strategy: ``ddp`` (every process holds the whole model) or ``fsdp`` (each holds a share of it).
        accelerator: ``auto``, ``cpu`` or ``cuda``.
    """

    devices: int = 1
    strategy: str = "ddp"
    accelerator: str = "auto"

    @classmethod
    def of(cls, node: Mapping[str, Any]) -> TrainerConfig:
        """From the config's node; one device means nothing to a strategy, so that may be missing there."""
        return cls(int(node["devices"]), str(node.get("strategy", "ddp")), str(node["accelerator"]))

    def check(self, optimizer: str) -> None:
        """Raise LavitError unless the process group is the one that was asked for, and can train with ``optimizer``."""
        if self.devices != size():
            raise LavitError(
                f"trainer.devices={self.devices}, but {size()} processes train this stage",
                "`lavit run` and `lavit train` start as many as the config asks for; by hand, use trainer.devices=1",
            )
        if self.strategy == "fsdp" and optimizer == "muon":
            raise LavitError(
                "trainer.strategy=fsdp with optimizer=muon: Muon's step needs whole matrices, which no process holds",
                "use optimizer=adamw, or trainer.strategy=ddp",
            )


def size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def first() -> bool:
    """Whether this is the process that writes files."""
    return rank() == 0


def shares(items: Sequence[Item]) -> list[list[Item]]:
    """Each process' share of what all of them hold: every n-th item, so that each has some where there are enough."""
    return [list(items[number :: size()]) for number in range(size())]


def share(items: Sequence[Item]) -> list[Item]:
    """This process' share."""
    return shares(items)[rank()]


def total(values: Tensor) -> Tensor:
    """Sum of a tensor over the processes, without gradients; the tensor itself where there is one process."""
    if size() == 1:
        return values
    summed = values.detach().clone()
    dist.all_reduce(summed)
    return summed


def either(flags: list[bool]) -> list[bool]:
    """For each flag whether it is up in any process: what all must decide alike."""
    if size() == 1:
        return flags
    # The backend of CPU tensors is there on every machine; a flag is not worth a GPU.
    raised = torch.tensor(flags, dtype=torch.int64)
    dist.all_reduce(raised, op=dist.ReduceOp.MAX)
    return [bool(flag) for flag in raised.tolist()]


def wait() -> None:
    """Wait until all processes are here."""
    if size() > 1:
        either([False])
