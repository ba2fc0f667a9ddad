"""What the stages of the visual side share: reading their data once, and writing what they leave behind.

Shapes: S images of a split, H W pixels, N patches, C channels, R rows, L label classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lavit.data import Corpus


def write_json(path: Path, content: Any) -> None:
    """Write JSON with a stable layout."""
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def save_weights(path: Path, module: nn.Module) -> None:
    """Write a module's state as safetensors."""
    save_file({name: value.detach().contiguous() for name, value in module.state_dict().items()}, path)


def index_chunks(size: int, chunk: int) -> list[np.ndarray]:
    """0 … size - 1 in runs of at most ``chunk``."""
    return [np.arange(first, min(first + chunk, size)) for first in range(0, size, chunk)]


def load_images(corpus: Corpus, split: str, limit: int | None = None) -> Tensor:
    """The images of a split (its first ``limit``) as one uint8 tensor [S, H, W, 3]."""
    size = corpus.size(split) if limit is None else min(limit, corpus.size(split))
    return torch.from_numpy(np.concatenate([corpus.images(split, index) for index in index_chunks(size, 512)]))


@torch.no_grad()
def load_features(vision: nn.Module, images_SHWC: Tensor, batch: int = 128) -> Tensor:
    """Vision features [S, N, C] of many images."""
    return torch.cat([vision(images_BHWC) for images_BHWC in images_SHWC.split(batch)])


def channel_statistics(features_SNC: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [C] of each channel."""
    rows_RC = features_SNC.flatten(0, 1)
    return rows_RC.mean(0), rows_RC.std(0).clamp(min=1e-4)


def forward_flops(module: Callable[..., Any], *inputs: Any) -> float:
    """FLOPs of one call, measured: the 2nP of the rules with attention and convolutions as they really are."""
    # With gradients on: the counter follows modules by hooks, which fail on a parameter's view made without them.
    # Attention as plain products: a CPU's fused kernel is unknown to the counter and would cost nothing.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return float(counter.get_total_flops())


def label_match(logits_RL: Tensor, labels_RL: Tensor) -> float:
    """Share of rows whose whole set of labels is right (logit above 0 where the label is at least one half)."""
    return float(((logits_RL > 0) == (labels_RL >= 0.5)).all(-1).float().mean())


def psnr(images: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of images in 0 … 1, over all their pixels."""
    return float(-10 * torch.log10(((images - truth) ** 2).mean().clamp(min=1e-10)))


def judge_images(corpus: Corpus, split: str, images_SHWC: Tensor) -> dict[str, float]:
    """What the corpus' own judge reads in decoded images (0 … 1) of the split's first S; empty without a judge."""
    judge = corpus.scene_judge()
    if judge is None:
        return {}
    index = np.arange(len(images_SHWC))
    pixels = (images_SHWC.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    scores = [judge.score(t, s) for t, s in zip(judge.truth(split, index), judge.read(pixels), strict=True)]
    means = {name: float(np.mean([score[name] for score in scores])) for name in ("objects", "exact")}
    return means | {"committed": float(judge.background(pixels)["committed"].mean())}
