"""Data: the embedded world, and images with human text; both behind one protocol (``lavit.data.protocol``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lavit.data.protocol import Corpus, Question, Scene, SceneJudge, SceneObject

__all__ = ["Corpus", "Question", "Scene", "SceneJudge", "SceneObject", "build"]


def build(node: Mapping[str, Any]) -> Corpus:
    """The corpus that a config node names by its ``_target_``.

    Raises:
        ValueError: no ``_target_``, or it does not take the node's keys.
        LavitError: the data itself is bad.
    """
    from lavit.build import build as build_node

    corpus: Corpus = build_node(node)
    return corpus
