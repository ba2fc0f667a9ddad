"""Which devices jobs may use, and who has which: found without torch, handed out one job at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from experiments.errors import LavitError

VISIBLE = "CUDA_VISIBLE_DEVICES"


def find_devices(asked: int | Sequence[int | str] | None = None) -> list[str]:
    """Names of the GPUs that jobs may use, as CUDA_VISIBLE_DEVICES takes them; empty where jobs use cores.

    Args:
        asked: None for all that this process may see, a number for the first so many, or a list of them.

    Raises:
        LavitError: fewer are there than are asked for.
    """
    if asked is not None and not isinstance(asked, int):
        return [str(device) for device in asked]
    if asked == 0:
        return []
    visible = _visible()
    if asked is None:
        return visible
    if asked > len(visible):
        raise LavitError(
            f"hydra.launcher.devices={asked}, but {len(visible)} GPUs are visible here",
            f"name them, e.g. hydra.launcher.devices=[0,1], or leave it out; {VISIBLE} and nvidia-smi -L were asked",
        )
    return visible[:asked]


def _visible() -> list[str]:
    if VISIBLE in os.environ:
        names = [name.strip() for name in os.environ[VISIBLE].split(",")]
        return [name for name in names if name and name != "-1"]
    if (command := shutil.which("nvidia-smi")) is None:
        return []
    try:
        listed = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (subprocess.SubprocessError, OSError):  # a driver that does not answer has no device to give
        return []
    return [str(index) for index, line in enumerate(filter(_is_gpu, listed.splitlines()))]


def _is_gpu(line: str) -> bool:
    return line.startswith("GPU ")


class DeviceSlots:
    """Hands devices out: what one job has, no other live job gets.

    Args:
        devices: as :func:`find_devices` names them; none for jobs that use cores.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self._free = list(devices)
        self._any = bool(devices)

    def take(self, count: int) -> list[str]:
        """That many free devices; the caller has made sure that there are so many."""
        if not self._any:
            return []
        taken, self._free = self._free[:count], self._free[count:]
        if len(taken) < count:
            raise RuntimeError(f"{count} devices were asked for, {len(taken)} are free")
        return taken

    def give_back(self, devices: Sequence[str]) -> None:
        """Make devices free again, once their job is gone."""
        self._free += devices


def environment(devices: Sequence[str], known: bool) -> dict[str, str]:
    """What a worker must see before it touches CUDA: its own devices, or none where jobs were told to use cores."""
    return {VISIBLE: ",".join(devices)} if known else {}
