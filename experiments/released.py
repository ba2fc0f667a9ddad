"""The files of released backbones that a config names (`language.path`, `vision.path`): part of keys and of prices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.errors import LavitError

RELEASED = ("language", "vision")  # subtrees that may name a checkpoint

_known: dict[str, str] = {}


def released_files(key: str, node: Mapping[str, Any]) -> str:
    """A hash of the files of the checkpoint that a subtree names; "" where it names none.

    Raises:
        LavitError: it cannot be had, or has no safetensors.
    """
    if "path" not in node:
        return ""
    which = repr((key, node["path"], node.get("revision")))
    if which not in _known:
        from lavit.errors import LavitError as FilesError
        from lavit.released_files import fingerprint  # loads no torch

        try:
            _known[which] = fingerprint(f"{key}.path", node)
        except FilesError as error:
            raise LavitError(error.message, error.remedy or None) from error
    return _known[which]


def files_of(config: Mapping[str, Any]) -> list[str]:
    """The hashes of all checkpoints that a stage's config names."""
    nodes = [(key, config[key]) for key in RELEASED if isinstance(config.get(key), Mapping)]
    return [files for key, node in nodes if (files := released_files(key, node))]
