"""The LLM: transformers' Llama at any size, saved as safetensors with its config beside it, or a released one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from lavit.language.pretrained import load_inspected


def build_llm(config: Mapping[str, Any], vocab_size: int) -> LlamaForCausalLM:
    """A Llama with random weights.

    Args:
        config: ``width``, ``layers``, ``heads``, ``mlp_width`` and ``max_positions``.
        vocab_size: number of text ids; visual tokens are added by :class:`lavit.model.lavit.LaVIT`, not here.
    """
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=config["width"],
            intermediate_size=config["mlp_width"],
            num_hidden_layers=config["layers"],
            num_attention_heads=config["heads"],
            num_key_value_heads=config["heads"],
            max_position_embeddings=config["max_positions"],
            # 0.02, the library's default, suits a width of 2500; a narrow model drawn so small learns late.
            initializer_range=config["width"] ** -0.5,
            tie_word_embeddings=False,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def save_llm(llm: LlamaForCausalLM, config: Mapping[str, Any], folder: Path) -> None:
    """Write ``llm.safetensors`` and ``llm.json``."""
    keep = ("width", "layers", "heads", "mlp_width", "max_positions")
    (folder / "llm.json").write_text(
        json.dumps({"vocab_size": llm.config.vocab_size, **{k: config[k] for k in keep}}, indent=1)
    )
    save_file({n: t.contiguous() for n, t in llm.state_dict().items()}, folder / "llm.safetensors")


def load_llm(folder: Path, fresh: int | None = None) -> Any:
    """Read what :func:`save_llm` wrote, or the released LLM that the stage points to.

    Args:
        folder: of the language stage.
        fresh: a seed; the same LLM with the random weights that it gives, as if it had never read a text.
    """
    config = json.loads((folder / "llm.json").read_text())
    if "released" in config:
        return load_inspected(folder, config, fresh)
    with torch.random.fork_rng(devices=[]):
        if fresh is not None:
            torch.manual_seed(fresh)
        llm = build_llm(config, config["vocab_size"])
    if fresh is None:
        llm.load_state_dict(load_file(folder / "llm.safetensors"))
    return llm
