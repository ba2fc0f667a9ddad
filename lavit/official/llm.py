"""Visual ids for an existing LLM: a Llama's two tables with rows for image start, image end and every code.

LaVIT's ids follow the text's: V is image start, V + 1 image end, V + 2 + k code k (for Llama-2 and 16384 codes: 32000,
32001, 32002 and up, 48386 in all). One head predicts both kinds.

Freezing the LLM and teaching it the new ids at once needs care: a row that gets no gradient still moves under weight
decay or an optimizer's momentum. So the new rows become parameters of their own (:func:`freeze_text`), and the text
rows are out of any optimizer's reach; :func:`text_digest` proves it. :func:`join_tables` undoes the split for saving.

Shapes: B T leading dimensions, V text ids, E new ids, D width.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from lavit.errors import LavitError

Ids = TypeVar("Ids", int, Tensor)


@dataclass(frozen=True)
class VocabularyMap:
    """Which id means what.

    Attributes:
        text_size: number of text ids V, which come first.
        codes: number of visual codes.
    """

    text_size: int
    codes: int

    @property
    def image_start(self) -> int:
        """Id that opens an image."""
        return self.text_size

    @property
    def image_end(self) -> int:
        """Id that closes an image."""
        return self.text_size + 1

    @property
    def first_code(self) -> int:
        """Id of code 0."""
        return self.text_size + 2

    @property
    def size(self) -> int:
        """Number of ids in all."""
        return self.first_code + self.codes

    def code(self, index: Ids) -> Ids:
        """Id of a code, or of a tensor of them.

        Raises:
            LavitError: an index is not one of the codebook's.
        """
        self._check("code", index, 0, self.codes)
        return index + self.first_code

    def code_index(self, ids: Ids) -> Ids:
        """The inverse of :meth:`code`.

        Raises:
            LavitError: an id is not that of a code.
        """
        self._check("id of a code", ids, self.first_code, self.size)
        return ids - self.first_code

    def is_code(self, ids: Tensor) -> Tensor:
        """True where an id means a code."""
        return (ids >= self.first_code) & (ids < self.size)

    def is_text(self, ids: Tensor) -> Tensor:
        """True where an id means text."""
        return (ids >= 0) & (ids < self.text_size)

    @staticmethod
    def _check(what: str, value: int | Tensor, low: int, high: int) -> None:
        least, most = (value, value) if isinstance(value, int) else value.aminmax() if value.numel() else (low, low)
        if least < low or most >= high:
            raise LavitError(f"no {what}: {int(least if least < low else most)} (it lies in {low} ... {high - 1})")


def extend_vocabulary(llm: LlamaForCausalLM, codes: int, generator: torch.Generator) -> VocabularyMap:
    """Give an LLM of text rows for image start, image end and ``codes`` codes, in both tables, in place.

    The new rows are drawn as the LLM's own were: normal with the deviation ``config.initializer_range``. The rows of
    text keep every bit. Where the LLM ties its two tables, they stay tied.

    Args:
        llm: a Llama over text ids alone.
        codes: size of the codebook.
        generator: of the new rows (on the CPU).
    """
    embedding, head = _tables(llm)
    vocabulary = VocabularyMap(embedding.weight.shape[0], codes)
    tied = head.weight is embedding.weight
    embedding.weight = _with_new_rows(embedding.weight, vocabulary, llm.config.initializer_range, generator)
    head.weight = (
        embedding.weight if tied else _with_new_rows(head.weight, vocabulary, llm.config.initializer_range, generator)
    )
    embedding.num_embeddings = head.out_features = llm.config.vocab_size = vocabulary.size
    return vocabulary


def _tables(llm: LlamaForCausalLM) -> tuple[nn.Embedding, nn.Linear]:
    embedding, head = llm.get_input_embeddings(), llm.get_output_embeddings()
    if not isinstance(embedding, nn.Embedding) or not isinstance(head, nn.Linear):
        raise LavitError("the LLM's vocabulary is split (freeze_text)", "join_tables undoes that")
    if head.bias is not None:
        raise LavitError("the LLM's head has a bias, which a Llama's has not")
    return embedding, head


def _with_new_rows(
    text_VD: Tensor, vocabulary: VocabularyMap, deviation: float, generator: torch.Generator
) -> nn.Parameter:
    new_ED = torch.empty(vocabulary.size - vocabulary.text_size, text_VD.shape[1])
    new_ED.normal_(0.0, deviation, generator=generator)
    return nn.Parameter(torch.cat([text_VD.detach(), new_ED.to(text_VD)]), requires_grad=text_VD.requires_grad)


class SplitEmbedding(nn.Module):
    """Embedding table whose text rows are frozen and whose new rows learn."""

    def __init__(self, text_VD: Tensor, new_ED: nn.Parameter):
        super().__init__()
        self.text_VD = nn.Parameter(text_VD, requires_grad=False)
        self.new_ED = new_ED

    def forward(self, ids: Tensor) -> Tensor:
        """Embeddings [..., D], without joining the two tables."""
        size = len(self.text_VD)
        text = F.embedding(ids.clamp(max=size - 1), self.text_VD)
        new = F.embedding((ids - size).clamp(min=0), self.new_ED)
        return torch.where((ids < size)[..., None], text, new)


class SplitHead(nn.Module):
    """Output head whose text rows are frozen and whose new rows learn."""

    def __init__(self, text_VD: Tensor, new_ED: nn.Parameter):
        super().__init__()
        self.text_VD = nn.Parameter(text_VD, requires_grad=False)
        self.new_ED = new_ED

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits [..., V + E]."""
        return torch.cat([F.linear(hidden, self.text_VD), F.linear(hidden, self.new_ED)], dim=-1)


