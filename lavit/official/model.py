"""LaVIT's imported weights behind the protocol that arms have: what evaluates an arm evaluates the release.

Shapes: B images, N patches, C channels, R rows of all images, D code dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from lavit.errors import LavitError
from lavit.model.draw_settings import DrawSettings
from lavit.model.protocol import Drawing, Prompt, Visual
from lavit.model.text_settings import TextSettings
from lavit.model.vision_language import check_image
from lavit.official import encoded
from lavit.official.drawing import draw_images
from lavit.official.encoded import EncodedRelease
from lavit.official.loading import Official, load
from lavit.official.painting import Painter, choose_painter
from lavit.official.precision import enter, in_own_type, raise_norms
from lavit.official.prompts import Piece, PromptReader
from lavit.official.settings import OfficialSettings
from lavit.official.text import truncate_answer, truncate_caption, vqa_prompt
from lavit.official.tower import UnderstandingTower
from lavit.official.understanding import ANSWER, CAPTION, generate_text_ids

if TYPE_CHECKING:
    from lavit.model.token_model import TokenModel


class OfficialModel:
    """Implements :class:`lavit.model.protocol.VisionLanguageModel` with a released LaVIT.

    Captions and answers are asked for, and cut out of what is written, as published (LaVIT, section 4; its released
    code): no prompt for captions, cut at the first full stop; ``Question: {} Answer:`` for questions, whose text is
    simplified first, and answers cut at the marks of :data:`lavit.official.text.ANSWER_ENDS`. Without settings they are
    decoded as published too. :meth:`complete` takes prompts as they are and cuts nothing.

    Args:
        official: the pieces of the release.
        tower: vision encoder, selector, and both mergers.
        llm: the language model.
        painter: codes to pixels; None where the model makes no images.
        settings: where the release leaves a choice.
        device: of all parts.
    """

    def __init__(
        self,
        official: Official,
        tower: UnderstandingTower,
        llm: LlamaForCausalLM,
        painter: Painter | None,
        settings: OfficialSettings,
        device: torch.device,
    ):
        self.tower, self.llm, self.painter, self.settings, self.device = tower, llm, painter, settings, device
        self.vocabulary, self.words = official.vocabulary, official.text_tokenizer()
        self.image_size = tower.tokenizer.config.image_size
        self.makes_images = painter is not None and painter.paints
        embedding = llm.get_input_embeddings()
        assert isinstance(embedding, nn.Embedding)
        self.reader = PromptReader(embedding, tower.projector, self.vocabulary)

    @classmethod
    def load(cls, folder: Path, settings: OfficialSettings | None = None, device: str = "cpu") -> OfficialModel:
        """The model that ``lavit import-official`` wrote into a folder.

        Raises:
            LavitError: a part is missing, or there is no such device.
        """
        settings, official = settings or OfficialSettings(), load(folder)
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise LavitError(f"--device {device}: torch finds no such device", "use --device cpu")
        at = torch.device(device)
        tower = official.understanding(settings.softmax)
        tower.tokenizer.selector.float()
        tower.tokenizer.selector.mode = settings.selection
        tower.tokenizer.quantizer.float()
        raise_norms(tower)
        painter = choose_painter(official, settings, at)
        llm: Any = official.llm()
        return cls(official, tower.to(at), llm.to(at), painter, settings, at)

    # Reading

    @torch.no_grad()
    def encode(self, images: np.ndarray) -> EncodedRelease:
        """See the protocol; images of another size are squashed to the one that the tower reads."""
        parts = []
        for part in self._batches(images):
            features_BNC = encoded.vision_features(self.tower, part, self.device)
            parts.append(encoded.encode(self.tower, features_BNC, self._keys(part), self.device))
        return encoded.join(parts)

    def caption(self, visual: Visual | None, count: int, settings: TextSettings | None = None) -> list[str]:
        """See the protocol; without an image the model reads an image of no rows."""
        rows = self._rows(visual, count)
        texts = self._write([[row] for row in rows], settings or CAPTION)
        return [truncate_caption(text) for text in texts]

    def answer(self, visual: Visual | None, questions: list[str], settings: TextSettings | None = None) -> list[str]:
        """See the protocol; without an image the model reads the question alone."""
        asked = [self._ids(vqa_prompt(question)) for question in questions]
        if visual is None:
            prompts: list[list[Piece]] = [[ids] for ids in asked]
        else:
            prompts = [[row, ids] for row, ids in zip(self._rows(visual, len(visual)), asked, strict=True)]
        return [truncate_answer(text) for text in self._write(prompts, settings or ANSWER)]

    def complete(self, prompts: Sequence[Prompt], settings: TextSettings) -> list[str]:
        """See the protocol."""
        return self._write(self.pieces(prompts), settings)

    def pieces(self, prompts: Sequence[Prompt]) -> list[list[Piece]]:
        """Texts as ids and images as rows, in the order in which they are read.

        Raises:
            LavitError: a part is neither text nor an image.
        """
        split = [[prompt] if isinstance(prompt, str) else list(prompt) for prompt in prompts]
        shown = [check_image(part) for parts in split for part in parts if not isinstance(part, str)]
        sized = [encoded.squash(image[None], self.image_size)[0] for image in shown]
        visual = self.encode(np.stack(sized)) if sized else None
        rows = iter(self._rows(visual, len(shown)) if shown else [])
        return [[self._ids(part) if isinstance(part, str) else next(rows) for part in parts] for parts in split]

    def _write(self, prompts: Sequence[Sequence[Piece]], settings: TextSettings) -> list[str]:
        """What follows each prompt, in batches of similar length."""
        texts = [""] * len(prompts)
        order = np.argsort([self.reader.length(pieces) for pieces in prompts], kind="stable")
        for first in range(0, len(order), self.settings.batch):
            chosen = order[first : first + self.settings.batch]
            with torch.no_grad():
                inputs = self.reader.read([prompts[row] for row in chosen])
            written = generate_text_ids(
                self.llm,
                inputs.embeds_BSD,
                inputs.mask_BS,
                settings,
                image_start=self.vocabulary.image_start,
                seed=settings.seed,
            )
            for row, ids in zip(chosen, written, strict=True):
                texts[row] = str(self.words.decode(ids, skip_special_tokens=True))
        return texts

    def _rows(self, visual: Visual | None, count: int) -> list[Tensor]:
        if visual is None:
            width = self.tower.tokenizer.config.width
            return [torch.zeros(0, width, dtype=self.tower.projector.weight.dtype)] * count
        assert isinstance(visual, EncodedRelease)
        return [visual.rows(image) for image in range(len(visual))]

    def _ids(self, text: str) -> list[int]:
        """Ids of a text, without marks of its beginning, as published."""
        ids: list[int] = self.words(text, add_special_tokens=False).input_ids
        return ids

    def tokens(self) -> TokenModel:
        """This model at the level of tokens."""
        from lavit.official.token_model import ReleasedTokens

        return ReleasedTokens(self)

    def loglikelihood(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[tuple[float, bool]]:
        """See :func:`lavit.model.likelihood.loglikelihood`."""
        from lavit.model.likelihood import loglikelihood

        return loglikelihood(self.tokens(), prompts, continuations)

    # Drawing

    @torch.no_grad()
    def draw(self, prompts: Sequence[Prompt], seed: int, settings: DrawSettings) -> Drawing:
        """See the protocol; :func:`lavit.official.drawing.draw_images` says what the settings mean here.

        Raises:
            LavitError: no pixel decoder was imported, or a setting that this model cannot meet.
        """
        return draw_images(self, self._painter(), prompts, seed, settings)

    @torch.no_grad()
    def codes(self, images: np.ndarray) -> list[Tensor]:
        """Codes of each image, by the tokenizer's own merger."""
        net, codes = self.tower.tokenizer, []
        for part in self._batches(images):
            features_BNC = encoded.vision_features(self.tower, part, self.device)
            keep_BN, kept = encoded.select(self.tower, features_BNC, self._keys(part))
            with in_own_type(net.merger, self.device):
                merged_RC = net.merger.packed(enter(features_BNC, net.merger), keep_BN, kept)
            codes_R = net.quantizer.codes(net.quantizer.vectors(merged_RC.float()))
            codes += list(codes_R.split(kept.rows.count_B.tolist()))
        return codes

    @torch.no_grad()
    def reconstruct(self, images: np.ndarray) -> Drawing:
        """See the protocol; from codes."""
        return self._painter().drawing(self.codes(images), self.tower.tokenizer.quantizer, seed=0)

    @torch.no_grad()
    def features(self, images: np.ndarray) -> Tensor:
        """See the protocol."""
        parts = [encoded.vision_features(self.tower, part, self.device) for part in self._batches(images)]
        return torch.cat(parts).float()

    @torch.no_grad()
    def tokenizer_report(self, images: np.ndarray) -> dict[str, Any]:
        """See the protocol; the cosine is that of the published objective, of raw features.

        Raises:
            LavitError: no decoder from codes to features was imported.
        """
        if self.painter is None:
            raise LavitError("no decoder was imported, so codes cannot be turned into features", "import low or high")
        codes = self.codes(images)
        rebuilt_BNC = self.painter.features(codes, self.tower.tokenizer.quantizer)
        cosine_BN = F.cosine_similarity(rebuilt_BNC, self.features(images), dim=-1)
        kept = np.array([len(row) for row in codes])
        return {"cosine": cosine_BN.cpu().numpy(), "kept": kept, "codes": [row.cpu().numpy() for row in codes]}

    def _painter(self) -> Painter:
        if self.painter is None:
            raise LavitError("no pixel decoder was imported, or checkpoint.pixels=none", "import low or high")
        return self.painter

    def _batches(self, images: np.ndarray) -> list[np.ndarray]:
        size = self.settings.batch
        return [encoded.squash(images[i : i + size], self.image_size) for i in range(0, len(images), size)]

    def _keys(self, images: np.ndarray) -> Tensor:
        return encoded.keys(images).to(self.device)
