"""What this project asks of an LLM of transformers, whatever its architecture calls it.

Shapes: V text ids (rows of the table, used or not), W width, T positions, N of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lavit.errors import LavitError

#: What new rows begin with: ``normal``, drawn as the LLM's own were; ``mean``, the mean of its rows as they enter.
NEW_ROWS = ("normal", "mean")


def body(llm: Any) -> Any:
    """The LLM without its head: ids or embeddings to last hidden states."""
    return getattr(llm, llm.base_model_prefix)


def layers(llm: Any) -> nn.ModuleList:
    """Its decoder layers.

    Raises:
        LavitError: no list in it has as many modules as the config has layers.
    """
    count = llm.config.num_hidden_layers
    for module in body(llm).children():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise LavitError(f"{type(llm).__name__} keeps its {count} layers where this project does not find them")


def embedding(llm: Any) -> nn.Embedding:
    """The table of its input rows [V, W]."""
    table: nn.Embedding = llm.get_input_embeddings()
    return table


def head(llm: Any) -> nn.Linear:
    """The table of its output rows [V, W]; the same tensor as the input's where the LLM ties them."""
    table: nn.Linear = llm.get_output_embeddings()
    return table


def tied(llm: Any) -> bool:
    """Whether input and output rows are one tensor."""
    return head(llm).weight is embedding(llm).weight


def rows(llm: Any) -> int:
    """Rows V of its tables: at least as many as its tokenizer has ids, because released tables are often padded."""
    return embedding(llm).num_embeddings


def width(llm: Any) -> int:
    """Width W of its hidden states."""
    return int(llm.config.hidden_size)


def attention_width(llm: Any) -> int:
    """Width of all heads of a layer together, which some architectures choose apart from that of hidden states."""
    heads = int(llm.config.num_attention_heads)
    return heads * int(getattr(llm.config, "head_dim", None) or width(llm) // heads)


def positions(llm: Any) -> int:
    """Positions that it reads at once; no more than a sliding window, within which it is like any other attention."""
    window = getattr(llm.config, "sliding_window", None) if getattr(llm.config, "use_sliding_window", True) else None
    return min(int(llm.config.max_position_embeddings), int(window or 2**62))


def embed_text(llm: Any, ids: Tensor) -> Tensor:
    """Rows of text ids as they enter the body, scaled where the architecture scales them (Gemma)."""
    return embedding(llm)(ids)


def text_logits(llm: Any, hidden: Tensor) -> Tensor:
    """Logits [..., V] of last hidden states, bounded where the architecture bounds them (Gemma 2)."""
    table = head(llm)
    logits: Tensor = table(hidden.to(table.weight.dtype))
    bound = getattr(llm.config, "final_logit_softcapping", None)
    return logits if bound is None else bound * torch.tanh(logits / bound)


def entering_scale(llm: Any) -> float:
    """What its rows are multiplied by as they enter."""
    return float(getattr(embedding(llm), "scalar_embed_scale", 1.0))


def entering_deviation(llm: Any) -> float:
    """Deviation of its rows as they entered before they learned: ``initializer_range``, scaled where they are."""
    return float(getattr(llm.config, "initializer_range", 0.02)) * entering_scale(llm)


@torch.no_grad()
def draw_rows(llm: Any, table_EW: Tensor) -> None:
    """Begin new rows of the vocabulary, which stand beside the LLM's own; in place.

    The rows of an LLM of this suite's own are drawn as its embeddings were. Beside a released one, whose rows lie in
    one small region, they begin at their mean, so that a new row is at first no louder than a word (``new_rows``).
    """
    nn.init.normal_(table_EW, std=entering_deviation(llm))
    if getattr(llm, "new_rows", "normal") == "mean":
        own_VW = embedding(llm).weight
        mean_W = torch.stack([part.float().sum(0) for part in own_VW.split(4096)]).sum(0) / len(own_VW)
        table_EW.copy_((mean_W * entering_scale(llm)).expand_as(table_EW))


def check_architecture(llm: PreTrainedModel, where: str) -> None:
    """Refuse what this project cannot read, write, count or extend.

    Raises:
        LavitError: says what.
    """
    config: Any = llm.config
    for name in ("num_experts", "num_local_experts", "n_routed_experts"):
        if int(getattr(config, name, None) or 0) > 1:
            raise LavitError(
                f"{where}: {type(llm).__name__} is a mixture of experts ({name}={getattr(config, name)}), whose cost "
                "depends on what it reads, so that ledgers would not hold",
                "choose a dense LLM",
            )
    table, last = llm.get_input_embeddings(), llm.get_output_embeddings()
    if not isinstance(table, nn.Embedding) or not isinstance(last, nn.Linear):
        raise LavitError(f"{where}: {type(llm).__name__} has no plain tables of input and output rows")
    if table.weight.shape != last.weight.shape or table.embedding_dim != width(llm):
        raise LavitError(
            f"{where}: input rows {list(table.weight.shape)} and output rows {list(last.weight.shape)} do not both "
            f"have the hidden states' width {width(llm)}",
            "choose another LLM",
        )
    layers(llm)


@torch.no_grad()
def check_paths(llm: Any, where: str) -> None:
    """Compare the LLM's own logits with those that this project computes, on a few ids.

    Raises:
        LavitError: they are not equal: the architecture does something between its parts that is not known here.
    """
    ids_1T = torch.arange(1, 9).remainder(rows(llm))[None]
    own = llm(input_ids=ids_1T, use_cache=False).logits
    hidden = body(llm)(inputs_embeds=embed_text(llm, ids_1T), use_cache=False).last_hidden_state
    if not torch.equal(own, text_logits(llm, hidden)):
        raise LavitError(
            f"{where}: the logits of {type(llm).__name__} are not those of its embeddings, layers and head alone",
            "this architecture is not supported; Llama, Qwen, Mistral, Gemma and GPT-NeoX are",
        )
