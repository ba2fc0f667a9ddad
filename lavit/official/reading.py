"""Reading released weights without running them: pickles by torch's restricted reader, safetensors, shards of both.

Files are memory-mapped, and nothing is read before it is asked for: a folder of 14 GB costs its names and shapes.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lavit.errors import LavitError
from lavit.official.writing import DTYPES, Entry

_DTYPE_OF = {name: dtype for dtype, name in DTYPES.items()}


class WeightFile:
    """Names, shapes and tensors of one file: ``.safetensors``, or a torch pickle under any other name.

    A pickle of a bare tensor has that one tensor under the file's name.

    Args:
        path: the file.

    Raises:
        LavitError: the file cannot be read, holds something other than tensors by name, or a pickle that wants to run
            code.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.is_file():
            raise LavitError(f"{path}: there is no such file")
        self._tensors: Mapping[str, Tensor] | None = None
        if path.suffix == ".safetensors":
            try:
                self._open: Any = safe_open(path, "pt")
            except (SafetensorError, OSError) as error:
                raise LavitError(f"{path}: not a safetensors file: {error}", "was the download complete?") from error
            self.shapes = {name: torch.Size(self._open.get_slice(name).get_shape()) for name in self._open.keys()}  # noqa: SIM118
        else:
            self._tensors = _unpickle(path)
            self.shapes = {name: tensor.shape for name, tensor in self._tensors.items()}

    def dtype(self, name: str) -> torch.dtype:
        """The type of a tensor."""
        if self._tensors is not None:
            return self._tensors[name].dtype
        return _DTYPE_OF[self._open.get_slice(name).get_dtype()]

    def tensor(self, name: str) -> Tensor:
        """One tensor."""
        return self._open.get_tensor(name) if self._tensors is None else self._tensors[name]


def _unpickle(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0]
        raise LavitError(
            f"{path}: refused, because this pickle is not made of tensors alone and might run code: {reason}",
            "weights are tensors by name; get the file from its publisher again, or have them write safetensors",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise LavitError(
            f"{path}: cannot be read as a file of torch.save: {reason}",
            "was the download complete? (A file of a few hundred bytes is a pointer of git-lfs; a file from before "
            "torch 1.6 has to be saved again with a newer torch.)",
        ) from error
    if isinstance(state, Tensor):
        return {path.stem: state}
    if not isinstance(state, dict):
        raise LavitError(f"{path}: a dictionary of tensors was expected, not {type(state).__name__}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise LavitError(f"{path}: {name!r} is {type(value).__name__}, not a tensor: this is no plain state dict")
    return dict(state)


class Weights(Mapping[str, torch.Size]):
    """Shapes by name over one file or the shards of one model; tensors on request.

    Args:
        files: the files, in order.

    Raises:
        LavitError: a name is in two files.
    """

    def __init__(self, files: list[WeightFile]):
        self.files = files
        self._file_of: dict[str, WeightFile] = {}
        for file in files:
            for name in file.shapes:
                if name in self._file_of:
                    raise LavitError(f"{name} is in both {self._file_of[name].path} and {file.path}")
                self._file_of[name] = file

    def __getitem__(self, name: str) -> torch.Size:
        return self._file_of[name].shapes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __len__(self) -> int:
        return len(self._file_of)

    def shapes(self) -> dict[str, Tensor]:
        """Tensors without values, for what looks at names and shapes."""
        return {name: torch.empty(shape, device="meta") for name, shape in self.items()}

    def entry(self, name: str, written_as: str, shape: torch.Size) -> Entry:
        """What writes a tensor under another name (and in another shape of as many numbers)."""
        file = self._file_of[name]
        return Entry(written_as, file.dtype(name), shape, lambda: file.tensor(name).reshape(shape))

    @property
    def paths(self) -> list[Path]:
        """The files."""
        return [file.path for file in self.files]


def read_weights(*paths: Path) -> Weights:
    """The weights in these files."""
    return Weights([WeightFile(path) for path in paths])


WEIGHT_NAMES = ("model", "pytorch_model", "diffusion_pytorch_model")


def find_weights(folder: Path) -> Weights:
    """The weights of a model folder as transformers and diffusers write them, in one file or in shards.

    Safetensors are preferred where both are there. Of shards, exactly those that the index names are read.

    Raises:
        LavitError: the folder has no weights, or the index names a file or a tensor that is not there.
    """
    for extension in ("safetensors", "bin"):
        for name in WEIGHT_NAMES:
            single, index = folder / f"{name}.{extension}", folder / f"{name}.{extension}.index.json"
            if index.is_file():
                return _sharded(index)
            if single.is_file():
                return read_weights(single)
    named = ", ".join(f"{name}.{{safetensors,bin}}" for name in WEIGHT_NAMES)
    raise LavitError(f"{folder}: there are no weights", f"one of {named} was expected, or an index of shards")


def _sharded(index: Path) -> Weights:
    where = read_json(index).get("weight_map")
    if not isinstance(where, dict) or not where or any(Path(str(file)).name != file for file in where.values()):
        raise LavitError(f"{index}: weight_map: a table from tensors to files beside it was expected")
    weights = read_weights(*(index.parent / name for name in sorted(set(where.values()))))
    lost = sorted(name for name in where if name not in weights)
    if lost:
        raise LavitError(f"{index}: {len(lost)} tensors are in no shard, the first: {lost[0]} ({where[lost[0]]})")
    return weights


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        LavitError: the file is not there or holds something else.
    """
    try:
        value = json.loads(path.read_text())
    except OSError as error:
        raise LavitError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise LavitError(f"{path}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise LavitError(f"{path}: a JSON object was expected, not {type(value).__name__}")
    return value
