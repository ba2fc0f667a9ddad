"""An imported release, as modules. Weights keep the types that they were released in, and are memory-mapped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoTokenizer, LlamaForCausalLM

from lavit.errors import LavitError
from lavit.official.config import OfficialConfig
from lavit.official.importing import FORMAT
from lavit.official.llm import VocabularyMap
from lavit.official.names import OURS_ONLY
from lavit.official.reading import read_json
from lavit.official.tokenizer import OfficialDecoder, OfficialTokenizer
from lavit.official.tower import UnderstandingTower
from lavit.vision.eva import CLIP_MEAN, CLIP_STD


@dataclass
class Official:
    """The pieces of an imported release. Each is loaded when it is asked for, frozen and in evaluation mode.

    Attributes:
        folder: what ``lavit import-official`` wrote.
        config: its ``config.json``.
    """

    folder: Path
    config: dict[str, Any]

    def __contains__(self, part: str) -> bool:
        return part in self.config["parts"]

    @property
    def vocabulary(self) -> VocabularyMap:
        """Which id of the LLM means what."""
        known = self.config["vocabulary"]
        if known is None:
            raise LavitError(f"{self.folder}: the vocabulary is not known", "import tokenizer and llm together")
        return VocabularyMap(known["text_size"], known["codes"])

    def tokenizer(self, softmax: str = "exact") -> OfficialTokenizer:
        """The tokenizer that defines the codes.

        Args:
            softmax: of the merger, ``exact`` or ``policy`` (see :class:`lavit.official.tokenizer.OfficialTokenizer`).
        """
        config = OfficialConfig(**self._options("tokenizer"))
        with torch.device("meta"):
            tokenizer = OfficialTokenizer(config, softmax)
        state = load_file(self.folder / "tokenizer.safetensors")
        if not any(name.startswith("projector.") for name in state) and "understanding" in self:
            copied = load_file(self.folder / "understanding.safetensors")
            state |= {name: value for name, value in copied.items() if name.startswith("projector.")}
        _fill(tokenizer, state, self.folder / "tokenizer.safetensors")
        tokenizer.encoder.mean_3, tokenizer.encoder.std_3 = torch.tensor(CLIP_MEAN), torch.tensor(CLIP_STD)
        quantizer = tokenizer.quantizer
        quantizer.usage_K = torch.full((config.codebook_size,), 1 / config.codebook_size)
        quantizer.ready = torch.ones((), dtype=torch.bool)
        return tokenizer.requires_grad_(False).eval()

    def understanding(self, softmax: str = "exact") -> UnderstandingTower:
        """The tokenizer and, beside it, the merger and the projector that the LLM was trained with."""
        self._options("understanding")
        tokenizer = self.tokenizer(softmax)
        with torch.device("meta"):
            twin = OfficialTokenizer(tokenizer.config, softmax)
        pair = nn.ModuleDict({"merger": twin.merger, "projector": twin.projector})
        path = self.folder / "understanding.safetensors"
        _fill(pair, load_file(path), path)
        tower = UnderstandingTower(tokenizer, twin.merger, twin.projector)
        return tower.requires_grad_(False).eval()

    def decoder(self, part: str) -> OfficialDecoder:
        """Codes to features, and to the condition of a pixel decoder.

        Args:
            part: ``low`` or ``high``.
        """
        config = OfficialConfig(**self._options(f"{part}/decoder"))
        with torch.device("meta"):
            decoder = OfficialDecoder(config, part == "high")
        path = self.folder / part / "decoder.safetensors"
        _fill(decoder, load_file(path), path)
        return decoder.requires_grad_(False).eval()

    def llm(self) -> LlamaForCausalLM:
        """The language model over text, image start, image end and codes."""
        self._options("llm")
        llm = LlamaForCausalLM.from_pretrained(self.folder / "llm", torch_dtype="auto", local_files_only=True)
        return llm.requires_grad_(False).eval()

    def text_tokenizer(self) -> Any:
        """The LLM's text tokenizer, padding on the left with its end-of-text id as the released code does."""
        self._options("llm")
        tokenizer = AutoTokenizer.from_pretrained(self.folder / "llm", padding_side="left", local_files_only=True)
        tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    def pixels(self, part: str, kind: str) -> Path:
        """Folder of a pixel decoder's ``unet``, ``vae`` or ``scheduler``, in diffusers' layout."""
        self._options(f"{part}/{kind}")
        return self.folder / part / kind

    def _options(self, part: str) -> dict[str, Any]:
        if part not in self:
            raise LavitError(f"{self.folder}: no {part} was imported", f"there is: {', '.join(self.config['parts'])}")
        options: dict[str, Any] = self.config["parts"][part]
        return options


def load(folder: Path | str) -> Official:
    """Open what ``lavit import-official`` wrote.

    Raises:
        LavitError: the folder holds no imported release, or one of another format.
    """
    folder = Path(folder)
    config = read_json(folder / "config.json")
    if config.get("format") != FORMAT or "parts" not in config:
        raise LavitError(
            f"{folder / 'config.json'}: format: {config.get('format')!r}, not {FORMAT}",
            "is this a folder that `lavit import-official` wrote? Import the released weights again.",
        )
    return Official(folder, config)


def _fill(module: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Put tensors in place of a module's, types included."""
    missing, strange = module.load_state_dict(state, strict=False, assign=True)
    if lost := [name for name in missing if name not in OURS_ONLY] + strange:
        raise LavitError(f"{path}: {lost[0]} is missing or strange", "import the released weights again")
