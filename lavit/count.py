"""Counts a stage's parameters by building its modules on the meta device: ``python -m lavit.count < list.json``.

A child process of the planner, so that planning needs neither torch nor a formula beside the code. Reads a JSON list
of ``{"stage", "config", "inputs": {stage: its config}}`` and writes a JSON list, in the same order, of
``{"params_total", "params_trainable"}`` or ``{"error"}``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from lavit.build import build, locate
from lavit.language.llm import build_llm
from lavit.ledger import count_parameters
from lavit.model.lavit import build_lavit
from lavit.tokenizer.loading import assemble
from lavit.vision.encoder import VisionEncoder

Config = Mapping[str, Any]
Modules = list[nn.Module]


def _image_size(config: Config) -> int:
    return int(config["data"]["image_size"])


def _encoder(config: Config) -> VisionEncoder:
    encoder: VisionEncoder = build(config["vision"]["encoder"], image_size=_image_size(config))
    return encoder


def _tokenizer(config: Config, inputs: Mapping[str, Config]) -> Any:
    encoder = _encoder(inputs["vision"])
    return assemble(config["tokens"], config["tokenizer"], encoder.feature_dim, encoder.grid)


def vision(config: Config, inputs: Mapping[str, Config]) -> Modules:
    """The encoder, without the heads that are thrown away."""
    return [_encoder(config)]


def language(config: Config, inputs: Mapping[str, Config]) -> Modules:
    """The text LLM at its largest vocabulary."""
    return [build_llm(config["language"], config["language"]["vocab_size"])]


def tokenizer(config: Config, inputs: Mapping[str, Config]) -> Modules:
    """Selector, merger, quantizer and decoder."""
    return [_tokenizer(config, inputs)]


def pixels(config: Config, inputs: Mapping[str, Config]) -> Modules:
    """The pixel decoder."""
    encoder = _encoder(inputs["vision"])
    return [
        build(
            config["pixels"]["decoder"],
            feature_dim=encoder.feature_dim,
            grid=encoder.grid,
            patch=encoder.patch,
        )
    ]


def arm(config: Config, inputs: Mapping[str, Config]) -> Modules:
    """The arm's language model, frozen where its config says so."""
    visual = _tokenizer(inputs["tokenizer"], inputs)
    shape = {
        "num_places": visual.num_places,
        "places_implied": visual.places_implied,
        "positions": inputs["tokenizer"]["tokenizer"]["positions"],
        "feature_dim": visual.feature_dim,
        "place_patches_MN": None,  # initial values count nothing
    }
    target = locate(config["target"]["_target_"]) if config["regime"]["generation"] else None
    codebook = torch.empty(visual.codebook_size, visual.code_dim)
    llm = language(inputs["language"], {})[0]
    trainable = bool(config["llm"]["trainable"])
    return [build_lavit(llm, shape, codebook, config["connector"], target, trainable)]  # type: ignore[arg-type]


COUNTED: dict[str, Callable[[Config, Mapping[str, Config]], Modules]] = {
    "vision": vision,
    "language": language,
    "tokenizer": tokenizer,
    "pixels": pixels,
    "pretrain": arm,
    "cooldown": arm,
}


def count(question: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of one stage; a stage that trains nothing counts none."""
    stage = str(question["stage"])
    if stage not in COUNTED:
        return {"params_total": 0, "params_trainable": 0}
    inputs = question.get("inputs", {})
    with torch.device("meta"):
        modules = COUNTED[stage](question["config"], inputs)
    counts = [count_parameters(module) for module in modules]
    return {"params_total": sum(c[0] for c in counts), "params_trainable": sum(c[1] for c in counts)}


def main() -> None:
    """Answer the questions on standard input."""
    answers = []
    for question in json.load(sys.stdin):
        try:
            answers.append(count(OmegaConf.to_container(OmegaConf.create(question))))  # type: ignore[arg-type]
        except Exception as error:  # the planner prints it beside the stage and goes on
            answers.append({"error": f"{type(error).__name__}: {error}"})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
