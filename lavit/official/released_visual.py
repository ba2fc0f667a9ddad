"""The visual side of a release: the tokenizer, its decoders, and the understanding copy of merger and projector."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace

import torch
from torch import nn

from lavit.errors import LavitError
from lavit.official.config import OfficialConfig, read_sizes
from lavit.official.names import DECODER, TOKENIZER, UNUSED
from lavit.official.reading import Weights
from lavit.official.section import Section, make_section
from lavit.official.tokenizer import OfficialDecoder, OfficialTokenizer

WHY_UNUSED = dict.fromkeys(UNUSED, "features are the last block's output: no final norm, no contrastive head")
PROJECTOR = ("vit_proj.weight", "vit_proj.bias")


def read_visual(
    tokenizer: Weights, understanding: Weights | None, llm_width: int | None, ignored: Iterable[str] = ()
) -> tuple[OfficialConfig, list[Section]]:
    """Look at the tokenizer, and at the copy of its merger and projector that the LLM was trained with.

    The projector of the tokenizer's own file has no use beside that copy, and may be missing there.

    Args:
        tokenizer: its file.
        understanding: the copy's file, if it is there.
        llm_width: width of the language model, if it is there: what a projector has to give.
        ignored: patterns of left-over names that the user asked to leave out.

    Returns:
        The sizes, and a section of each.
    """
    copied = understanding.shapes() if understanding else {}
    config = read_sizes(copied | tokenizer.shapes())
    if llm_width is not None:
        config = replace(config, llm_width=llm_width)
    with torch.device("meta"):
        model = OfficialTokenizer(config)
    whole = make_section("tokenizer", "tokenizer.safetensors", tokenizer, model, TOKENIZER, WHY_UNUSED, ignored)
    whole.options = asdict(config)
    if understanding is None:
        return config, [whole]
    if not any(name in tokenizer for name in PROJECTOR):
        for name in PROJECTOR:
            del whole.report.keys.missing[name]
        whole.report.notes.append("no projector in this file; the understanding copy's is the one that is used")
    pair = nn.ModuleDict({"merger": model.merger, "projector": model.projector})
    target = "understanding.safetensors"
    return config, [whole, make_section("understanding", target, understanding, pair, TOKENIZER, {}, ignored)]


def read_decoder(weights: Weights, config: OfficialConfig, high: bool, ignored: Iterable[str] = ()) -> Section:
    """Look at the decoder from codes to features and to the condition of one of the two pixel decoders.

    Raises:
        LavitError: a tensor that tells a size is missing.
    """
    shapes = weights.shapes()
    heads = ("unet_proj_1.weight", "unet_proj_2.weight") if high else ("unet_proj.weight",)
    for name in heads:
        if name not in shapes:
            raise LavitError(f"{weights.paths[0]}: the tensor '{name}' is missing", "it tells the condition's width")
    widths = [shapes[name].shape[0] for name in heads]
    blocks = len({name.split(".")[1] for name in shapes if name.startswith("blocks.")})
    config = replace(
        config, decoder_blocks=blocks, condition_dim=widths[0], pooled_dim=widths[1] if high else config.pooled_dim
    )
    with torch.device("meta"):
        model = OfficialDecoder(config, high)
    part = "high" if high else "low"
    section = make_section(f"{part}/decoder", f"{part}/decoder.safetensors", weights, model, DECODER, {}, ignored)
    section.options = asdict(config)
    return section
