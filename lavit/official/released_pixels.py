"""The pixel decoder of a release: a U-Net, an autoencoder and a scheduler in diffusers' folders.

They are written in the same layout, as safetensors. diffusers is not needed for that; where it is installed, names and
shapes are checked against the model that it builds from the folder's config.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.official.keyreport import PartReport
from lavit.official.names import KeyReport
from lavit.official.reading import find_weights, read_json, read_weights
from lavit.official.section import Section, make_section

KINDS = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
WEIGHTS = "diffusion_pytorch_model.safetensors"
UNCONDITIONAL = "uncond_embeddings"

# Names of the autoencoder's attention since diffusers 0.18, and those before.
OLD_ATTENTION = (
    (r"(attentions\.\d+)\.to_q\.", r"\1.query."),
    (r"(attentions\.\d+)\.to_k\.", r"\1.key."),
    (r"(attentions\.\d+)\.to_v\.", r"\1.value."),
    (r"(attentions\.\d+)\.to_out\.0\.", r"\1.proj_attn."),
)
_OLD = re.compile(r"(attentions\.\d+)\.(query|key|value|proj_attn)\.")
_NEW = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


class Shapes(nn.Module):
    """A model of which only names and shapes are known."""

    def __init__(self, shapes: Mapping[str, torch.Size]):
        super().__init__()
        self._shapes = dict(shapes)

    def state_dict(self, *args: Any, **further: Any) -> dict[str, Tensor]:  # type: ignore[override]
        """Tensors without values."""
        return {name: torch.empty(shape, device="meta") for name, shape in self._shapes.items()}


def read_pixels(folder: Path, part: str, condition_dim: int | None, ignored: Iterable[str] = ()) -> list[Section]:
    """Look at what is there of a pixel decoder.

    Args:
        folder: holds ``unet``, ``vae``, ``scheduler`` and perhaps the embeddings of no condition.
        part: ``low`` or ``high``: what it is called, and the folder that it is written to.
        condition_dim: channels of the condition tokens that the feature decoder makes, if known.
        ignored: patterns of left-over names that the user asked to leave out.

    Raises:
        LavitError: a folder has no config or weights of another kind of model.
    """
    found = [_model(folder / kind, part, kind, ignored) for kind in KINDS if (folder / kind).is_dir()]
    for section in found:
        width = section.options.get("cross_attention_dim")
        if None not in (width, condition_dim) and width != condition_dim:
            raise LavitError(
                f"{folder / 'unet' / 'config.json'}: cross_attention_dim: {width}, but the feature decoder makes "
                f"condition tokens of {condition_dim}",
                "the U-Net and the decoder belong to different releases",
            )
    schedule = folder / "scheduler" / "scheduler_config.json"
    if schedule.is_file():
        name = f"{part}/scheduler"
        found.append(Section(PartReport(name, [str(schedule)], KeyReport(name)), name, copies=[schedule]))
    nothing = folder / f"{UNCONDITIONAL}.bin"
    if nothing.is_file():
        found.append(_unconditional(nothing, part, condition_dim))
    return found


def _model(folder: Path, part: str, kind: str, ignored: Iterable[str]) -> Section:
    options = read_json(folder / "config.json")
    if options.get("_class_name") != KINDS[kind]:
        raise LavitError(f"{folder / 'config.json'}: _class_name: {options.get('_class_name')!r}, not {KINDS[kind]!r}")
    weights = find_weights(folder)
    old = any(_OLD.search(name) for name in weights)
    model = _build(KINDS[kind], options)
    checked = model is not None
    if model is None:
        model = Shapes({_OLD.sub(lambda m: f"{m[1]}.{_NEW[m[2]]}.", name): shape for name, shape in weights.items()})
    rules = OLD_ATTENTION if old else ()
    section = make_section(f"{part}/{kind}", f"{part}/{kind}/{WEIGHTS}", weights, model, rules, {}, ignored)
    section.copies = [folder / "config.json"]
    section.options = {key: options[key] for key in ("cross_attention_dim",) if key in options}
    if not checked:
        section.report.notes.append(
            "taken as it is; with diffusers (pip install 'lavit-lab[diffusion]') names and shapes are checked too"
        )
    return section


def _build(kind: str, options: dict[str, Any]) -> nn.Module | None:
    """The model that diffusers builds, without values; None without diffusers."""
    try:
        import diffusers
    except ImportError:
        return None
    with torch.device("meta"):
        model: nn.Module = getattr(diffusers, kind).from_config(options)
    return model


def _unconditional(path: Path, part: str, condition_dim: int | None) -> Section:
    weights = read_weights(path)
    if len(weights) != 1:
        raise LavitError(f"{path}: one tensor was expected, not {len(weights)}")
    ((name, shape),) = weights.items()
    if condition_dim is not None:
        shape = torch.Size([*shape[:-1], condition_dim])
    target = f"{part}/{UNCONDITIONAL}.safetensors"
    return make_section(
        f"{part}/unconditional", target, weights, Shapes({UNCONDITIONAL: shape}), ((UNCONDITIONAL, name),)
    )
