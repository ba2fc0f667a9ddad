"""The embedded world, and images with human text, behind one protocol (``lavit.data.protocol``)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lavit.data.protocol import Corpus, Question, Scene, SceneJudge, SceneObject

__all__ = ["Corpus", "Question", "Scene", "SceneJudge", "SceneObject", "build", "check", "fingerprint"]


def build(node: Mapping[str, Any]) -> Corpus:
    """The corpus that a config node names by its ``_target_``.

    Raises:
        ValueError: no ``_target_``, or it does not take the node's keys.
        LavitError: the data itself is bad.
    """
    from lavit.build import build as build_node

    corpus: Corpus = build_node(node)
    return corpus


def check(node: Mapping[str, Any]) -> str:
    """Everything that can be wrong with the data, before work starts: settings, rows, files, every pixel.

    Returns:
        One line that says what there is.

    Raises:
        ValueError, LavitError: as ``build``; and for a file whose pixels cannot be decoded.
    """
    corpus = build(node)
    corpus.images("train", np.zeros(1, dtype=np.int64))
    return corpus.describe()


def fingerprint(node: Mapping[str, Any]) -> str:
    """What a stage's key must hold beside the config: a hash of the files that the config names, or nothing.

    The world is made from its config alone. Of a zip or a folder, names, sizes and times are hashed; of the texts,
    every byte.
    """
    from lavit.build import plain

    options = plain(node)
    digest = hashlib.sha256()
    images, texts = options.get("images"), options.get("texts")
    if not images or not texts:
        return ""
    digest.update(Path(texts).expanduser().read_bytes())
    root = Path(images).expanduser()
    for file in sorted(root.rglob("*")) if root.is_dir() else [root]:
        if file.is_file():
            state = file.stat()
            digest.update(f"{file.relative_to(root)}|{state.st_size}|{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()
