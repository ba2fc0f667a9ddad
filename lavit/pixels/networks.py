"""U-Nets and image autoencoders of diffusers, built from plain config or from local folders.

diffusers is an extra of its own and slow to import: nothing here touches it before it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from lavit.errors import LavitError

Options = dict[str, Any]
WEIGHTS = "diffusion_pytorch_model"  # diffusers' name of a model's weights


def _diffusers() -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise LavitError(
            f"this pixel decoder is built on diffusers, which cannot be imported: {error}",
            "Install the extra: pip install 'lavit-lab[diffusion]'. pixels=patch needs nothing further.",
        ) from error
    return diffusers


def build_unet(options: Mapping[str, Any], **further: Any) -> nn.Module:
    """A U-Net with random weights; ``further`` wins over ``options``.

    Raises:
        LavitError: diffusers is missing, or refuses the options.
    """
    return _build(_diffusers().UNet2DConditionModel, "unet", dict(options) | further)


def build_vae(options: Mapping[str, Any]) -> nn.Module:
    """A frozen image autoencoder with random weights; errors as for :func:`build_unet`."""
    vae = _build(_diffusers().AutoencoderKL, "vae", dict(options))
    return vae.requires_grad_(False).eval()


def _build(kind: Any, key: str, options: Options) -> nn.Module:
    try:
        network: nn.Module = kind(**options)
    except (TypeError, ValueError) as error:
        raise LavitError(f"pixels.decoder.{key}: diffusers cannot build it: {error}") from error
    return network


def describe(network: Any) -> Options:
    """What builds a network of the same shape again: plain data, without diffusers' own notes."""
    plain: Options = json.loads(json.dumps({k: v for k, v in network.config.items() if not k.startswith("_")}))
    return plain


def read_options(key: str, folder: str) -> Options:
    """The ``config.json`` of a model folder in diffusers' layout.

    Raises:
        LavitError: there is no such folder, or no such file in it.
    """
    path = Path(folder).expanduser() / "config.json"
    if not path.is_file():
        raise LavitError(
            f"pixels.decoder.{key}={folder}: there is no {path}",
            f"Name a local folder in diffusers' layout that holds config.json and {WEIGHTS}.safetensors, such as the "
            f"`{key.partition('_')[0]}` folder of a Stable Diffusion checkpoint. Nothing is downloaded.",
        )
    options: Options = json.loads(path.read_text(encoding="utf-8"))
    return {name: value for name, value in options.items() if not name.startswith("_")}


def load_weights(key: str, folder: str, network: nn.Module) -> None:
    """Fill a network with the safetensors weights of a model folder.

    Raises:
        LavitError: there are none, or they are those of another shape.
    """
    path = Path(folder).expanduser() / f"{WEIGHTS}.safetensors"
    if not path.is_file():
        raise LavitError(
            f"pixels.decoder.{key}={folder}: there is no {path}",
            "Weights are read as safetensors only (a .bin file is a pickle, which may hold anything).",
        )
    try:
        network.load_state_dict(load_file(path))
    except RuntimeError as error:
        told = "\n".join(str(error).splitlines()[:6])
        raise LavitError(f"pixels.decoder.{key}: {path} holds weights of another shape: {told}") from error
