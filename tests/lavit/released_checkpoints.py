"""Tiny checkpoints with random weights in the formats of real ones: what tests of released backbones begin with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

SHAPE = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 256,
}
TEXTS = ["a picture of a large red circle and a blue square", "is there a green triangle left of it? yes no two"]
VOCABULARY = 420  # rows of the tables; the tokenizer has fewer ids, as Qwen's
VISION = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
PREPROCESSOR = {
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
    "rescale_factor": 1 / 255,
    "resample": 3,
    "size": {"height": 32, "width": 32},
}


def save_tokenizer(folder: Path, bos: bool = False) -> None:
    """A byte-pair tokenizer, as those of Qwen and Llama 3."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<|end|>", "<|begin|>"] if bos else ["<|end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        TEXTS * 9, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    )
    further = {"bos_token": "<|begin|>"} if bos else {}
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", **further).save_pretrained(folder)


def save_llm(folder: Path, kind: str, seed: int = 0, **changes: Any) -> Any:
    """A causal language model of an architecture of transformers, as ``Llama``, with its tokenizer; returns it."""
    import transformers

    named = f"{kind}TextConfig" if kind == "Gemma3" else f"{kind}Config"
    shape = {"vocab_size": VOCABULARY, **SHAPE, **changes}
    torch.manual_seed(seed)
    llm = transformers.AutoModelForCausalLM.from_config(getattr(transformers, named)(**shape))
    llm.save_pretrained(folder)
    save_tokenizer(folder, bos=kind == "Llama")
    return llm.eval()


def save_encoder(folder: Path, kind: str, **changes: Any) -> Any:
    """A vision tower of an architecture of transformers, as ``CLIP``, with its preprocessor; returns it."""
    import transformers

    shape = {**VISION, **changes}
    if kind == "Siglip2":
        shape["num_patches"] = (shape.pop("image_size") // shape["patch_size"]) ** 2
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}VisionModel")(getattr(transformers, f"{kind}VisionConfig")(**shape))
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return model.eval()
