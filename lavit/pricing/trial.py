"""A trial: a stage's own training module over stand-in data, ready to be counted on the meta device or timed on a CPU.

The modules are the stages' own classes with another beginning: nothing is loaded and no encoder runs, but batches,
losses and ledgers are the very code that trains. What only training can tell (which patches a learned selector keeps)
is replaced by what the config asks for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lavit.data import Corpus
from lavit.data import build as build_corpus
from lavit.language import TextTokenizer, build_llm, pretrained_of
from lavit.ledger import Ledger
from lavit.stages.language import train_tokenizer
from lavit.stages.order import DataOrder
from lavit.stages.training import StageModule

Config = Mapping[str, Any]
ORDERED = 65_536  # examples of a stand-in data order: a permutation of more of them costs more than it tells
SAMPLED = 2048  # sequences that are assembled to learn how long they are
STAND_INS = 2048  # images that are made up where tensors hold values


@dataclass
class Trial:
    """A stage that can be priced.

    Attributes:
        module: gives ``batch(step)`` and ``loss(batch, step)``.
        network: what learns or is frozen in it; its parameters are the stage's.
        ledger: what the whole stage comes to.
        steps, first_step: what it trains, and where its data begin.
        method: the optimizer (``adamw`` or ``muon``).
        data: tensors over the whole split that the stage holds in memory.
    """

    module: StageModule
    network: nn.Module
    ledger: Callable[[], Ledger]
    steps: int
    first_step: int = 0
    method: str = "adamw"
    data: list[Tensor] = field(default_factory=list)


def order(size: int, seed: int, purpose: int) -> DataOrder:
    """The data order of a split; of its first examples only where it is very large."""
    return DataOrder(min(size, ORDERED), seed, purpose)


def stand_in_size(size: int, device: str) -> int:
    """How many examples tensors over a split have: all of them where they hold no values."""
    return size if device == "meta" else min(size, STAND_INS)


def sampled_steps(steps: int, sequences: int) -> range:
    """Steps whose batches stand for all: the first 32, fewer where a batch is large.

    The same steps for every arm and budget: arms that differ in steps alone then differ in nothing else.
    """
    return range(min(steps, max(2, min(32, SAMPLED // max(1, sequences)))))


def corpus_of(data: Config) -> Corpus:
    """The corpus of a data node, built once."""
    return _corpus(json.dumps(data))


def text_of(data: Config, language: Config) -> TextTokenizer:
    """The text tokenizer that the language stage will train: it depends on the corpus alone, so it is known now.

    Or that of the released LLM which the config names.
    """
    released = pretrained_of(language)
    return released.text() if released is not None else _text(json.dumps(data), int(language["vocab_size"]))


def llm_of(language: Config, text: TextTokenizer) -> Any:
    """The LLM of a language stage with random weights, on the current default device."""
    released = pretrained_of(language)
    return released.untrained() if released is not None else build_llm(language, len(text))


@lru_cache(maxsize=8)
def _corpus(data: str) -> Corpus:
    return build_corpus(json.loads(data))


@lru_cache(maxsize=8)
def _text(data: str, vocab_size: int) -> TextTokenizer:
    return train_tokenizer(_corpus(data), vocab_size)


def kept_places(tokens: Config | None, tokenizer: Config, places: int) -> float:
    """Mean number of tokens an image that the config asks for.

    A selector that keeps all of the places, a declared number (``budget``, ``mean``), or, where it is learned, the rate
    that its loss aims at: what it will really keep is known after training. Without ``tokens`` the tokenizer is of
    fixed length and fills all places.
    """
    if tokens is None:
        return float(places)
    selector = tokens["selector"]
    if selector.get("budget") or selector.get("mean"):
        return float(selector.get("budget") or selector["mean"])
    if selector["_target_"].endswith(".KeepAll"):
        return float(places)
    return max(1.0, float(tokenizer["keep"]["rate"]) * places)


def evenly(total: float, count: int) -> np.ndarray:
    """Whole numbers [count] that differ by one at most and average ``total``."""
    edges = np.round(np.arange(count + 1) * total).astype(np.int64)
    return np.diff(edges)


def empty(*shape: int, device: str) -> Tensor:
    """Floating-point stand-ins: shapes alone, or small random values."""
    return torch.empty(*shape, device=device) if device == "meta" else torch.randn(*shape)
