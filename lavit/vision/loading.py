"""Finished vision stages on disk: ``config.json`` says how to build, ``*.safetensors`` hold the weights."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from lavit.build import build
from lavit.vision.encoder import VisionEncoder


def load(folder: Path) -> VisionEncoder:
    """The frozen encoder of a finished vision stage, in evaluation mode."""
    options = json.loads((folder / "config.json").read_text())
    encoder: VisionEncoder = build(options["encoder"])
    encoder.load_state_dict(load_file(folder / "encoder.safetensors"))
    return encoder.requires_grad_(False).eval()


def load_label_head(folder: Path) -> nn.Linear | None:
    """The linear head that names what a patch shows; None where the data had no dense labels."""
    options = json.loads((folder / "config.json").read_text())
    if not options["labels"]:
        return None
    head = nn.Linear(options["encoder"]["width"], options["labels"])
    head.load_state_dict(load_file(folder / "labels.safetensors"))
    return head.requires_grad_(False).eval()