def freeze_text(llm: LlamaForCausalLM, vocabulary: VocabularyMap) -> list[nn.Parameter]:
    """Freeze an extended LLM except for its new rows, in place.

    Returns:
        What learns: the new rows of the embedding and, unless the tables are tied, of the head.
    """
    embedding, head = _tables(llm)
    if len(embedding.weight) != vocabulary.size:
        raise LavitError(
            f"the LLM has {len(embedding.weight)} ids, not {vocabulary.size}", "extend_vocabulary comes first"
        )
    tied = head.weight is embedding.weight
    llm.requires_grad_(False)
    text_VD, new_ED = _split(embedding.weight, vocabulary)
    llm.set_input_embeddings(cast(nn.Embedding, SplitEmbedding(text_VD, new_ED)))
    if not tied:
        text_VD, new_head_ED = _split(head.weight, vocabulary)
        llm.set_output_embeddings(cast(nn.Linear, SplitHead(text_VD, new_head_ED)))
        return [new_ED, new_head_ED]
    llm.set_output_embeddings(cast(nn.Linear, SplitHead(text_VD, new_ED)))
    return [new_ED]


def _split(weight_XD: Tensor, vocabulary: VocabularyMap) -> tuple[Tensor, nn.Parameter]:
    text_VD, new_ED = weight_XD.detach().split([vocabulary.text_size, vocabulary.size - vocabulary.text_size])
    return text_VD, nn.Parameter(new_ED.clone())


def join_tables(llm: LlamaForCausalLM) -> None:
    """Put ordinary tables in place of split ones, so that the LLM saves, loads and learns as any other."""
    embedding, head = llm.get_input_embeddings(), llm.get_output_embeddings()
    if not isinstance(embedding, SplitEmbedding) or not isinstance(head, SplitHead):
        raise LavitError("the LLM's vocabulary is not split, so there is nothing to join")
    tied = head.new_ED is embedding.new_ED
    joined = nn.Embedding.from_pretrained(torch.cat([embedding.text_VD, embedding.new_ED]).detach(), freeze=False)
    llm.set_input_embeddings(joined)
    plain = nn.Linear(joined.embedding_dim, joined.num_embeddings, bias=False, device="meta")
    plain.weight = joined.weight if tied else nn.Parameter(torch.cat([head.text_VD, head.new_ED]).detach())
    llm.set_output_embeddings(plain)
    llm.requires_grad_(True)


def text_digest(llm: LlamaForCausalLM, vocabulary: VocabularyMap) -> str:
    """SHA-256 over the bits of everything that freezing promises to keep: all weights but the new rows."""
    digest = hashlib.sha256()
    embedding, head = llm.get_input_embeddings(), llm.get_output_embeddings()
    for table in (embedding, head):
        split = isinstance(table, SplitEmbedding | SplitHead)
        rows = cast(Tensor, table.text_VD if split else cast(Tensor, table.weight)[: vocabulary.text_size])
        digest.update(_bits(rows))
    tables = {id(parameter) for table in (embedding, head) for parameter in table.parameters()}
    for name, parameter in llm.named_parameters():
        if id(parameter) not in tables:
            digest.update(name.encode())
            digest.update(_bits(parameter))
    return digest.hexdigest()


def _bits(tensor: Tensor) -> memoryview:
    return tensor.detach().contiguous().cpu().view(torch.uint8).numpy().data
