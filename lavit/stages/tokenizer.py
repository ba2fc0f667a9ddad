"""The tokenizer stage: learn which patches matter, merge the rest into them, and name the result by codes.

First selector and merger train without quantisation; then the codebook is made by k-means from their tokens and all
goes on together. From step 0 on with a codebook, few codes live and the encoder collapses onto them.

Shapes: B S images, N patches, M places, R tokens, C channels, D code dimensions; ``...`` [B, M] or [R].
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from lavit import data, vision
from lavit.build import locate, plain
from lavit.data import Corpus
from lavit.errors import LavitError
from lavit.ledger import Ledger, count_parameters
from lavit.stages.context import StageContext
from lavit.stages.order import DataOrder
from lavit.stages.outputs import (
    channel_statistics,
    forward_flops,
    load_features,
    load_images,
    save_weights,
    write_json,
)
from lavit.stages.tokenizer_data import evaluation_data
from lavit.stages.training import OptimizerConfig, StageModule, TrainingError, fit, step_generator
from lavit.tokenizer.loading import assemble_dynamic
from lavit.tokenizer.metrics import tokenizer_metrics
from lavit.tokenizer.objective import keep_loss, mixed_vectors, reconstruction_loss
from lavit.tokenizer.selector import image_keys
from lavit.tokenizer.tokens import PackedTokens, pack

SELECT, RESTART, KMEANS, SAMPLE = 1, 2, 3, 4  # purposes of a step's generators
ORDERS = ("joint", "freeze", "selector_first")


@dataclass
class Held:
    """The tokens of a training batch in one of two forms: all places with weights, or the kept ones packed.

    Attributes:
        keep_BM: decisions.
        vectors: unit vectors [..., D].
        weights: [...], 1 where there is a token (the decisions themselves where all places are held).
        image: image of each token, broadcasts to [...].
        decode: vectors [..., D] to features [B, N, C].
    """

    keep_BM: Tensor
    vectors: Tensor
    weights: Tensor
    image: Tensor
    decode: Callable[[Tensor], Tensor]


class TokenizerTraining(StageModule):
    """Tokenizer and its objective, over the cached features of the frozen encoder."""

    def __init__(self, config: DictConfig, corpus: Corpus, encoder: vision.VisionEncoder, head: Any, seed: int):
        super().__init__()
        self.settings, self.seed = config.tokenizer, seed
        self.steps = int(config.tokenizer.steps)
        self.quantise_from = round(self.settings.warmup * self.steps)
        self.settled_from = self.steps - round(self.settings.settle * self.steps)
        if self.settings.order not in ORDERS:
            raise LavitError(
                f"tokenizer.order={self.settings.order!r} is unknown", f"choose one of {', '.join(ORDERS)}"
            )
        if self.settings.order == "selector_first" and not self.quantise_from:
            raise LavitError(
                "tokenizer.order=selector_first needs a warm-up, and tokenizer.warmup leaves it no step",
                "raise tokenizer.warmup or tokenizer.steps",
            )
        tokens, options = plain(config.get("tokens")), plain(config.tokenizer)
        self.tokenizer = assemble_dynamic(tokens, options, encoder.feature_dim, encoder.grid)
        images = load_images(corpus, "train")
        self.keys = image_keys(images)
        self.features = load_features(encoder, images)
        mean_C, std_C = channel_statistics(self.features)
        if self.settings.standardise:
            self.tokenizer.mean_C, self.tokenizer.std_C = mean_C, std_C
        self.order = DataOrder(len(images), seed, purpose=0)
        self.encoder = (encoder,)  # in a tuple: no part of what is trained and saved
        self.val = evaluation_data(corpus, encoder, head)
        self.assigned: tuple[Tensor, Tensor] | None = None
        self.revived: Tensor  # in the last update; a buffer, so that a stage that goes on reports it too
        self.register_buffer("revived", torch.zeros((), dtype=torch.int64))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The selector may learn at a rate of its own."""
        selector = list(self.tokenizer.selector.parameters())
        rest = [p for name, p in self.tokenizer.named_parameters() if not name.startswith("selector.")]
        groups = [{"params": rest}]
        return [*groups, {"params": selector, "lr_scale": self.settings.selector_lr_scale}] if selector else groups

    def batch(self, step: int) -> Tensor:
        index_B = self.order.take(step, self.settings.batch)
        features_BNC = self.features[index_B]
        finite_B = torch.isfinite(features_BNC).flatten(1).all(1)
        if not finite_B.all():
            image = index_B[int((~finite_B).nonzero()[0, 0])]
            raise TrainingError(
                f"stage tokenizer, step {step}: the vision features of training image {image} hold NaN or infinity. "
                "The vision stage, or the image, is broken: remove the stage's folder and run again."
            )
        return features_BNC

    def settled(self, step: int) -> bool:
        """Whether tokens are already chosen as evaluation will choose them (``tokenizer.settle``)."""
        selector = self.tokenizer.selector
        return bool(selector.learned) and selector.mode != "sample" and step >= self.settled_from

    def frozen(self, step: int) -> tuple[bool, bool]:
        """Whether the selector, and whether all the rest, stands still at a step (``tokenizer.order``)."""
        early, order = step < self.quantise_from, self.settings.order
        return self.settled(step) or (not early and order != "joint"), early and order == "selector_first"

    def keep_rate(self, step: int) -> float:
        """Share of places that a step aims to keep: from all of them down to ``keep.rate`` over the first
        ``keep.anneal`` of the steps, so that what a patch is worth is known before it has to go."""
        rate, until = float(self.settings.keep.rate), self.settings.keep.anneal * self.steps
        return rate + (1 - rate) * max(0.0, 1 - step / until) if until else rate

    def hold(self, standard_BNC: Tensor, step: int) -> Held:
        """Tokens of a batch of standardised features: packed, unless the selector is to learn from its decisions."""
        tokenizer = self.tokenizer
        generator = None if self.settled(step) else step_generator(self.seed, step, SELECT)
        learns = tokenizer.selector.learned and not self.frozen(step)[0] and self.settings.mask_gradient
        if learns:
            held = tokenizer.places(standard_BNC, generator)
            keep_BM = held.selection.keep_BM
            image_B1 = torch.arange(len(keep_BM), device=keep_BM.device)[:, None]
            return Held(keep_BM, held.vectors_BMD, keep_BM, image_B1, lambda x: tokenizer.decoder(x, keep_BM))
        packed = tokenizer.packed(standard_BNC, generator)
        rows, places_R = packed.kept.rows, packed.kept.kept_R % tokenizer.num_places
        ones_R = torch.ones_like(packed.vectors_RD[:, 0])
        return Held(
            packed.selection.keep_BM,
            packed.vectors_RD,
            ones_R,
            rows.image_R,
            lambda x: tokenizer.decoder.packed(x, places_R, rows),
        )

    def loss(self, batch: Tensor, step: int) -> tuple[Tensor, dict[str, Any]]:
        tokenizer, settings = self.tokenizer, self.settings
        selector_frozen, rest_frozen = self.frozen(step)
        for name, parameter in tokenizer.named_parameters():
            parameter.requires_grad_(not (selector_frozen if name.startswith("selector.") else rest_frozen))
        standard_BNC = tokenizer.standardise(batch)
        held = self.hold(standard_BNC, step)
        vectors, kept_BM = held.vectors, held.keep_BM.detach()
        metrics: dict[str, Any] = {}
        total = torch.zeros((), device=batch.device)
        if step >= self.quantise_from and settings.quantise:
            codes = tokenizer.quantizer.codes(vectors)
            self.assigned = vectors.detach()[held.weights > 0.5], codes[held.weights > 0.5]
            quantised = tokenizer.lookup(codes)
            pull, parts = tokenizer.quantizer.loss(vectors, quantised, held.weights, settings.commitment)
            total = total + pull
            metrics |= parts | {"revived": self.revived.clone()}
            # Batches are shuffled, so the first images are any.
            bypassed = held.image.expand(held.weights.shape) < round(settings.bypass * len(batch))
            vectors = mixed_vectors(vectors, quantised, bypassed)
        recon = reconstruction_loss(held.decode(vectors), standard_BNC, settings.loss.cosine, settings.loss.squared)
        total = total + recon
        metrics |= {"reconstruction": recon.detach(), "kept": kept_BM.sum(1).mean(), "keep_rate": kept_BM.mean()}
        if tokenizer.selector.learned and not selector_frozen:
            total = total + settings.keep.weight * keep_loss(held.keep_BM, self.keep_rate(step), settings.keep.per)
        return total, metrics

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Make the codebook when the warm-up ends, and move it after every step from then on."""
        if not self.settings.quantise:
            return
        if step == self.quantise_from - 1 or (step == 0 and self.quantise_from == 0):
            self._initialise_codebook(step)
        if self.assigned is not None:
            generator = step_generator(self.seed, step, RESTART)
            self.revived.fill_(self.tokenizer.quantizer.update(*self.assigned, generator))
            self.assigned = None

    def _initialise_codebook(self, step: int) -> None:
        index = self.order.take(step, min(int(self.settings.init_images), len(self.features)))
        rows = []
        for part in torch.from_numpy(index).split(256):
            generator = step_generator(self.seed, step + int(part[0]), KMEANS)
            rows.append(self.tokenizer.packed(self.tokenizer.standardise(self.features[part]), generator).vectors_RD)
        self.tokenizer.quantizer.initialise(torch.cat(rows), step_generator(self.seed, step, KMEANS))

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """See :mod:`lavit.tokenizer.metrics`."""
        return tokenizer_metrics(self.tokenizer, generator=step_generator(self.seed, step, SAMPLE), **self.val)

    @torch.no_grad()
    def encode_all(self, features_SNC: Tensor, keys_S: Tensor) -> PackedTokens:
        """Tokens of many images, packed."""
        parts = zip(features_SNC.split(256), keys_S.split(256), strict=True)
        return pack([self.tokenizer.tokens(features, keys_B=keys) for features, keys in parts])

    def encode_splits(self, val_images: Tensor) -> dict[str, PackedTokens]:
        """Tokens of the training and the validation split."""
        val = self.encode_all(load_features(self.encoder[0], val_images), image_keys(val_images))
        return {"train": self.encode_all(self.features, self.keys), "val": val}

    def ledger(self, val_images: int) -> Ledger:
        """See :func:`training_ledger`."""
        return training_ledger(self, self.encoder[0], val_images)


def run(context: StageContext) -> None:
    """Train the tokenizer of one seed, and encode the training and validation splits with it once and for all.

    Which module trains it is said by ``tokenizer.training``, a dotted path. It is built from the config, the corpus,
    the vision encoder, the label head and the seed, and offers what :class:`TokenizerTraining` does: ``tokenizer``,
    ``steps``, ``validate``, ``encode_splits`` and ``ledger``.
    """
    config = context.config
    corpus = data.build(config.data)
    encoder = vision.load(context.inputs["vision"])
    head = vision.load_label_head(context.inputs["vision"])
    torch.manual_seed(context.seed)
    module = locate(config.tokenizer.training)(config, corpus, encoder, head, context.seed)
    steps = module.steps
    optimizer = OptimizerConfig(**plain(config.tokenizer.optimizer))
    fit(module, context, steps, optimizer, validate_at=plain(config.tokenizer.validate_at))
    save_weights(context.out / "tokenizer.safetensors", module.tokenizer)
    shape = {"feature_dim": encoder.feature_dim, "grid": encoder.grid, "patch": encoder.patch}
    parts = {name: plain(config[name]) for name in ("tokens", "tokenizer") if name in config}
    write_json(context.out / "config.json", parts | shape)
    write_json(context.out / "metrics.json", module.validate(steps))
    images = load_images(corpus, "val")
    for split, tokens in module.encode_splits(images).items():
        tokens.save(context.out / f"tokens-{split}.safetensors")
    module.ledger(len(images)).write(context.out)


def training_ledger(module: TokenizerTraining, encoder: vision.VisionEncoder, val_images: int) -> Ledger:
    """Training costs three forward passes a step; caching the features costs one of the encoder for each image.

    Passes are counted on a batch of each phase: from where the selector stands still, kept rows are packed.
    """
    tokenizer, batch = module.tokenizer, int(module.settings.batch)
    edges = sorted({0, min(module.quantise_from, module.steps), module.settled_from, module.steps})
    forward = 0.0
    for first, end in itertools.pairwise(edges):
        standard_BNC = tokenizer.standardise(module.features[:batch])
        hold = partial(module.hold, standard_BNC, first)
        forward += (end - first) * forward_flops(lambda hold=hold: (held := hold()).decode(held.vectors))
    side = encoder.grid * encoder.patch
    encoder_once = forward_flops(encoder, torch.zeros(1, side, side, 3, dtype=torch.uint8))
    seen = module.steps * batch
    total, trainable = count_parameters(tokenizer)
    return Ledger(
        positions=seen * encoder.num_patches,
        flops=3 * forward + (len(module.features) + val_images) * encoder_once,
        params_total=total,
        params_trainable=trainable,
        steps=module.steps,
    )
