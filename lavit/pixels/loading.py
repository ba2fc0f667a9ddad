"""Finished pixel decoders on disk."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from lavit.build import build


def load(folder: Path) -> nn.Module:
    """The frozen pixel decoder of a finished stage: features [B, N, C] to images [B, H, W, 3] in 0 … 1."""
    options = json.loads((folder / "config.json").read_text())
    decoder: nn.Module = build(options["decoder"])
    decoder.load_state_dict(load_file(folder / "decoder.safetensors"))
    return decoder.requires_grad_(False).eval()
