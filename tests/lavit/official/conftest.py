"""A parity fixture of our own making: random weights in the official format, and what our modules make of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lavit.official.config import OfficialConfig
from lavit.official.names import DECODER, TOKENIZER, UNUSED, to_official
from lavit.official.tokenizer import OfficialDecoder, OfficialTokenizer

CONFIG = OfficialConfig(
    image_size=24,
    patch=8,
    width=24,
    heads=3,
    vision_blocks=3,
    merger_blocks=1,
    decoder_blocks=2,
    codebook_size=40,
    code_dim=6,
    llm_width=20,
    condition_dim=10,
    pooled_dim=14,
)


def draw(module: torch.nn.Module, generator: torch.Generator) -> None:
    """Random weights, none of them zero."""
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            scale = value.shape[-1] ** -0.5 if value.dim() > 1 else 0.1
            drawn = torch.randn(value.shape, generator=generator) * scale
            value.copy_(drawn + 1 if "norm" in name and name.endswith("weight") else drawn)


@pytest.fixture
def write_fixture(tmp_path: Path) -> Callable[..., Path]:
    """Write a fixture; ``change`` may alter its tensors (expectations included) and its document first."""

    def write(change: Callable[[dict[str, Tensor], dict[str, Any]], None] | None = None) -> Path:
        from lavit.official.fixture import read_fixture
        from lavit.official.trace import trace

        generator = torch.Generator().manual_seed(5)
        tokenizer, weights = OfficialTokenizer(CONFIG), {}
        draw(tokenizer, generator)
        weights |= {f"sd.tokenizer.{name}": value for name, value in to_official(tokenizer, TOKENIZER).items()}
        weights |= {f"sd.tokenizer.{name}": torch.ones(3) for name in UNUSED}
        for part in ("decoder", "decoder_highres"):
            decoder = OfficialDecoder(CONFIG, high_resolution=part == "decoder_highres")
            draw(decoder, generator)
            weights |= {f"sd.{part}.{name}": value for name, value in to_official(decoder, DECODER).items()}
        keep = torch.zeros(3, 9)
        keep[0, 4], keep[1], keep[2, :8] = 1, 1, 1
        tensors = weights | {
            "input.images": torch.randn(3, 3, 24, 24, generator=generator),
            "argmax.decisions": torch.ones(3, 9),
            "noisy.noise": torch.randn(3, 9, 2, generator=generator),
            "noisy.decisions": torch.ones(3, 9),
            "edge.decisions": keep,
            "vq_nonunit.z": torch.randn(8, 6, generator=generator),
            "vq_nonunit.codebook": torch.randn(40, 6, generator=generator),
        }
        document: dict[str, Any] = {
            "config": {
                "img_size": 24,
                "patch_size": 8,
                "width": 24,
                "heads": 3,
                "vit_depth": 3,
                "merger_depth": 1,
                "decoder_depth": 2,
                "n_code": 40,
                "code_dim": 6,
                "llm_dim": 20,
                "cond_dim": 10,
                "cond_dim2": 14,
            },
            "cases": {"argmax": "", "noisy": "", "edge": ""},
            "tolerance": {
                "policy_softmax": {"atol": 2e-5, "rtol": 1e-4},
                "exact_softmax": {"atol": 2e-3, "rtol": 1e-4, "not_compared": ["merger.*.probs", "merger.*.scores"]},
            },
        }
        path = tmp_path / "made.safetensors"

        def save() -> None:
            save_file({name: value.contiguous() for name, value in tensors.items()}, path)
            document["shapes"] = {n: [str(v.dtype).removeprefix("torch."), list(v.shape)] for n, v in tensors.items()}
            path.with_suffix(".json").write_text(json.dumps(document))

        for _ in range(2):  # the decisions that the selector takes first, then what follows from them
            save()
            tensors |= trace(read_fixture(path), "policy", packed=False)
        save()
        if change is not None:
            change(tensors, document)
            save_file({name: value.contiguous() for name, value in tensors.items()}, path)
            path.with_suffix(".json").write_text(json.dumps(document))
        return path

    return write
