"""Trials of the stages over sequences: the text LLM and the arm.

Shapes: S images, M visual tokens of all images, C feature width, D code dimension.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from lavit.build import build
from lavit.language.llm import build_llm
from lavit.language.pretrained import pretrained_of
from lavit.ledger import Ledger, count_parameters
from lavit.pricing.shapes import Shapes
from lavit.pricing.trial import (
    ORDERED,
    Config,
    Trial,
    corpus_of,
    evenly,
    kept_places,
    llm_of,
    order,
    sampled_steps,
    stand_in_size,
    text_of,
)
from lavit.sequences import SequenceBuilder, VisualStore
from lavit.stages.arm import ArmModule
from lavit.stages.arm_model import assemble_arm
from lavit.stages.language import LanguageModule
from lavit.stages.training import StageModule
from lavit.tokenizer.base import VisualTokenizer
from lavit.tokenizer.loading import assemble
from lavit.vision.encoder import VisionEncoder

SHAPE = ("num_places", "places_implied", "positions", "feature_dim", "place_patches_MN")


class StandInStore(VisualStore):
    """Visual tokens of no content: every image has as many as the config asks for."""

    def __init__(self, size: int, mean: float, visual: VisualTokenizer, device: str):
        counts_S = evenly(mean, size)
        self.offsets = np.concatenate([np.zeros(1, np.int64), counts_S.cumsum()])
        rows = int(self.offsets[-1])
        make = torch.empty if device == "meta" else torch.randn
        self.features_MC = make(rows, visual.feature_dim, device=device)
        self.vectors_MD = make(rows, visual.code_dim, device=device)
        self.codes_M = torch.zeros(rows, dtype=torch.long)
        self.places_M = torch.arange(rows) - torch.from_numpy(np.repeat(self.offsets[:-1], counts_S))

    def pin(self, device: torch.device) -> VisualStore:
        """Everything stays where it is: shapes on the meta device, indices on the CPU."""
        return self


class LanguageTrial(LanguageModule):
    """The language stage's module, begun without loading anything."""

    def __init__(self, config: DictConfig, device: str):
        StageModule.__init__(self)
        data = OmegaConf.to_container(config.data)
        self.config, self.seed = config.language, int(config.language.seed)
        self.corpus = corpus_of(data)  # type: ignore[arg-type]
        self.text = text_of(data, self.config)  # type: ignore[arg-type]
        self.builder = SequenceBuilder(self.text)
        with torch.device(device):
            self.llm = build_llm(self.config, len(self.text))
        self.order = [order(self.corpus.size("train"), self.seed, 10 + purpose) for purpose in range(3)]
        self.register_buffer("counts", torch.zeros(3, dtype=torch.float64))


class ArmTrial(ArmModule):
    """The arm's module, begun without loading anything."""

    def __init__(self, config: DictConfig, inputs: dict[str, Config], visual: VisualTokenizer, stage: str, device: str):
        StageModule.__init__(self)
        data: Any = OmegaConf.to_container(config.data)
        self.config, self.seed = config, 0
        self.corpus = corpus_of(data)
        language = inputs["language"]["language"]
        self.text = text_of(data, language)
        self.builder = SequenceBuilder(self.text)
        with torch.device(device):
            shape = {name: getattr(visual, name) for name in SHAPE}
            codebook_KD = torch.zeros(visual.codebook_size, visual.code_dim)
            llm = llm_of(language, self.text)
            self.model = assemble_arm(config, llm, shape, codebook_KD, 0)
        mean = kept_places(inputs["tokenizer"].get("tokens"), inputs["tokenizer"]["tokenizer"], visual.num_places)
        size = self.corpus.size("train")
        self.store = self.val_store = StandInStore(min(stand_in_size(size, device), ORDERED), mean, visual, device)
        rows = round(mean * size)  # of the whole split: shapes alone, whatever the device
        floats = torch.empty(rows, visual.feature_dim + visual.code_dim, device="meta")
        self.data = [floats, torch.empty(rows, 2, dtype=torch.long, device="meta")]  # features, vectors; codes, places
        self.weights = config.train.weights
        self.begin(stage)
        size = min(len(self.store), int(config.train.images or len(self.store)))
        self.order = [order(size, self.seed, purpose) for purpose in range(4)]
        self.trunk_counts = torch.zeros(4, dtype=torch.float64)
        self.register_buffer("counts", torch.zeros(4, dtype=torch.float64))


def language(config: Config, inputs: dict[str, Config], device: str) -> Trial:
    """The text LLM's stage; its ledger is what its loss counts on some steps, times the steps."""
    node: Any = OmegaConf.create(dict(config))
    released = pretrained_of(node.language)
    if released is not None:
        with torch.device(device):
            llm = released.untrained()
        return Trial(StageModule(), llm, lambda: Ledger(params_total=count_parameters(llm)[0]), steps=0)
    module = LanguageTrial(node, device)
    own = node.language

    def ledger() -> Ledger:
        sampled = sampled_steps(int(own.steps), int(own.batch))
        for step in sampled:
            with torch.no_grad(), Shapes():
                module.loss(module.batch(step), step)
        module.counts *= int(own.steps) / max(1, len(sampled))
        module.counts[:2].round_()  # positions and tokens are whole
        return module.ledger()

    return Trial(module, module.llm, ledger, int(own.steps), method=str(own.optimizer))


def encoder_of(inputs: Config) -> VisionEncoder:
    """The vision encoder of a finished vision stage of that config."""
    encoder: VisionEncoder = build(inputs["vision"]["encoder"], image_size=int(inputs["data"]["image_size"]))
    return encoder


def arm(config: Config, inputs: dict[str, Config], device: str) -> Trial:
    """A stage of an arm: sequences are assembled on some of its steps and counted as training counts them."""
    node: Any = OmegaConf.create(dict(config))
    with torch.device(device):
        encoder = encoder_of(inputs["vision"])
        tokenizer = inputs["tokenizer"]
        shape = encoder.feature_dim, encoder.grid, encoder.patch
        visual = assemble(tokenizer.get("tokens"), tokenizer["tokenizer"], *shape)
    stage = "cooldown" if "cooldown" in node else "tune" if "tune" in node.regime else "pretrain"
    module = ArmTrial(node, inputs, visual, stage, device)
    span = module.recipe.span(stage)
    if stage == "cooldown":
        first = int(node.train.steps) if node.cooldown.at is None else int(node.cooldown.at)
        span = range(first, first + int(node.cooldown.steps))
    steps, module.first_step = len(span), span.start

    def ledger() -> Ledger:
        begun = module.phase.counts(node.train, int(node.train.steps))
        sampled = sampled_steps(steps, sum(begun.values()))
        for step in _spread(span, len(sampled)) if node.train.vision.start else sampled:
            for part in module.batch(step):
                module.counts += module.count(part)
        module.counts *= steps / max(1, len(sampled))
        return module.final_ledger(steps)

    method = str(node.optimizer.get("method", "adamw"))
    return Trial(module, module.model, ledger, steps, span.start, method, module.data)


def _spread(span: range, count: int) -> list[int]:
    """``count`` steps, evenly over a stage: for arms whose batches change on the way."""
    return [span[i * len(span) // count] for i in range(count)]
