"""New ids for an LLM: what is added, what stays to the bit, and what learns when the LLM is frozen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lavit.errors import LavitError
from lavit.official.llm import VocabularyMap, extend_vocabulary, freeze_text, join_tables, text_digest

TEXT, CODES = 40, 300


def tiny(tied: bool = False, dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=TEXT,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.3,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config).to(dtype)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_the_official_ids() -> None:
    vocabulary = VocabularyMap(32000, 16384)
    assert (vocabulary.image_start, vocabulary.image_end, vocabulary.first_code) == (32000, 32001, 32002)
    assert (vocabulary.size, vocabulary.code(7)) == (48386, 32009)
    ids = torch.tensor([0, 31999, 32000, 32001, 32002, 48385])
    assert vocabulary.is_text(ids).tolist() == [True, True, False, False, False, False]
    assert vocabulary.is_code(ids).tolist() == [False, False, False, False, True, True]
    codes = torch.arange(16384)
    assert torch.equal(vocabulary.code_index(vocabulary.code(codes)), codes)


@pytest.mark.parametrize("bad", [-1, 16384])
def test_a_code_outside_the_codebook_is_refused(bad: int) -> None:
    vocabulary = VocabularyMap(32000, 16384)
    with pytest.raises(LavitError, match=f"{bad} .it lies in 0 ... 16383"):
        vocabulary.code(bad)
    with pytest.raises(LavitError, match=f"{bad}"):
        vocabulary.code(torch.tensor([0, bad]))
    with pytest.raises(LavitError, match="32001"):
        vocabulary.code_index(32001)
    assert vocabulary.code(torch.zeros(0, dtype=torch.long)).numel() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("tied", [False, True])
def test_extension_keeps_the_text_to_the_bit(tied: bool, dtype: torch.dtype) -> None:
    llm, before = tiny(tied, dtype), tiny(tied, dtype)
    vocabulary = extend_vocabulary(llm, CODES, generator())
    assert text_digest(llm, vocabulary) == text_digest(before, VocabularyMap(TEXT, 0))
    assert llm.config.vocab_size == TEXT + 2 + CODES == vocabulary.size
    assert (llm.lm_head.weight is llm.model.embed_tokens.weight) == tied
    assert llm.lm_head.weight.dtype == dtype
    ids = torch.tensor([[3, vocabulary.image_start, vocabulary.code(5)]])
    with torch.no_grad():
        logits = llm(ids).logits
        if dtype == torch.float32:
            torch.testing.assert_close(logits[:, :1, :TEXT], before(ids[:, :1]).logits)
    assert logits.shape[-1] == vocabulary.size


def test_new_rows_are_drawn_like_the_llms_own_and_from_the_generator_alone() -> None:
    llm, twin = tiny(), tiny()
    extend_vocabulary(llm, CODES, generator())
    torch.manual_seed(99)
    extend_vocabulary(twin, CODES, generator())
    for table, same in ((llm.lm_head, twin.lm_head), (llm.model.embed_tokens, twin.model.embed_tokens)):
        assert torch.equal(table.weight, same.weight)
        new = table.weight[TEXT:].detach()
        assert abs(float(new.std()) - 0.3) < 0.02
        assert abs(float(new.mean())) < 0.02
    assert not torch.equal(llm.lm_head.weight[TEXT:], llm.model.embed_tokens.weight[TEXT:])


@pytest.mark.parametrize("tied", [False, True])
def test_only_new_rows_learn_when_the_llm_is_frozen(tied: bool) -> None:
    llm = tiny(tied)
    vocabulary = extend_vocabulary(llm, CODES, generator())
    ids = torch.tensor([[3, 4, vocabulary.image_start, vocabulary.code(5), vocabulary.code(7), vocabulary.image_end]])
    with torch.no_grad():
        before = llm(ids).logits
    digest = text_digest(llm, vocabulary)
    rows = freeze_text(llm, vocabulary)
    with torch.no_grad():
        torch.testing.assert_close(llm(ids).logits, before)
    assert [p for p in llm.parameters() if p.requires_grad] == rows
    assert sum(p.numel() for p in rows) == (1 if tied else 2) * (2 + CODES) * 16
    start = [row.detach().clone() for row in rows]
    # All parameters are handed over, with weight decay and momentum: what has no gradient must not move even so.
    optimizer = torch.optim.AdamW(llm.parameters(), lr=0.1, weight_decay=0.5)
    losses = []
    for _ in range(3):
        loss = llm(ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert text_digest(llm, vocabulary) == digest
    assert all(not torch.equal(row, old) for row, old in zip(rows, start, strict=True))


@pytest.mark.parametrize("tied", [False, True])
def test_a_joined_llm_is_saved_and_loaded_as_any_other(tied: bool, tmp_path: Path) -> None:
    llm = tiny(tied)
    vocabulary = extend_vocabulary(llm, CODES, generator())
    names = set(llm.state_dict())
    for row in freeze_text(llm, vocabulary):
        row.data.add_(1.0)
    ids = torch.tensor([[3, vocabulary.code(5)]])
    with torch.no_grad():
        expected = llm(ids).logits
    join_tables(llm)
    assert set(llm.state_dict()) == names
    assert all(p.requires_grad for p in llm.parameters())
    llm.save_pretrained(tmp_path)
    again = LlamaForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, expected)
    assert text_digest(again, vocabulary) == text_digest(llm, vocabulary)


def test_steps_in_the_wrong_order_are_refused() -> None:
    llm = tiny()
    with pytest.raises(LavitError, match="nothing to join"):
        join_tables(llm)
    with pytest.raises(LavitError, match="40 ids, not 342"):
        freeze_text(llm, VocabularyMap(TEXT, CODES))
    freeze_text(llm, extend_vocabulary(llm, CODES, generator()))
    with pytest.raises(LavitError, match="split"):
        extend_vocabulary(llm, CODES, generator())
