"""The tokenizer stage of fixed-length tokenizers: what training over pixels and over queries have in common.

First without a codebook, then the codebook is made from the tokens of many images and all goes on with it. Only the
training split teaches, and makes the codebook.

Shapes: B S images, H W pixels, N patches, M tokens of an image, C channels, D code dimensions.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from lavit import vision
from lavit.build import plain
from lavit.data import Corpus
from lavit.ledger import Ledger, count_parameters
from lavit.stages.order import DataOrder
from lavit.stages.outputs import channel_statistics, forward_flops, load_features, load_images
from lavit.stages.tokenizer import KMEANS, RESTART, SAMPLE
from lavit.stages.tokenizer_data import evaluation_data
from lavit.stages.training import StageModule, step_generator
from lavit.tokenizer.base import FixedTokenizer
from lavit.tokenizer.loading import assemble
from lavit.tokenizer.metrics import tokenizer_metrics
from lavit.tokenizer.objective import mixed_vectors
from lavit.tokenizer.tokens import PackedTokens, pack

AT_ONCE = 256  # images encoded at a time


class FixedTokenizerTraining(StageModule):
    """Base of the modules that train a fixed-length tokenizer; they give :meth:`vectors_of` and the loss.

    Args:
        config: what the stage may read.
        corpus: whose training split teaches.
        encoder: the frozen vision encoder.
        head: the vision stage's label head; None without dense labels.
        seed: of the run.
    """

    tokenizer: FixedTokenizer

    def __init__(self, config: DictConfig, corpus: Corpus, encoder: vision.VisionEncoder, head: Any, seed: int):
        super().__init__()
        images = load_images(corpus, "train")
        features = load_features(encoder, images)
        self.begin(config, corpus, encoder, images, features, seed)
        mean_C, std_C = channel_statistics(features)
        self.tokenizer.mean_C, self.tokenizer.std_C = mean_C, std_C
        self.val = evaluation_data(corpus, encoder, head)

    def begin(
        self,
        config: DictConfig,
        corpus: Corpus,
        encoder: vision.VisionEncoder,
        images_SHWC: Tensor,
        features_SNC: Tensor,
        seed: int,
    ) -> None:
        """Take up the data and build what learns."""
        self.settings, self.seed = config.tokenizer, seed
        self.steps = int(self.settings.steps)
        self.quantise_from = round(self.settings.warmup * self.steps)
        self.encoder = (encoder,)  # in a tuple: no part of what is trained and saved
        self.images, self.features = images_SHWC, features_SNC
        options = plain(self.settings)
        with torch.device(features_SNC.device):
            self.tokenizer = assemble(None, options, encoder.feature_dim, encoder.grid, encoder.patch)
        self.order = DataOrder(len(images_SHWC), seed, purpose=0)
        self.assigned: tuple[Tensor, Tensor] | None = None
        self.revived: Tensor  # in the last update; a buffer, so that a stage that goes on reports it too
        self.register_buffer("revived", torch.zeros((), dtype=torch.int64))

    def vectors_of(self, index: Any) -> Tensor:
        """Vectors [B, M, D] before quantisation of training images."""
        raise TypeError(f"{type(self).__name__} does not define vectors_of")

    def edges(self) -> list[int]:
        """Steps at which what is computed changes, from 0 to the last."""
        return sorted({0, min(self.quantise_from, self.steps), self.steps})

    def step_flops(self, step: int) -> float:
        """FLOPs of a training step."""
        raise TypeError(f"{type(self).__name__} does not define step_flops")

    def learn(self, step: int) -> None:
        """Let learn what learns at a step."""

    def quantise(self, vectors_BMD: Tensor, step: int) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """What the decoder gets: straight-through codes (of the first ``bypass`` images the vectors themselves).

        Returns:
            Those vectors, the quantizer's loss (0 before there is a codebook), and what to log.
        """
        tokenizer, settings = self.tokenizer, self.settings
        if step < self.quantise_from or not settings.quantise:
            return vectors_BMD, vectors_BMD.new_zeros(()), {}
        codes_BM = tokenizer.quantizer.codes(vectors_BMD)
        self.assigned = vectors_BMD.detach().flatten(0, 1), codes_BM.flatten()
        quantised_BMD = tokenizer.lookup(codes_BM)
        weights_BM = torch.ones_like(vectors_BMD[..., 0])
        pull, metrics = tokenizer.quantizer.loss(vectors_BMD, quantised_BMD, weights_BM, settings.commitment)
        # Batches are shuffled, so the first images are any.
        image_B1 = torch.arange(len(vectors_BMD), device=vectors_BMD.device)[:, None]
        bypassed_BM = image_B1.expand(codes_BM.shape) < round(settings.bypass * len(vectors_BMD))
        mixed_BMD = mixed_vectors(vectors_BMD, quantised_BMD, bypassed_BM)
        return mixed_BMD, pull, metrics | {"revived": self.revived.clone()}

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Make the codebook when the warm-up ends, and let it follow after every step from then on."""
        if not self.settings.quantise:
            return
        if step == self.quantise_from - 1 or (step == 0 and self.quantise_from == 0):
            index = torch.from_numpy(self.order.take(step, min(int(self.settings.init_images), len(self.images))))
            vectors_RD = torch.cat([self.vectors_of(part).flatten(0, 1) for part in index.split(AT_ONCE)])
            self.tokenizer.quantizer.initialise(vectors_RD, step_generator(self.seed, step, KMEANS))
        if self.assigned is not None:
            generator = step_generator(self.seed, step, RESTART)
            self.revived.fill_(self.tokenizer.quantizer.update(*self.assigned, generator))
            self.assigned = None

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """See :mod:`lavit.tokenizer.metrics`."""
        generator = step_generator(self.seed, step, SAMPLE)
        with self.tokenizer.seeing(self.encoder[0]):
            return tokenizer_metrics(self.tokenizer, generator=generator, **self.val)

    @torch.no_grad()
    def encode_splits(self, val_images: Tensor) -> dict[str, PackedTokens]:
        """Tokens of the training and the validation split."""
        splits = {}
        with self.tokenizer.seeing(self.encoder[0]):
            for split, images_SHWC in (("train", self.images), ("val", val_images)):
                splits[split] = pack([self.tokenizer.encode(part) for part in images_SHWC.split(AT_ONCE)])
        return splits

    def ledger(self, val_images: int) -> Ledger:
        """Steps are counted on a batch of each phase; features, of which the scale is known and by which the result is
        judged, cost one pass of the encoder for each image."""
        flops = sum((end - first) * self.step_flops(first) for first, end in itertools.pairwise(self.edges()))
        encoder, seen = self.encoder[0], self.steps * int(self.settings.batch)
        encoder_once = forward_flops(encoder, self.images[:1].to(torch.uint8))
        self.learn(self.steps - 1)
        total, trainable = count_parameters(self)
        return Ledger(
            positions=seen * self.tokenizer.num_places,
            flops=flops + (len(self.images) + val_images) * encoder_once,
            params_total=total,
            params_trainable=trainable,
            steps=self.steps,
        )
