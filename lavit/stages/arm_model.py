"""From the config of an arm to its model, with initial weights, and what cannot be one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor
from transformers import PreTrainedModel

import lavit.tokenizer
from lavit.build import build, plain
from lavit.errors import LavitError
from lavit.language import load_llm
from lavit.model.lavit import LaVIT, build_lavit, seeded
from lavit.model.lora import add_lora
from lavit.model.targets import ImageShape, Target
from lavit.stages.recipe import Recipe


def build_arm(config: DictConfig, language: Path, visual: lavit.tokenizer.VisualTokenizer, seed: int) -> LaVIT:
    """The model of an arm, with initial weights, from its config and its shared stages."""
    target = config.get("target", {})
    if not visual.quantizer.unit and (target.get("name") == "continuous" or target.get("space") == "vector"):
        raise LavitError(
            f"target={target.name} regresses vectors of unit length, and this tokenizer's have any",
            "set tokenizer.quantizer.l2_norm=true, or target=discrete",
        )
    names = ("num_places", "places_implied", "positions", "feature_dim", "place_patches_MN")
    shape = {name: getattr(visual, name) for name in names}
    codebook = visual.lookup(torch.arange(visual.codebook_size)).detach()
    fresh = config.llm_init.name == "scratch"
    llm = load_llm(language, seed if fresh else None)
    model = assemble_arm(config, llm, shape, codebook, seed)
    if model.writes_slots and (visual.paints or visual.layout is None):
        raise LavitError(
            f"target={target.name} is drawn from features of patches, which this tokenizer does not have",
            "set tokenizer=lavit with tokens=fixed, or another target",
        )
    return model


def assemble_arm(
    config: DictConfig, llm: PreTrainedModel, tokenizer: Mapping[str, Any], codebook_KD: Tensor, seed: int
) -> LaVIT:
    """The same from a language model and what a model has to know of its tokenizer (see :func:`build_lavit`)."""
    level = config.llm
    if config.llm_init.name == "scratch" and not level.trainable:
        raise LavitError(
            f"llm_init=scratch with llm={level.name}: random weights that never learn are no language model",
            "let the whole LLM learn (llm=unfrozen), or begin with the pretrained one (llm_init=pretrained)",
        )
    if level.get("lora") is not None:
        with seeded(seed, "lora"):
            add_lora(llm, level.lora)
    target = None
    if "target" in config:
        options = {name: value for name, value in plain(config.target).items() if name != "name"}
        target = partial(build_target, options)
    connector = config.connector if "connector" in config else None
    entry = config.get("entry")
    return build_lavit(llm, tokenizer, codebook_KD, connector, target, bool(config.llm.trainable), seed, entry)


def check_entry(model: LaVIT, recipe: Recipe) -> None:
    """Raise where images would be written into sequences that hold none of those that are read."""
    if not model.beside or model.head is None or not recipe.generates:
        return
    writes = next(phase.name for phase in recipe.phases if phase.generation)
    raise LavitError(
        f"entry=gated keeps images that are read out of the sequence, but regime.{writes}.generation with "
        f"target={model.head.target.name} writes images into it",
        "set target=none or a regime without a visual loss (regime=adapter, regime=align_sft), or have images that are "
        "read in the sequence too: entry=hybrid, or entry=in_sequence",
    )


def build_target(options: Mapping[str, Any], images: ImageShape) -> Target:
    """The target of a config node."""
    target: Target = build(options, images=images)
    return target
