"""From config to tokenizer, and from a finished tokenizer stage back to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from lavit import vision
from lavit.build import build, locate
from lavit.errors import LavitError
from lavit.tokenizer.base import VisualTokenizer
from lavit.tokenizer.pooling import Layout, per_patch
from lavit.tokenizer.tokenizer import Tokenizer


def assemble(
    tokens: Mapping[str, Any] | None, tokenizer: Mapping[str, Any], feature_dim: int, grid: int, patch: int = 0
) -> Any:
    """Build a tokenizer by the function that its config names (``tokenizer.assemble``).

    Args:
        tokens: config node of what becomes a token; None where the tokenizer leaves no choice.
        tokenizer: its config node.
        feature_dim: channels of the vision features.
        grid: patches along a side.
        patch: side of a patch in pixels, for tokenizers that see pixels.

    Returns:
        A :class:`~lavit.tokenizer.base.VisualTokenizer`.
    """
    return locate(tokenizer["assemble"])(tokens, tokenizer, feature_dim, grid, patch)


def assemble_dynamic(
    tokens: Mapping[str, Any] | None, tokenizer: Mapping[str, Any], feature_dim: int, grid: int, patch: int = 0
) -> Tokenizer:
    """Build LaVIT's tokenizer from the config nodes ``tokens`` (the axis) and ``tokenizer`` (everything else).

    Args:
        tokens: ``layout`` (null: one place a patch; else a dotted path called with the grid and ``tokens.mean``),
            ``selector`` and ``merger`` (null: the tokenizer's own, ``tokenizer.merger``).
        tokenizer: ``merger``, ``quantizer``, ``quantise``, ``decoder`` (one node for each of ``tokenizer.positions``).
        feature_dim: channels of the vision features.
        grid: patches along a side.
        patch: not looked at.

    Raises:
        LavitError: a node cannot be built; names the key.
    """
    if tokens is None:
        raise LavitError("this tokenizer has to be told what becomes a token", "choose tokens=dynamic or another level")
    mean = tokens.get("mean")
    layout: Layout = locate(tokens["layout"])(grid, mean) if tokens.get("layout") else per_patch(grid)
    positions = tokenizer["positions"]
    if positions not in tokenizer["decoder"]:
        raise LavitError(f"tokenizer.positions={positions!r} is unknown; choose {' or '.join(tokenizer['decoder'])}")
    selector = build(tokens["selector"], width=feature_dim, places=layout.num_places)
    merger = build(tokens.get("merger") or tokenizer["merger"], width=feature_dim)
    quantizer = build(tokenizer["quantizer"], width=feature_dim)
    decoder = build(
        tokenizer["decoder"][positions], code_dim=quantizer.code_dim, feature_dim=feature_dim, layout=layout
    )
    quantised = bool(tokenizer["quantise"])
    return Tokenizer(layout, selector, merger, quantizer, decoder, feature_dim, quantised=quantised)


def load(tokenizer_dir: Path, vision_dir: Path | None) -> VisualTokenizer:
    """The frozen tokenizer of a finished stage, in evaluation mode.

    Args:
        tokenizer_dir: folder of the tokenizer stage.
        vision_dir: folder of the vision stage that it was trained on; without it ``encode`` is not available for
            tokenizers that read vision features.
    """
    options = json.loads((tokenizer_dir / "config.json").read_text())
    tokenizer: VisualTokenizer = assemble(
        options.get("tokens"), options["tokenizer"], options["feature_dim"], options["grid"], options["patch"]
    )
    tokenizer.load_state_dict(load_file(tokenizer_dir / "tokenizer.safetensors"))
    if vision_dir is not None:
        tokenizer.vision = vision.load(vision_dir)
    return tokenizer.requires_grad_(False).eval()
