"""Tiny checkpoints in the layout of LaVIT's released ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from lavit.official import released_pixels
from lavit.official.config import OfficialConfig
from lavit.official.names import DECODER, TOKENIZER, to_official
from lavit.official.tokenizer import OfficialDecoder, OfficialTokenizer

SIZES = OfficialConfig(
    image_size=28,
    width=32,
    heads=2,
    vision_blocks=2,
    merger_blocks=1,
    decoder_blocks=1,
    codebook_size=24,
    code_dim=8,
    llm_width=16,
    condition_dim=20,
    pooled_dim=12,
)
TEXT = 50
LONGER = ("encoder.cls_token", "encoder.pos_embed", "pos_embed", "query_embed")  # tables with a leading axis of one

State = dict[str, Tensor]


def released(module: nn.Module, rules: tuple, generator: torch.Generator) -> State:
    """Random tensors under a module's released names."""
    state = to_official(module, rules)
    for name, value in state.items():
        state[name] = torch.randn(value.shape, generator=generator).half()
        while name in LONGER and state[name].dim() < 3:
            state[name] = state[name][None]
    return state


class Release:
    """A released checkpoint, by file; change ``files`` and call :meth:`write`."""

    def __init__(self, folder: Path):
        self.folder = folder
        generator = torch.Generator().manual_seed(5)
        with torch.random.fork_rng():
            torch.manual_seed(5)  # what takes no generator is the same in every run too
            tokenizer = released(OfficialTokenizer(SIZES), TOKENIZER, generator)
            tokenizer |= {f"encoder.norm.{kind}": torch.ones(32) for kind in ("weight", "bias")}
            tokenizer |= {"encoder.head.weight": torch.ones(7, 32), "encoder.head.bias": torch.ones(7)}
            copied = {k: torch.randn(v.shape).bfloat16() for k, v in tokenizer.items() if k.startswith(("caus", "vit"))}
            llama = LlamaConfig(
                vocab_size=TEXT + 2 + SIZES.codebook_size,
                hidden_size=SIZES.llm_width,
                intermediate_size=24,
                num_hidden_layers=2,
                num_attention_heads=2,
            )
            self.llm: State = {k: v.half() for k, v in LlamaForCausalLM(llama).state_dict().items()}
            self.files: dict[str, State] = {
                "visual_tokenizer/tokenizer_encoder.bin": tokenizer,
                "visual_tokenizer/tokenizer_decoder.bin": released(OfficialDecoder(SIZES), DECODER, generator),
                "visual_tokenizer/highres_tokenizer_decoder.bin": released(
                    OfficialDecoder(SIZES, high_resolution=True), DECODER, generator
                ),
                "language_model/visual_weight.bin": copied,
            }
            self.pixels: dict[str, State] = {
                "unet": {"conv_in.weight": torch.randn(4, 3, 3, 3), "conv_in.bias": torch.randn(4)},
                "vae": {
                    "decoder.mid_block.attentions.0.query.weight": torch.randn(4, 4),
                    "decoder.mid_block.attentions.0.proj_attn.bias": torch.randn(4),
                },
            }
        self.llama = llama.to_dict()
        self.llama.update(torch_dtype="float16", model_type="llama")
        self.shards = 2

    def write(self) -> Path:
        """Write everything."""
        for name, state in self.files.items():
            self._save(name, state)
        self._write_llm(self.folder / "language_model")
        self._write_pixels("pixel_decoding", SIZES.condition_dim)
        self._write_pixels("highres_pixel_decoding", SIZES.condition_dim + 12)
        torch.save(torch.randn(1, 5, SIZES.condition_dim), self.folder / "pixel_decoding" / "uncond_embeddings.bin")
        return self.folder

    def _save(self, name: str, value: object) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(value, path)

    def _write_llm(self, folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps(self.llama))
        (folder / "notes.txt").write_text("not ours")
        words = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "dog": 4}, unk_token="<unk>"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        words.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "unk_token": "<unk>"})
        )
        names = list(self.llm)
        where = {name: f"pytorch_model-{n % self.shards + 1:05d}.bin" for n, name in enumerate(names)}
        for file in set(where.values()):
            torch.save({name: self.llm[name] for name in names if where[name] == file}, folder / file)
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))

    def _write_pixels(self, name: str, condition_dim: int) -> None:
        for kind, state in self.pixels.items():
            folder = self.folder / name / kind
            folder.mkdir(parents=True, exist_ok=True)
            options = {"_class_name": released_pixels.KINDS[kind]}
            options |= {"cross_attention_dim": condition_dim} if kind == "unet" else {}
            (folder / "config.json").write_text(json.dumps(options))
            save_file(state, folder / "diffusion_pytorch_model.safetensors")
        (self.folder / name / "scheduler").mkdir(exist_ok=True)
        (self.folder / name / "scheduler" / "scheduler_config.json").write_text("{}")


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    """A tiny release, not written yet; its U-Net is no real one, so diffusers is not asked about it."""
    monkeypatch.setattr(released_pixels, "_build", lambda kind, options: None)
    return Release(tmp_path / "LaVIT-tiny")


@pytest.fixture
def build_release() -> Callable[[Path], Release]:
    """Makes further ones."""
    return Release
