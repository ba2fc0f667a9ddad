"""The first stage of a two-stage Q-Former: its queries learn from images and captions, without a language model.

Three losses over the same pairs (:mod:`lavit.connectors.qformer_text`). Only the query part is left behind, and
pre-training of the arm begins with it.

Shapes: B pairs, N patches, C feature width, T text positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from safetensors.torch import save_file
from torch import Tensor, nn

import lavit.tokenizer
from lavit.connectors.qformer import FIRST_STAGE, QFormer
from lavit.connectors.qformer_text import QFormerPretraining, contrast_loss, hard_negatives
from lavit.data import Corpus
from lavit.data import build as build_corpus
from lavit.errors import LavitError
from lavit.language import TextTokenizer, load_text
from lavit.ledger import Ledger, count_parameters
from lavit.model.lavit import build_connector, seeded
from lavit.sequences import VisualStore
from lavit.stages.context import StageContext
from lavit.stages.order import DataOrder
from lavit.stages.outputs import forward_flops, write_json
from lavit.stages.training import OptimizerConfig, StageModule, fit, step_generator

PURPOSE = 30  # of this stage's draws and data order
LOSSES = ("itc", "itm", "itg")
EVALUATED = 256  # pairs of the validation split


class QFormerStage(StageModule):
    """A Q-Former and its text side in training."""

    def __init__(self, context: StageContext):
        super().__init__()
        visual = lavit.tokenizer.load(context.inputs["tokenizer"], context.inputs["vision"])
        shape = {name: getattr(visual, name) for name in ("feature_dim", "num_places", "places_implied")}
        text = load_text(context.inputs["language"])
        self.begin(context.config.connector, build_corpus(context.config.data), text, shape, context.seed)
        self.store = VisualStore.load(context.inputs["tokenizer"] / "tokens-train.safetensors")
        self.val_store = VisualStore.load(context.inputs["tokenizer"] / "tokens-val.safetensors")
        self.order = DataOrder(len(self.store), context.seed, PURPOSE)

    def begin(
        self, connector: DictConfig, corpus: Corpus, text: TextTokenizer, shape: Mapping[str, Any], seed: int
    ) -> None:
        """Build the modules; the queries begin as they would in the arm.

        Raises:
            LavitError: a batch without negatives, or a loss that there is not.
        """
        self.settings = settings = connector.first_stage
        if int(settings.batch) < 2:
            raise LavitError(
                f"connector.first_stage.batch={settings.batch}: contrast needs other pairs in the batch", "at least 2"
            )
        for name in settings.losses:
            if name not in LOSSES:
                raise LavitError(
                    f"connector.first_stage.losses.{name} is no loss of a Q-Former", f"choose of {', '.join(LOSSES)}"
                )
        self.corpus, self.text, self.seed = corpus, text, seed
        with seeded(seed, "connector"):
            qformer = build_connector(connector, shape, width=1)
        assert isinstance(qformer, QFormer)
        qformer.out = nn.Identity()  # there is no LLM to lead into
        with seeded(seed, "qformer_text"):
            self.network = QFormerPretraining(
                qformer,
                len(text),
                int(settings.longest),
                float(connector.mlp_ratio),
                int(settings.joint),
                float(settings.temperature),
            )
        self.counts: Tensor
        self.register_buffer("counts", torch.zeros((), dtype=torch.float64))

    def batch(self, step: int) -> dict[str, Any]:
        """Images of a step, each with one of its captions."""
        size = int(self.settings.batch)
        index = self.order.take(step, size)
        pick = torch.randint(0, 2**31, (size,), generator=step_generator(self.seed, step, PURPOSE)).tolist()
        captions = self.corpus.captions("train", index)
        chosen = [texts[p % len(texts)] for texts, p in zip(captions, pick, strict=True)]
        return {"images": torch.from_numpy(index), **self.encode(chosen)}

    def encode(self, texts: list[str]) -> dict[str, Tensor]:
        """Ids [B, T] of texts between a first and a last token, cut and padded to one length, and where they are."""
        longest = int(self.settings.longest)
        rows = [[self.text.bos, *self.text.encode(text), self.text.eos][:longest] for text in texts]
        ids_BT = torch.tensor([row + [self.text.pad] * (longest - len(row)) for row in rows])
        length_B = torch.tensor([len(row) for row in rows])
        return {"ids": ids_BT, "text": torch.arange(longest) < length_B[:, None]}

    def loss(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, Any]]:
        """The weighted sum of the three losses."""
        features_BNC, _ = self.store.pin(self.device).padded_features(batch["images"])
        self.counts += batch["text"][:, 1:].sum().to(self.counts.device)
        generator = step_generator(self.seed, step, PURPOSE + 1)
        losses = self.losses(features_BNC, batch["ids"], batch["text"], generator)
        total = sum((float(self.settings.losses.get(n, 0.0)) * value for n, value in losses.items()), torch.zeros(()))
        return total, {name: value.detach() for name, value in losses.items()}

    def losses(
        self, features_BNC: Tensor, ids_BT: Tensor, text_BT: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Each loss of a batch of pairs."""
        network = self.network
        same_BB = (ids_BT[:, None] == ids_BT[None]).all(-1)
        similarity_BB = network.similarity(features_BNC, ids_BT, text_BT)
        other_text_B = hard_negatives(similarity_BB, same_BB, generator)
        other_image_B = hard_negatives(similarity_BB.T, same_BB, generator)
        features = torch.cat([features_BNC, features_BNC, features_BNC[other_image_B]])
        ids = torch.cat([ids_BT, ids_BT[other_text_B], ids_BT])
        text = torch.cat([text_BT, text_BT[other_text_B], text_BT])
        matches = (torch.arange(len(ids)) < len(ids_BT)).long()
        return {
            "itc": contrast_loss(similarity_BB, same_BB, float(self.settings.smoothing)),
            "itm": F.cross_entropy(network.matching(features, ids, text), matches.to(features.device)),
            "itg": network.generation(features_BNC, ids_BT, text_BT),
        }

    def ledger(self) -> Ledger:
        """Three forward passes a step, measured; positions are the queries and tokens of its five passes."""
        steps, size = int(self.settings.steps), int(self.settings.batch)
        supervised = int(self.counts)
        total, trainable = count_parameters(self.network)
        length = self.network.qformer.tokens + int(self.settings.longest)
        return Ledger(
            examples_understanding=steps * size,
            supervised_text_tokens=supervised,
            positions=5 * steps * size * length,
            flops=3 * steps * forward_flops(self.loss, self.batch(0), 0),
            params_total=total,
            params_trainable=trainable,
            steps=steps,
        )

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """Losses on the validation split, and how often the own text is the most similar one of a batch."""
        size = int(self.settings.batch)
        index = np.arange(min(EVALUATED, len(self.val_store)) // size * size)
        found: dict[str, list[float]] = {}
        for first in range(0, len(index), size):
            rows = index[first : first + size]
            coded = self.encode([texts[0] for texts in self.corpus.captions("val", rows)])
            features_BNC, _ = self.val_store.padded_features(torch.from_numpy(rows))
            losses = self.losses(features_BNC, coded["ids"], coded["text"], step_generator(0, first, PURPOSE))
            similarity_BB = self.network.similarity(features_BNC, coded["ids"], coded["text"])
            best_BT = coded["ids"][similarity_BB.argmax(1)]
            right = (best_BT == coded["ids"]).all(1).float().mean()
            for name, value in (losses | {"retrieval": right}).items():
                found.setdefault(f"qformer/{name}", []).append(float(value))
        return {name: float(np.mean(values)) for name, values in found.items()}


def run(context: StageContext) -> None:
    """Train the queries; writes ``connector.safetensors``, which an arm's pre-training begins with."""
    torch.manual_seed(context.seed)
    module = QFormerStage(context)
    settings = module.settings
    steps = int(settings.steps)
    warmup = min(int(settings.warmup), steps // 10)
    optimizer = OptimizerConfig(lr=settings.lr, weight_decay=settings.weight_decay, warmup=warmup, schedule="cosine")
    fit(module, context, steps, optimizer, validate_at=[steps])
    save_query_part(module.network.qformer, context.out)
    write_json(context.out / "metrics.json", module.validate(steps))
    module.ledger().write(context.out)


def save_query_part(qformer: QFormer, folder: Path) -> None:
    """Write what an arm begins with; text parts, embeddings and heads are dropped."""
    save_file(qformer.query_state(), folder / FIRST_STAGE)
