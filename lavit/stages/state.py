"""What an interrupted stage goes on from: one safetensors file with weights, moments, step and unfinished sums.

It is written beside the old one and takes its place whole. A checksum over every tensor is in its header, so that a
file that was cut off or altered is told from one that can be trusted.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lavit.errors import LavitError
from lavit.stages import processes
from lavit.stages.strategies import is_split, split_like, whole

log = logging.getLogger("lavit")
HEADER = "state"  # the one entry of the file's metadata: JSON


def checksum(tensors: dict[str, Tensor]) -> str:
    """CRC-32 over names and bytes: enough against torn and rotten files, and as fast as the disk."""
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(name.encode(), value)
        value = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, value)
    return f"{value:08x}"


def save_state(
    path: Path,
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer | None,
    step: int,
    curve: dict[str, Any] | None = None,
) -> None:
    """Write weights, moments, the step and the sums of an unfinished curve point into one file, atomically.

    Every process calls it, since split weights are gathered from all of them; the first one writes.
    """
    state = module.state_dict()
    if not processes.first() and not is_split(state):
        return
    tensors = {f"model/{name}": _plain(value) for name, value in state.items()}
    if optimizer is not None:
        for index, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
            for name, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{index}/{name}"] = _plain(torch.as_tensor(value))
    if not processes.first():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    header = {"step": str(step), "curve": json.dumps(curve or {}), "checksum": checksum(tensors)}
    # One entry: safetensors writes several in an order that changes from process to process, and so the file's bytes.
    save_file(tensors, partial, metadata={HEADER: json.dumps(header)})
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def _plain(value: Tensor) -> Tensor:
    return whole(value).detach().cpu().contiguous().clone()


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and header of a state file.

    Raises:
        LavitError: it is cut off, or not what was written.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads(file.metadata()[HEADER])
        tensors = load_file(path)
        expected, found = metadata["checksum"], checksum(tensors)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise LavitError(
            f"{path} cannot be read ({type(error).__name__}: {error})", "it was cut off or altered"
        ) from error
    if found != expected:
        raise LavitError(
            f"{path}: the checksum is {found} instead of {expected}", "it was altered after it was written"
        )
    return tensors, metadata


def load_state(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer | None = None) -> int:
    """Read what :func:`save_state` wrote; returns the step. The optimizer must have the same groups."""
    tensors, metadata = read_state(path)
    own = module.state_dict()
    weights = {n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")}
    module.load_state_dict(
        {name: split_like(value, own[name]) if name in own else value for name, value in weights.items()}
    )
    if optimizer is not None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for name, value in tensors.items():
            if name.startswith("optimizer/"):
                _, index, key = name.split("/")
                parameter = parameters[int(index)]
                optimizer.state[parameter][key] = value if key == "step" else split_like(value, parameter)
    return int(metadata["step"])


def resume_point(path: Path) -> tuple[int, dict[str, Any]]:
    """Local steps that an interrupted attempt had saved and the sums of its unfinished curve point; 0 without one.

    A file that cannot be trusted is told in the log and counts as none: the stage then begins afresh.
    """
    if not path.exists():
        return 0, {}
    try:
        _, metadata = read_state(path)
    except LavitError as error:
        if processes.first():
            log.warning("%s. The stage begins afresh.", error.message)
        return 0, {}
    return int(metadata["step"]), json.loads(metadata.get("curve", "{}"))


def truncate_history(path: Path, last_step: int) -> None:
    """Drop what lies after the step from which training goes on, and a last line that was cut off."""
    kept = []
    for line in path.read_text().splitlines(keepends=True):
        if not line.endswith("\n") or json.loads(line)["step"] > last_step:
            break
        kept.append(line)
    path.write_text("".join(kept))
