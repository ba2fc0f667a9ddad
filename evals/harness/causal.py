"""A plain causal language model from a transformers folder, at the level of tokens, as lm-eval's own HFLM reads it.

Shapes: B rows, T positions, N scored positions, V ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lavit.errors import LavitError
from lavit.model.padding import pad_left
from lavit.model.token_model import TokenModel
from lavit.sequences import Sequence as Row

DEFAULT_LENGTH = 2048
_LENGTH_NAMES = ("n_positions", "max_position_embeddings", "n_ctx")


class CausalModel(TokenModel):
    """Any causal language model of transformers with its tokenizer.

    Args:
        llm: the model.
        tokenizer: its tokenizer.
        max_length: positions to read at once; the model's own number where None.
    """

    def __init__(self, llm: Any, tokenizer: Any, max_length: int | None = None):
        self.llm, self.tokenizer = llm.eval(), tokenizer
        self.eos = int(tokenizer.eos_token_id)
        self.prefix = self.eos if tokenizer.bos_token_id is None else int(tokenizer.bos_token_id)
        self.max_length = max_length or _length(llm.config, tokenizer)
        self._start = tokenizer.decode([self.prefix])

    def encode(self, text: str, special: bool = True) -> list[int]:
        """See the base class; a text that starts with the written-out prefix gets no second one."""
        if not special or (self._start and text.startswith(self._start)):
            return list(self.tokenizer.encode(text, add_special_tokens=False))
        return list(self.tokenizer.encode(text))

    def document(self, text: str) -> list[int]:
        """Ids of a text of its own with what the tokenizer puts around it, all of which HFLM predicts."""
        return self.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """See the base class."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def logits(self, rows: list[Row], counts: list[int], visual: Any) -> list[Tensor]:
        """See the base class. Padding is on the right, where a causal model does not see it."""
        ids_BT = pad_sequence([torch.tensor(row.ids) for row in rows], batch_first=True).to(self.llm.device)
        logits_BTV = self.llm(input_ids=ids_BT, use_cache=False).logits
        ends = [len(row.ids) for row in rows]
        return [logits_BTV[b, end - count : end] for b, (end, count) in enumerate(zip(ends, counts, strict=True))]

    def generation_inputs(self, rows: list[Row], visual: Any) -> dict[str, Tensor]:
        """See the base class."""
        ids_BT, real_BT = pad_left([torch.tensor(row.ids) for row in rows])
        return {"input_ids": ids_BT.to(self.llm.device), "attention_mask": real_BT.long().to(self.llm.device)}


def load_causal(
    folder: str | Path, device: str = "cpu", dtype: str = "auto", max_length: int | None = None
) -> CausalModel:
    """Load a transformers folder; nothing is downloaded.

    Raises:
        LavitError: there is none, or it holds no causal language model.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = Path(folder).expanduser()
    if not (path / "config.json").is_file():
        raise LavitError(
            f"pretrained={path}: there is no config.json in it",
            "name a folder with a causal language model of transformers (config.json, weights, tokenizer)",
        )
    try:
        llm: Any = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, local_files_only=True)
        llm = llm.to(device)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError) as error:
        raise LavitError(
            f"pretrained={path}: {error}", "is this a causal language model with its tokenizer?"
        ) from error
    return CausalModel(llm, tokenizer, max_length)


def _length(config: Any, tokenizer: Any) -> int:
    """Positions by the model's config, else by its tokenizer, else :data:`DEFAULT_LENGTH`, as HFLM finds them."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    for name in _LENGTH_NAMES:
        if getattr(text, name, None):
            return int(getattr(text, name))
    known = int(getattr(tokenizer, "model_max_length", 0) or 0)
    return known if 0 < known < 10**18 else DEFAULT_LENGTH
