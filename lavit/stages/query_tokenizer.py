"""The tokenizer stage over learned queries (SEED): optionally a contrastive beginning, then codes and two decoders.

Phases: contrast (``contrast.share`` of the steps: the former alone, its final query against the caption), then
reconstruction without a codebook, up to ``warmup``, then with one. ``freeze_former`` lets the former stand still once
the contrast is over, as published; without a contrast it has to learn from the reconstruction.

Loss = 5 quantizer + 2 (1 - cos) of query outputs + weight * squared error of standardised patch features. The outputs
that are to be given back are a target that takes no gradient: else the former would make them easy instead of telling.

Shapes: B images, N patches, M queries, C channels of the vision features, E channels of the outputs, D code dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from lavit import vision
from lavit.data import Corpus
from lavit.errors import LavitError
from lavit.stages.fixed_tokenizer import FixedTokenizerTraining
from lavit.stages.outputs import forward_flops
from lavit.stages.training import TrainingError
from lavit.tokenizer.query.tokenizer import QueryTokenizer
from lavit.vision.heads import TextTower, Vocabulary

LONGEST_TEXT = 48  # words of a caption


class QueryTokenizerTraining(FixedTokenizerTraining):
    """A query tokenizer, its objective, and its text tower where it begins contrastively."""

    tokenizer: QueryTokenizer

    def begin(
        self,
        config: DictConfig,
        corpus: Corpus,
        encoder: vision.VisionEncoder,
        images_SHWC: Tensor,
        features_SNC: Tensor,
        seed: int,
    ) -> None:
        """See the base class.

        Raises:
            LavitError: the former would never learn, or the codebook would come before the contrast is over.
        """
        super().begin(config, corpus, encoder, images_SHWC, features_SNC, seed)
        contrast = self.settings.contrast
        self.contrast_until = round(contrast.share * self.steps)
        if self.settings.freeze_former and not self.contrast_until:
            raise LavitError(
                "tokenizer.freeze_former=true without a contrast: the former would stay as it was drawn",
                "raise tokenizer.contrast.share, or set tokenizer.freeze_former=false",
            )
        if self.settings.quantise and self.quantise_from < self.contrast_until:
            raise LavitError(
                f"tokenizer.warmup={self.settings.warmup} ends before tokenizer.contrast.share={contrast.share} does",
                "make tokenizer.warmup at least as large: no decoder knows the outputs before",
            )
        self.tower = None
        if self.contrast_until:
            self.texts = list(corpus.captions("train", np.arange(len(images_SHWC))))
            self.vocabulary = Vocabulary((text for texts in self.texts for text in texts), contrast.words)
            with torch.device(features_SNC.device):
                self.tower = TextTower(len(self.vocabulary), self.tokenizer.feature_dim, contrast.joint_width)

    def batch(self, step: int) -> tuple[Tensor, list[str]]:
        """Features [B, N, C], and a caption of each image while the contrast lasts."""
        index_B = self.order.take(step, self.settings.batch)
        texts = []
        if step < self.contrast_until:
            visit = step * self.settings.batch // len(self.images)  # each visit of an image takes its next caption
            texts = [self.texts[i][visit % len(self.texts[i])] for i in index_B]
        features_BNC = self.features[torch.from_numpy(index_B)]
        if not features_BNC.is_meta and not torch.isfinite(features_BNC).all():
            raise TrainingError(
                f"stage tokenizer, step {step}: vision features of this batch hold NaN or infinity. "
                "The vision stage, or an image, is broken: remove the stage's folder and run again."
            )
        return features_BNC, texts

    def vectors_of(self, index: Any) -> Tensor:
        """See the base class."""
        tokenizer = self.tokenizer
        return tokenizer.quantizer.vectors(tokenizer.read(tokenizer.standardise(self.features[index])))

    def edges(self) -> list[int]:
        """See the base class: the contrast comes first."""
        return sorted({*super().edges(), min(self.contrast_until, self.steps)})

    def learn(self, step: int) -> None:
        """While the contrast lasts the former and the text tower alone; then the rest, and the former unless frozen."""
        early = step < self.contrast_until
        for name, parameter in self.named_parameters():
            if name.startswith("tower."):
                learns = early
            elif name.startswith("tokenizer.former."):
                learns = early or not self.settings.freeze_former
            else:
                learns = not early
            parameter.requires_grad_(learns)

    def loss(self, batch: tuple[Tensor, list[str]], step: int) -> tuple[Tensor, dict[str, Any]]:
        """See the module's docstring."""
        tokenizer, weights = self.tokenizer, self.settings.loss
        self.learn(step)
        standard_BNC = tokenizer.standardise(batch[0])
        outputs_BME = tokenizer.read(standard_BNC)
        if step < self.contrast_until:
            assert self.tower is not None
            contrast = self.tower(outputs_BME[:, -1:], self.vocabulary.encode(batch[1], LONGEST_TEXT))
            return contrast, {"contrast": contrast.detach()}
        vectors_BMD, pull, metrics = self.quantise(tokenizer.quantizer.vectors(outputs_BME), step)
        back_BME = tokenizer.outputs(vectors_BMD)
        angle = 1 - F.cosine_similarity(back_BME, outputs_BME.detach(), dim=-1).mean()
        squared = F.mse_loss(tokenizer.rebuild(vectors_BMD), standard_BNC)
        metrics |= {"outputs": angle.detach(), "reconstruction": squared.detach()}
        return weights.quantizer * pull + weights.outputs * angle + weights.patches * squared, metrics

    def step_flops(self, step: int) -> float:
        """Three forward passes of what learns; one of a former that stands still."""
        tokenizer, batch = self.tokenizer, int(self.settings.batch)
        standard_BNC = tokenizer.standardise(self.features[:1].expand(batch, -1, -1))
        outputs_BME = torch.zeros(batch, tokenizer.num_places, tokenizer.feature_dim, device=standard_BNC.device)
        reading = forward_flops(tokenizer.read, standard_BNC)
        if step < self.contrast_until:
            assert self.tower is not None
            joint = self.tower.image.out_features
            words = 2 * batch * sum(p.numel() for p in self.tower.text.parameters() if p.ndim > 1)
            return 3 * (reading + words + 2 * batch * joint * (tokenizer.feature_dim + batch))

        def decode() -> None:
            vectors_BMD = tokenizer.quantizer.vectors(outputs_BME)
            tokenizer.outputs(vectors_BMD)
            tokenizer.rebuild(vectors_BMD)

        return (1 if self.settings.freeze_former else 3) * reading + 3 * forward_flops(decode)
