"""The language model of a release: a Llama folder as transformers writes it, its vocabulary already extended."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from lavit.errors import LavitError
from lavit.official.reading import find_weights, read_json
from lavit.official.section import Section, make_section

TOKENIZERS = ("tokenizer.model", "tokenizer.json")
COPIED = (
    *("config.json", "generation_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("tokenizer_config.json", *TOKENIZERS),
)
UNUSED = {"*.rotary_emb.inv_freq": "rotary frequencies follow from config.json"}


def read_llm(folder: Path, ignored: Iterable[str] = ()) -> Section:
    """Look at a Llama folder.

    Raises:
        LavitError: it is no Llama, or has no tokenizer or no weights.
    """
    options = read_json(folder / "config.json")
    if options.get("model_type") != "llama":
        raise LavitError(f"{folder / 'config.json'}: model_type: {options.get('model_type')!r}, not 'llama'")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise LavitError(f"{folder}: there is no tokenizer", f"one of {', '.join(TOKENIZERS)} was expected")
    try:
        config = LlamaConfig.from_dict(options)
        with torch.device("meta"):
            model: nn.Module = LlamaForCausalLM(config)
    except Exception as error:  # whatever the library makes of strange sizes
        raise LavitError(f"{folder / 'config.json'}: no Llama can be built from it: {error}") from error
    unused = dict(UNUSED)
    if config.tie_word_embeddings:
        model.lm_head = nn.Identity()
        unused["lm_head.weight"] = "tied to the embedding by config.json"
    section = make_section("llm", "llm", find_weights(folder), model, (), unused, ignored)
    section.copies = [path for name in COPIED if (path := folder / name).is_file()]
    section.options = {"ids": config.vocab_size, "width": config.hidden_size}
    return section
