"""Finished vision stages on disk: ``config.json`` says how to build, ``*.safetensors`` hold the weights.

Those of a released encoder stay where they are: ``config.json`` then names them, with their hashes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from lavit.build import build
from lavit.errors import LavitError
from lavit.vision.encoder import VisionEncoder
from lavit.vision.pretrained import PretrainedEncoder


def load(folder: Path) -> VisionEncoder:
    """The frozen encoder of a finished vision stage, in evaluation mode.

    Raises:
        LavitError: the files of a released encoder are gone, or are others than the stage has checked.
    """
    options = json.loads((folder / "config.json").read_text())
    encoder: VisionEncoder = build(options["encoder"])
    if isinstance(encoder, PretrainedEncoder):
        check_files(folder, options)
        encoder.load()
    else:
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


def check_files(folder: Path, options: dict[str, Any]) -> None:
    """Raise unless a released encoder's files are those that its stage has checked."""
    found = PretrainedEncoder.files(options["encoder"])
    if wrong := sorted(name for name in {*found, *options["files"]} if found.get(name) != options["files"].get(name)):
        raise LavitError(
            f"{options['encoder']['path']}: {', '.join(wrong)} changed since the vision stage checked it "
            f"({folder / 'config.json'})",
            "put the files back, or plan again: other files are another stage",
        )
