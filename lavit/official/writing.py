"""Writing safetensors one tensor at a time: what is written need never be in memory as a whole.

The format is the public one (8 bytes of header length, a JSON header, the bytes), so that any reader opens it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lavit.errors import LavitError

SHARD_BYTES = 4 * 2**30

DTYPES = {  # by their names in the format
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class Entry:
    """A tensor to be written.

    Attributes:
        name: under which it is written.
        dtype: its type.
        shape: its shape.
        make: reads it.
    """

    name: str
    dtype: torch.dtype
    shape: torch.Size
    make: Callable[[], Tensor]

    @property
    def bytes(self) -> int:
        """Size in the file."""
        return self.shape.numel() * self.dtype.itemsize


def write_safetensors(path: Path, entries: Sequence[Entry]) -> None:
    """Write one file, tensor by tensor."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for entry in entries:
        if entry.dtype not in DTYPES:
            raise LavitError(f"{entry.name}: {entry.dtype} cannot be written as safetensors")
        header[entry.name] = {
            "dtype": DTYPES[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": [start, start + entry.bytes],
        }
        start += entry.bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for entry in entries:
            tensor = entry.make().detach().contiguous().cpu()
            if tensor.shape != entry.shape or tensor.dtype != entry.dtype:
                raise LavitError(f"{entry.name}: {tensor.dtype} {tuple(tensor.shape)} was read, not what was announced")
            if tensor.numel():
                file.write(tensor.flatten().view(torch.uint8).numpy().data)


def write_shards(folder: Path, entries: Sequence[Entry], stem: str = "model", most: int = SHARD_BYTES) -> None:
    """Write a model as transformers does: one ``model.safetensors``, or shards with an index.

    Args:
        folder: where to; made if it is not there.
        entries: the tensors, in order.
        stem: what the files are called.
        most: bytes of a shard (one larger tensor is a shard of its own).
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[list[Entry]] = [[]]
    for entry in entries:
        if shards[-1] and sum(e.bytes for e in shards[-1]) + entry.bytes > most:
            shards.append([])
        shards[-1].append(entry)
    if len(shards) == 1:
        paths = [folder / f"{stem}.safetensors"]
    else:
        paths = [folder / f"{stem}-{n:05d}-of-{len(shards):05d}.safetensors" for n in range(1, len(shards) + 1)]
        index = {
            "metadata": {"total_size": sum(entry.bytes for entry in entries)},
            "weight_map": {e.name: path.name for path, shard in zip(paths, shards, strict=True) for e in shard},
        }
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    for path, shard in zip(paths, shards, strict=True):
        write_safetensors(path, shard)
