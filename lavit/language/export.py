"""The other way: an arm's new rows merged into the tables of its LLM, as an ordinary checkpoint of transformers.

In an arm the new vocabulary stands beside the LLM, so that nothing of the LLM has to move. Whoever goes on with
transformers alone wants one table. Ids of the merged one: V text rows, ``V`` image start, ``V + 1`` image end,
``V + 2 + k`` code k.

Two things of an arm are no rows, and stay beside the checkpoint in ``visual.safetensors``: the embeddings of places,
which are added to a code's row by where it stands, and the mix of hidden state and place before the codes' output rows.
So text logits are those of the arm bit for bit; what the codes' rows give is where training of the merged model begins.

Shapes: V text rows, K codes, W width.
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lavit.errors import LavitError
from lavit.language.access import embedding, entering_scale, head, rows, tied

if TYPE_CHECKING:
    from lavit.model.lavit import LaVIT


@dataclass(frozen=True)
class MergedIds:
    """Which id of a merged table means what.

    Attributes:
        text: text ids, which come first.
        image_start, image_end: the two marks.
        first_code: id of code 0.
        codes: how many codes there are; 0 for an arm without any.
    """

    text: int
    image_start: int
    image_end: int
    first_code: int
    codes: int

    @property
    def size(self) -> int:
        """Rows of the merged table."""
        return self.first_code + self.codes


@torch.no_grad()
def merge_rows(model: LaVIT, untie: bool = False) -> tuple[Any, MergedIds]:
    """A copy of an arm's LLM whose two tables hold the new rows, too.

    Input rows: the marks; of a code its own row and its projected vector. Output rows: of a code the row of the visual
    head and the product with its vector; of the marks, which no arm predicts as text, the mean of the text's rows. A
    bias of the codes goes along where the LLM's head has one.

    Args:
        model: the arm.
        untie: let go of a tie between the LLM's tables, which is necessary where there is one: an arm reads and writes
            codes by different rows.

    Raises:
        LavitError: the tables are tied and ``untie`` is false; or LoRA matrices are not merged.
    """
    if any("lora_" in name for name, _ in model.llm.named_parameters()):
        raise LavitError("the LLM holds LoRA matrices beside its weights", "merge them into the weights first (peft)")
    if tied(model.llm) and not untie:
        raise LavitError(
            "the LLM's input and output rows are one tensor, and this arm reads and writes codes by different rows, so "
            "that no single row of a code could do both",
            "pass untie=True: the merged checkpoint then has two tables (config.tie_word_embeddings=false)",
        )
    llm: Any = copy.deepcopy(model.llm)
    enter_RW, leave_RW, bias_R = _new_rows(model)
    first = rows(llm)
    ids = MergedIds(first, first, first + 1, first + 2, len(enter_RW) - 2)
    table, last = embedding(llm), head(llm)
    out_VW = last.weight
    table.weight = _joined(table.weight, enter_RW / entering_scale(llm))
    last.weight = _joined(out_VW, leave_RW)
    if last.bias is not None:
        last.bias = _joined(last.bias, bias_R)
    table.num_embeddings = last.out_features = llm.config.vocab_size = ids.size
    llm.config.tie_word_embeddings = False
    return llm, ids


def _new_rows(model: LaVIT) -> tuple[Tensor, Tensor, Tensor]:
    """Input rows as they enter, output rows and their biases, of the two marks and of every code."""
    from lavit.model.targets.discrete import SHARPNESS, DiscreteTarget

    last = head(model.llm)
    mean_W = last.weight.float().mean(0)
    enter: list[Tensor] = [model.marks.weight]
    leave: list[Tensor] = [mean_W.expand(2, -1)]
    bias = [mean_W.new_zeros(2)]
    if model.code_rows is not None and model.code_in is not None:
        enter.append(model.code_in(model.codebook_KD) + model.code_rows.weight)
        target = model.head.target if model.head is not None else None
        if isinstance(target, DiscreteTarget):
            leave.append(target.rows.weight + SHARPNESS * target.codebook_KD @ target.vector.weight)
            bias.append(target.rows.bias)
        else:  # codes are read, never written
            leave.append(mean_W.expand(len(model.codebook_KD), -1))
            bias.append(mean_W.new_zeros(len(model.codebook_KD)))
    return torch.cat(enter), torch.cat(leave), torch.cat(bias)


def _joined(own: Tensor, new: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.cat([own.detach(), new.detach().to(own)]))


def export_llm(model: LaVIT, folder: Path, untie: bool = False) -> MergedIds:
    """Write a merged LLM with ``save_pretrained``, ``visual_ids.json``, and what are no rows as ``visual.safetensors``.

    The tokenizer is not touched, and has to be copied beside it: the new ids have no text.

    Raises:
        LavitError: see :func:`merge_rows`.
    """
    llm, ids = merge_rows(model, untie)
    llm.save_pretrained(folder)
    (folder / "visual_ids.json").write_text(json.dumps(asdict(ids), indent=1) + "\n")
    beside = {name: value for name, value in model.state_dict().items() if not name.startswith("llm.")}
    save_file({name: value.contiguous().clone() for name, value in beside.items()}, folder / "visual.safetensors")
    return ids


def learn_new_rows_alone(llm: Any, ids: MergedIds) -> tuple[list[nn.Parameter], list[RemovableHandle]]:
    """Freeze a merged LLM but for its new rows: the gradient of every old row is set to zero before it is added up.

    A row without gradient still shrinks under weight decay: give these parameters to a group with ``weight_decay=0``.

    Returns:
        The parameters that learn, and the hooks, whose ``remove`` lets old rows learn, too.
    """
    llm.requires_grad_(False)
    weights = {id(table): table for table in (embedding(llm).weight, head(llm).weight)}
    learning = [weight for weight in weights.values() if isinstance(weight, nn.Parameter)]
    for parameter in learning:
        parameter.requires_grad_(True)
    return learning, [parameter.register_hook(_Mask(ids.text)) for parameter in learning]


class _Mask:
    def __init__(self, first: int):
        self.first = first

    def __call__(self, gradient: Tensor) -> Tensor:
        masked = gradient.clone()
        masked[: self.first] = 0
        return masked
