"""Devices that a stage asks for, judged before any work: what the config says, and what the machine has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from experiments.errors import LavitError, did_you_mean

STRATEGIES, ACCELERATORS = ("ddp", "fsdp"), ("auto", "cpu", "cuda")


def devices_of(config: Mapping[str, Any], stage: str) -> int:
    """Devices that a stage's config asks for (1 where it does not read ``trainer``).

    Raises:
        LavitError: a value of ``trainer`` that cannot be.
    """
    trainer = config.get("trainer")
    if not isinstance(trainer, Mapping):
        return 1
    devices = trainer.get("devices")
    if not isinstance(devices, int) or isinstance(devices, bool) or devices < 1:
        raise LavitError(
            f"trainer.devices={devices}: {stage} needs a whole number of devices, from 1", "see conf/trainer/"
        )
    for key, known in (("strategy", STRATEGIES), ("accelerator", ACCELERATORS)):
        if (value := trainer.get(key, known[0])) not in known:
            raise LavitError(f"trainer.{key}={value} is unknown", did_you_mean(value, known))
    if trainer.get("strategy") == "fsdp":
        if devices == 1:
            raise LavitError(
                "trainer.strategy=fsdp with trainer.devices=1: one device has nobody to share the model with",
                "raise trainer.devices, or use trainer=single",
            )
        if (method := (config.get("optimizer") or {}).get("method")) == "muon":
            raise LavitError(
                f"trainer.strategy=fsdp with optimizer.method={method}: its step needs whole matrices, and no process "
                "holds one",
                "use optimizer=adamw, or trainer.strategy=ddp",
            )
    return devices


def check_devices(devices: int, accelerator: str, found: int) -> str:
    """The kind of device that a group runs on: ``cuda`` or ``cpu``.

    Args:
        devices: how many are wanted.
        accelerator: ``auto`` takes GPUs where there is one.
        found: GPUs that this process may use.

    Raises:
        LavitError: there are fewer GPUs than that.
    """
    if accelerator == "cpu" or (accelerator == "auto" and not found):
        return "cpu"
    if found < devices:
        raise LavitError(
            f"trainer.devices={devices}, but {found} GPUs are here (CUDA_VISIBLE_DEVICES="
            f"{os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')})",
            f"lower trainer.devices to {found}, free more GPUs, or use trainer.accelerator=cpu"
            if found
            else "use trainer.accelerator=cpu",
        )
    return "cuda"
