"""How the processes of a group share a model: copies whose gradients are averaged, or one model split over all.

Lightning does both; what it needs to be told is here, and how a split tensor (a DTensor) is made whole and back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from lavit.stages import processes
from lavit.stages.processes import TrainerConfig


def strategy_options(config: TrainerConfig) -> dict[str, Any]:
    """Lightning's ``accelerator``, ``devices`` and ``strategy``.

    The environment is named, not guessed: Lightning would take a Slurm job for one of its own, requeue it, and start
    this process' command line (the sweep's) again.
    """
    options: dict[str, Any] = {"accelerator": config.accelerator, "devices": processes.size()}
    if processes.size() == 1:
        return options | {"plugins": [LightningEnvironment()]}
    environment = TorchElasticEnvironment()
    if config.strategy == "fsdp":
        options["strategy"] = ModelParallelStrategy(processes.size(), 1)
        options["strategy"].cluster_environment = environment
        return options
    # Buffers are equal in all processes by construction: each holds the sums of the whole batch. Looking for unused
    # parameters allows for a mix without one kind of sequence; it also keeps gradients in the buckets of the first
    # step, so that more than two of them are added in the same order after a restart.
    strategy = DDPStrategy(cluster_environment=environment, find_unused_parameters=True, broadcast_buffers=False)
    return options | {"strategy": strategy}


def shard(module: nn.Module, layers: Iterable[nn.Module], mesh: Any) -> None:
    """Split a module's weights over a mesh: each of ``layers`` by itself, so that one at a time is whole."""
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for method in ("training_step", "validate"):  # what is called instead of forward
        register_fsdp_forward_method(module, method)


def is_split(state: Mapping[str, Tensor]) -> bool:
    """Whether a tensor of a state lies on several processes."""
    return any(isinstance(value, DTensor) for value in state.values())


def whole(value: Tensor) -> Tensor:
    """The tensor, gathered from all processes where it is split."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def split_like(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as this process holds ``like``: its share, on its device."""
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements) if isinstance(like, DTensor) else value
