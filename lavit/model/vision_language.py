"""A trained arm behind the public protocol: describes images, answers questions, draws.

Shapes: B images, K visual tokens, C feature width, N patches.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from safetensors.torch import load_file
from torch import Tensor

import lavit.pixels
import lavit.tokenizer
import lavit.vision
from lavit.language import TextTokenizer
from lavit.model.decoding import generate_images, generate_text
from lavit.model.lavit import LaVIT
from lavit.model.protocol import Drawing, Visual
from lavit.sequences import SequenceBuilder, VisualStore

BATCH = 256
CAPTION_LIMIT, ANSWER_LIMIT = 48, 6
# Of drawings. Where the next token lies is drawn, a little sharper than the model believes (always the likeliest place
# crowds an image); what lies there is then the likeliest code.
PLACE_TEMPERATURE, TOKEN_TEMPERATURE = 0.7, 0.0


class EncodedImages:
    """Visual tokens of a set of images, as rows of a store."""

    def __init__(self, store: VisualStore, index: np.ndarray):
        self.store, self.index = store, index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: np.ndarray) -> EncodedImages:
        return EncodedImages(self.store, self.index[index])

    @property
    def tokens_B(self) -> np.ndarray:
        """Visual tokens of each image."""
        return np.array([count for _, count in self.rows()])

    def rows(self) -> list[tuple[int, int]]:
        """First row and count of each image."""
        return [self.store.rows(int(i)) for i in self.index]


Rows = list[tuple[int, int]]


def write_captions(
    model: LaVIT, builder: SequenceBuilder, store: VisualStore | None, rows: Rows | list[None]
) -> list[str]:
    """Greedy captions, in batches."""
    prompts = [builder.caption(r, None) for r in rows]
    texts: list[str] = []
    for first in range(0, len(prompts), BATCH):
        part = generate_text(model, prompts[first : first + BATCH], store, CAPTION_LIMIT, builder.text.eos)
        texts += [builder.text.decode(ids) for ids in part]
    return texts


def answer_questions(
    model: LaVIT,
    builder: SequenceBuilder,
    store: VisualStore | None,
    rows: Rows | list[None],
    questions: list[str],
) -> list[str]:
    """Greedy answers, in batches of similar length."""
    prompts = [builder.questions(r, [(q, None)]) for r, q in zip(rows, questions, strict=True)]
    order = np.argsort([len(p.ids) for p in prompts], kind="stable")
    texts = [""] * len(prompts)
    for first in range(0, len(prompts), BATCH):
        chosen = order[first : first + BATCH]
        part = generate_text(model, [prompts[i] for i in chosen], store, ANSWER_LIMIT, builder.text.eos)
        for i, ids in zip(chosen, part, strict=True):
            texts[i] = builder.text.decode(ids)
    return texts


class Arm:
    """Implements :class:`lavit.model.protocol.VisionLanguageModel`."""

    def __init__(
        self,
        model: LaVIT,
        text: TextTokenizer,
        vision: lavit.vision.VisionEncoder,
        tokenizer: lavit.tokenizer.Tokenizer,
        pixels: torch.nn.Module,
    ):
        self.model, self.vision, self.tokenizer, self.pixels = model, vision, tokenizer, pixels
        self.builder = SequenceBuilder(text)
        self.makes_images = model.head is not None

    @torch.no_grad()
    def encode(self, images: np.ndarray) -> EncodedImages:
        """See the protocol."""
        parts: dict[str, list[Tensor]] = {name: [] for name in ("features", "vectors", "codes", "places", "counts")}
        for first in range(0, len(images), BATCH):
            tokens = self.tokenizer.encode(images[first : first + BATCH])
            mask = tokens.mask_BK
            # Arms were trained on half-precision rows; evaluate on the same.
            parts["features"].append(tokens.features_BKC[mask].half())
            parts["vectors"].append(tokens.vectors_BKD[mask].half())
            parts["codes"].append(tokens.codes_BK[mask])
            parts["places"].append(tokens.places_BK[mask])
            parts["counts"].append(mask.sum(1))
        joined = {name: torch.cat(part) for name, part in parts.items()}
        offsets = F.pad(joined["counts"].cumsum(0), (1, 0)).cpu()
        store = VisualStore(joined["features"], joined["vectors"], joined["codes"], joined["places"], offsets)
        return EncodedImages(store, np.arange(len(images)))

    def caption(self, visual: Visual | None, count: int) -> list[str]:
        """See the protocol."""
        if visual is None:
            return write_captions(self.model, self.builder, None, [None]) * count
        assert isinstance(visual, EncodedImages)
        return write_captions(self.model, self.builder, visual.store, visual.rows())

    def answer(self, visual: Visual | None, questions: list[str]) -> list[str]:
        """See the protocol."""
        if visual is None:
            different = sorted(set(questions))
            texts = answer_questions(self.model, self.builder, None, [None] * len(different), different)
            known = dict(zip(different, texts, strict=True))
            return [known[q] for q in questions]
        assert isinstance(visual, EncodedImages)
        return answer_questions(self.model, self.builder, visual.store, visual.rows(), questions)

    @torch.no_grad()
    def draw(self, prompts: list[str], seed: int = 0) -> Drawing:
        """See the protocol; drawn at ``PLACE_TEMPERATURE`` and ``TOKEN_TEMPERATURE`` from ``seed``."""
        generator = torch.Generator().manual_seed(seed)
        sequences = [self.builder.generation(prompt, None) for prompt in prompts]
        images, tokens, features = [], [], []
        for first in range(0, len(prompts), BATCH):
            written = generate_images(
                self.model, sequences[first : first + BATCH], PLACE_TEMPERATURE, TOKEN_TEMPERATURE, generator
            )
            decoded = self.tokenizer.decode(written.vectors_BKD, written.places_BK, written.mask_BK)
            images.append(to_uint8(self.pixels(decoded)))
            tokens.append(written.mask_BK.sum(1).cpu().numpy())
            features.append(decoded)
        return Drawing(np.concatenate(images), np.concatenate(tokens), torch.cat(features))

    @torch.no_grad()
    def reconstruct(self, images: np.ndarray) -> Drawing:
        """See the protocol; from codes where the arm is discrete, else from unquantised vectors."""
        pictures, counts, features = [], [], []
        discrete = self.model.head is None or self.model.discrete
        for first in range(0, len(images), BATCH):
            tokens = self.tokenizer.encode(images[first : first + BATCH])
            vectors = self.tokenizer.lookup(tokens.codes_BK) if discrete else tokens.vectors_BKD
            decoded = self.tokenizer.decode(vectors, tokens.places_BK, tokens.mask_BK)
            pictures.append(to_uint8(self.pixels(decoded)))
            counts.append(tokens.mask_BK.sum(1).cpu().numpy())
            features.append(decoded)
        return Drawing(np.concatenate(pictures), np.concatenate(counts), torch.cat(features))

    @torch.no_grad()
    def features(self, images: np.ndarray) -> Tensor:
        """See the protocol."""
        return torch.cat([self.vision(images[i : i + BATCH]) for i in range(0, len(images), BATCH)])

    @torch.no_grad()
    def tokenizer_report(self, images: np.ndarray) -> dict[str, Any]:
        """See the protocol; the cosine is taken patch by patch on standardised features [B, N]."""
        cosine, kept, codes = [], [], []
        for first in range(0, len(images), BATCH):
            part = images[first : first + BATCH]
            tokens = self.tokenizer.encode(part)
            decoded = self.tokenizer.decode(self.tokenizer.lookup(tokens.codes_BK), tokens.places_BK, tokens.mask_BK)
            truth = self.vision(part)
            mean, std = self.tokenizer.mean_C, self.tokenizer.std_C
            cosine.append(F.cosine_similarity((decoded - mean) / std, (truth - mean) / std, dim=-1).cpu().numpy())
            kept.append(tokens.mask_BK.sum(1).cpu().numpy())
            codes += [c[m].cpu().numpy() for c, m in zip(tokens.codes_BK, tokens.mask_BK, strict=True)]
        return {"cosine": np.concatenate(cosine), "kept": np.concatenate(kept), "codes": codes}


def to_uint8(images_BHWC: Tensor) -> np.ndarray:
    """Pixels in [0, 1] to bytes."""
    return (images_BHWC.clamp(0, 1) * 255).round().byte().cpu().numpy()


def load(folders: dict[str, Path]) -> Arm:
    """A trained arm from the folders of its stages: vision, language, tokenizer, pixels and cooldown."""
    from lavit.stages.arm import build_arm

    folder = folders["cooldown"]
    config = OmegaConf.create(json.loads((folder / "config.json").read_text()))
    visual = lavit.tokenizer.load(folders["tokenizer"], folders["vision"])
    model = build_arm(config, folders["language"], visual, 0)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    text = TextTokenizer.load(folders["language"] / "tokenizer.json")
    vision, pixels = lavit.vision.load(folders["vision"]), lavit.pixels.load(folders["pixels"])
    return Arm(model.eval(), text, vision, visual, pixels)
