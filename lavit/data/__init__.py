"""The embedded world, and images with human text, behind one protocol (``lavit.data.protocol``)."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lavit.data.protocol import Corpus, Examples, Question, Scene, SceneJudge, SceneObject

__all__ = ["Corpus", "Examples", "Question", "Scene", "SceneJudge", "SceneObject", "build", "check", "fingerprint"]


def build(node: Mapping[str, Any]) -> Corpus:
    """The corpus that a config node names by its ``_target_``.

    The node's ``root`` is not the corpus's: it is where benchmarks with files of their own find them.

    Raises:
        ValueError: no ``_target_``, or it does not take the node's keys.
        LavitError: the data itself is bad.
    """
    from lavit.build import build as build_node
    from lavit.build import plain

    corpus: Corpus = build_node({key: value for key, value in plain(node).items() if key != "root"})
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
    """What a stage's key must hold beside the config: a hash of the files that it names, if any.

    The world is made from its config alone. Of the texts every byte is hashed; of a zip, the names and
    checksums that it holds; of a folder, names, sizes and times.
    """
    from lavit.build import plain

    options = plain(node)
    digest = hashlib.sha256()
    images, texts = options.get("images"), options.get("texts")
    if not images or not texts:
        return ""
    digest.update(Path(texts).expanduser().read_bytes())
    root = Path(images).expanduser()
    if root.is_dir():
        files = [file for file in root.rglob("*") if file.is_file()]
        states = [(file.relative_to(root).as_posix(), file.stat()) for file in files]
        lines = [f"{name}|{state.st_size}|{state.st_mtime_ns}" for name, state in states]
    else:
        with zipfile.ZipFile(root) as archive:
            lines = [f"{entry.filename}|{entry.file_size}|{entry.CRC}" for entry in archive.infolist()]
    digest.update("\n".join(sorted(lines)).encode())
    return digest.hexdigest()
