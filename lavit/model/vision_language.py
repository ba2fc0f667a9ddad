"""A trained arm behind the public protocol: describes images, answers questions, draws.

Shapes: B images, K visual tokens, C feature width, N patches.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from lavit.errors import LavitError
from lavit.language import TextTokenizer, load_llm, load_text
from lavit.model.decoding import generate_images
from lavit.model.draw_settings import DrawSettings
from lavit.model.encoded_images import EncodedImages, pack
from lavit.model.lavit import LaVIT
from lavit.model.likelihood import loglikelihood, nll
from lavit.model.painting import show, to_uint8
from lavit.model.protocol import Drawing, Part, Prompt, Visual
from lavit.model.reranking import Reranker, best_rows, caption_likelihood
from lavit.model.targets.written import true_images, written_features
from lavit.model.text_settings import GREEDY_ANSWER, GREEDY_CAPTION, TextSettings
from lavit.model.text_tasks import answer_questions, write_captions, write_texts
from lavit.model.token_model import ArmModel, TextModel, TokenModel
from lavit.sequences import SequenceBuilder
from lavit.sequences.assembly import Rows
from lavit.tokenizer.selector import image_keys

BATCH = 256
# Where the next token lies is drawn, a little sharper than the model believes (always the likeliest place crowds an
# image); what lies there is then the likeliest code.
DRAW = DrawSettings()


class Arm:
    """Implements :class:`lavit.model.protocol.VisionLanguageModel`."""

    def __init__(
        self,
        model: LaVIT,
        text: TextTokenizer,
        vision: lavit.vision.VisionEncoder,
        tokenizer: lavit.tokenizer.VisualTokenizer,
        pixels: torch.nn.Module,
    ):
        self.model, self.vision, self.tokenizer, self.pixels = model, vision, tokenizer, pixels
        self.builder = SequenceBuilder(text)
        self.makes_images, self.image_size = model.head is not None, vision.image_size
        self.language: Path | None = None  # folder of the stage that trained the text LLM
        self._untouched: TokenModel | None = None

    @torch.no_grad()
    def encode(self, images: np.ndarray) -> EncodedImages:
        """See the protocol."""
        tokens = [self.tokenizer.encode(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        return pack(tokens, self.model.slots, self.model.beside, self.model.writes_slots)

    @torch.no_grad()
    def read(self, decoded: Tensor) -> EncodedImages:
        """Images of which there is only what the tokenizer decoded, e.g. drawings that are to be ranked.

        Args:
            decoded: features [B, N, C], or pixels [B, H, W, 3] in 0 … 1 of a tokenizer that paints.
        """
        if self.tokenizer.paints:
            return self.encode(to_uint8(decoded))
        keys_B = image_keys((decoded * 2**16).round())  # random selection needs a number of each image
        tokenizer: Any = self.tokenizer
        tokens = tokenizer.tokens(decoded, keys_B=keys_B)
        return pack([tokens], self.model.slots, self.model.beside, self.model.writes_slots)

    def caption(self, visual: Visual | None, count: int, settings: TextSettings | None = None) -> list[str]:
        """See the protocol."""
        settings = settings or GREEDY_CAPTION
        if visual is None:
            different = 1 if settings.temperature == 0 else count
            texts = write_captions(self.model, self.builder, None, [None] * different, settings)
            return texts * (count // different)
        assert isinstance(visual, EncodedImages)
        return write_captions(self.model, self.builder, visual.store, visual.entering(), settings)

    def answer(self, visual: Visual | None, questions: list[str], settings: TextSettings | None = None) -> list[str]:
        """See the protocol."""
        settings = settings or GREEDY_ANSWER
        if visual is None:
            different = sorted(set(questions)) if settings.temperature == 0 else questions
            texts = answer_questions(self.model, self.builder, None, [None] * len(different), different, settings)
            if settings.temperature > 0:
                return texts
            known = dict(zip(different, texts, strict=True))
            return [known[q] for q in questions]
        assert isinstance(visual, EncodedImages)
        return answer_questions(self.model, self.builder, visual.store, visual.entering(), questions, settings)

    @torch.no_grad()
    def complete(self, prompts: Sequence[Prompt], settings: TextSettings) -> list[str]:
        """See the protocol. Images are read as continuous features, as those of captions and questions are.

        Raises:
            LavitError: a part of a prompt is neither text nor an image.
        """
        parts, encoded = self._encode_parts(prompts, reading=True)
        sequences = [self.builder.interleaved(row, written=False) for row in parts]
        return write_texts(self.model, self.builder, encoded.store if encoded else None, sequences, settings)

    @torch.no_grad()
    def draw(
        self,
        prompts: Sequence[Prompt],
        seed: int = 0,
        settings: DrawSettings = DRAW,
        rerank: Reranker = caption_likelihood,
    ) -> Drawing:
        """See the protocol. Images of a prompt are shown as the visual tokens with which this arm draws.

        Args:
            prompts: what to draw.
            seed: of all draws.
            settings: lengths, temperatures, top-k, top-p, guidance, best of how many.
            rerank: chooses among the drawings of a prompt where ``settings.best_of`` is above 1.

        Raises:
            LavitError: a part of a prompt is neither text nor an image, or a setting that this arm cannot meet.
        """
        generator, k = torch.Generator().manual_seed(seed), settings.best_of
        parts, encoded = self._encode_parts(prompts)
        sequences, store = [self.builder.drawing(row, None) for row in parts], encoded.store if encoded else None
        unprompted = self.builder.drawing([], None)
        images, tokens, features = [], [], []
        group = max(1, BATCH // k)
        for first in range(0, len(prompts), group):
            rows = [row for row in range(first, min(first + group, len(prompts))) for _ in range(k)]
            written = generate_images(
                self.model, [sequences[row] for row in rows], settings, generator, store, unprompted
            )
            decoded = written_features(self.model, self.tokenizer, written)
            counts = written.mask_BK.sum(1)
            if k > 1:
                best = best_rows(rerank(self, [prompts[row] for row in rows], decoded), k)
                decoded, counts = decoded[best], counts[best]
            pictures, seen = show(self.tokenizer, self.pixels, self.vision, decoded)
            images.append(pictures)
            tokens.append(counts.cpu().numpy())
            features.append(seen)
        return Drawing(np.concatenate(images), np.concatenate(tokens), torch.cat(features))

    def _encode_parts(
        self, prompts: Sequence[Prompt], reading: bool = False
    ) -> tuple[list[list[str | Rows]], EncodedImages | None]:
        """The parts of each prompt, images as rows of the encoded ones; an image that stands in several is one."""
        split = [[prompt] if isinstance(prompt, str) else list(prompt) for prompt in prompts]
        shown = [check_image(part) for parts in split for part in parts if not isinstance(part, str)]
        for image in shown:
            if image.shape[:2] != (self.image_size, self.image_size):
                raise LavitError(
                    f"a prompt has an image of {image.shape[0]} x {image.shape[1]} pixels",
                    f"this arm reads images of {self.image_size} x {self.image_size}: resize it",
                )
        place: dict[bytes, int] = {}
        index = [place.setdefault(image.tobytes(), len(place)) for image in shown]
        different = [shown[index.index(number)] for number in range(len(place))]
        encoded = self.encode(np.stack(different))[np.array(index)] if shown else None
        rows = iter([] if encoded is None else encoded.entering() if reading else encoded.written())
        return [[part if isinstance(part, str) else next(rows) for part in parts] for parts in split], encoded

    @torch.no_grad()
    def reconstruct(self, images: np.ndarray) -> Drawing:
        """See the protocol; from what the arm's target would be if it were predicted without a fault."""
        pictures, counts, features = [], [], []
        for first in range(0, len(images), BATCH):
            true = true_images(self.model, self.tokenizer, self.tokenizer.encode(images[first : first + BATCH]))
            decoded = written_features(self.model, self.tokenizer, true)
            painted, seen = show(self.tokenizer, self.pixels, self.vision, decoded)
            pictures.append(painted)
            counts.append(true.mask_BK.sum(1).cpu().numpy())
            features.append(seen)
        return Drawing(np.concatenate(pictures), np.concatenate(counts), torch.cat(features))

    @torch.no_grad()
    def features(self, images: np.ndarray) -> Tensor:
        """See the protocol."""
        return torch.cat([self.vision(images[i : i + BATCH]) for i in range(0, len(images), BATCH)])

    def tokens(self) -> TokenModel:
        """This arm at the level of tokens."""
        return ArmModel(self)

    def untouched(self) -> TokenModel | None:
        """The text LLM as it was before it met an image, read once; None where its folder is not known."""
        if self._untouched is None and self.language is not None:
            llm: Any = load_llm(self.language).eval()
            self._untouched = TextModel(llm.to(self.model.llm.device), self.builder.text)
        return self._untouched

    def loglikelihood(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[tuple[float, bool]]:
        """See :func:`lavit.model.likelihood.loglikelihood`."""
        return loglikelihood(self.tokens(), prompts, continuations)

    def nll(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[tuple[float, int]]:
        """See :func:`lavit.model.likelihood.nll`."""
        return nll(self.tokens(), prompts, texts)

    @torch.no_grad()
    def tokenizer_report(self, images: np.ndarray) -> dict[str, Any]:
        """See the protocol; the cosine is taken patch by patch on standardised features [B, N]."""
        cosine, kept, codes, places = [], [], [], []
        for first in range(0, len(images), BATCH):
            part = images[first : first + BATCH]
            tokens = self.tokenizer.encode(part)
            decoded = self.tokenizer.decode(self.tokenizer.lookup(tokens.codes_BK), tokens.places_BK, tokens.mask_BK)
            truth = self.vision(part)
            mean, std = self.tokenizer.mean_C, self.tokenizer.std_C
            cosine.append(F.cosine_similarity((decoded - mean) / std, (truth - mean) / std, dim=-1).cpu().numpy())
            kept.append(tokens.mask_BK.sum(1).cpu().numpy())
            codes += [c[m].cpu().numpy() for c, m in zip(tokens.codes_BK, tokens.mask_BK, strict=True)]
            places += [row.cpu().numpy() for row in self.tokenizer.patches(tokens) or ()]
        report: dict[str, Any] = {"cosine": np.concatenate(cosine), "kept": np.concatenate(kept), "codes": codes}
        return report | ({"places": places} if places else {})


def check_image(part: Part) -> np.ndarray:
    """A prompt's image, if it is one.

    Raises:
        LavitError: it is not a uint8 array [H, W, 3].
    """
    if isinstance(part, np.ndarray) and part.dtype == np.uint8 and part.ndim == 3 and part.shape[-1] == 3:
        return part
    found = f"{part.dtype} {list(part.shape)}" if isinstance(part, np.ndarray) else type(part).__name__
    raise LavitError(f"a prompt has a part that is {found}", "give texts (str) and images (uint8 [H, W, 3])")


def load(folders: dict[str, Path]) -> Arm:
    """A trained arm from the folders of its stages: vision, language, tokenizer, pixels and cooldown."""
    from lavit.stages.arm_model import build_arm

    folder = folders["cooldown"]
    config = OmegaConf.create(json.loads((folder / "config.json").read_text()))
    visual = lavit.tokenizer.load(folders["tokenizer"], folders["vision"])
    model = build_arm(config, folders["language"], visual, 0)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    text = load_text(folders["language"])
    vision, pixels = lavit.vision.load(folders["vision"]), lavit.pixels.load(folders["pixels"])
    arm = Arm(model.eval(), text, vision, visual, pixels)
    arm.language = folders["language"]
    return arm
