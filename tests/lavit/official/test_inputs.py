"""Assembly of the LLM's inputs: equal to the official one, and to a plain loop over images."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from lavit.errors import LavitError
from lavit.official.inputs import Inputs, caption_inputs, image_block, position_ids, vqa_inputs


@pytest.fixture(scope="module")
def reference(reference_file) -> dict[str, Tensor]:
    return load_file(reference_file("lavit/llm_inputs.safetensors"))


@pytest.fixture(scope="module")
def reference_block(reference: dict[str, Tensor]) -> Inputs:
    special = (reference[f"emb.{name}"] for name in ("img_start_32000", "img_end_32001", "eos_2"))
    return image_block(reference["input.features_packed"], reference["input.lengths"], *special)


def check(ours: Inputs, reference: dict[str, Tensor], group: str) -> None:
    assert torch.equal(ours.embeds_BSD, reference[f"{group}.embeds"])
    assert torch.equal(ours.mask_BS, reference[f"{group}.mask"])


def test_image_blocks_equal_the_official_ones(reference: dict[str, Tensor], reference_block: Inputs) -> None:
    check(reference_block, reference, "image")


def test_vqa_inputs_equal_the_official_ones(reference: dict[str, Tensor], reference_block: Inputs) -> None:
    ours = vqa_inputs(reference_block, reference["input.prompt_embeds"], reference["input.prompt_mask"])
    check(ours, reference, "vqa")
    assert torch.equal(ours.position_ids_BS, reference["vqa.position_ids_hf"])


def test_caption_inputs_equal_the_official_ones(reference: dict[str, Tensor], reference_block: Inputs) -> None:
    ours = caption_inputs(reference_block, reference["input.prompt_embeds"], reference["input.prompt_mask"])
    check(ours, reference, "caption_prompt")


START, END, PAD = torch.full((2,), 100.0), torch.full((2,), 200.0), torch.full((2,), -1.0)


def rows(lengths: list[int]) -> Tensor:
    return torch.arange(sum(lengths), dtype=torch.float)[:, None].expand(-1, 2)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=5))
def test_placement_equals_a_plain_loop(shapes: list[tuple[int, int]]) -> None:
    image_lengths, text_lengths = [i for i, _ in shapes], [t for _, t in shapes]
    longest_text = max(text_lengths, default=0)
    text_mask = torch.tensor([[0] * (longest_text - t) + [1] * t for t in text_lengths])
    text = torch.where(text_mask[..., None] == 1, 300.0 + torch.arange(longest_text)[:, None], PAD)
    block = image_block(rows(image_lengths), torch.tensor(image_lengths, dtype=torch.long), START, END, PAD)
    ours = vqa_inputs(block, text, text_mask)
    parts = rows(image_lengths).split(image_lengths)
    for b, (image, text_b, length) in enumerate(zip(parts, text, text_lengths, strict=True)):
        body = torch.cat([START[None], image, END[None], text_b[longest_text - length :]])
        blanks = ours.embeds_BSD.shape[1] - len(body)
        gaps = max(image_lengths) - len(image)
        assert blanks == gaps + longest_text - length
        assert torch.equal(ours.embeds_BSD[b], torch.cat([PAD.expand(blanks, 2), body]))
        assert ours.mask_BS[b].tolist() == [0] * blanks + [1] * len(body)
        assert ours.position_ids_BS[b].tolist() == [1] * blanks + list(range(len(body)))


def test_gradients_reach_features_and_special_embeddings() -> None:
    features = rows([2, 1]).clone().requires_grad_()
    special = [vector.clone().requires_grad_() for vector in (START, END, PAD)]
    image_block(features, torch.tensor([2, 1]), *special).embeds_BSD.sum().backward()
    assert torch.equal(features.grad, torch.ones(3, 2))
    assert [vector.grad[0].item() for vector in special] == [2, 2, 1]


def test_mismatches_are_refused() -> None:
    with pytest.raises(LavitError, match=r"lengths \[2, 2\] do not add up to the 3 rows"):
        image_block(rows([3]), torch.tensor([2, 2]), START, END, PAD)
    block = image_block(rows([1]), torch.tensor([1]), START, END, PAD)
    with pytest.raises(LavitError, match="padded on the left"):
        vqa_inputs(block, torch.zeros(1, 2, 2), torch.tensor([[1, 0]]))


def test_positions_skip_padding_between_image_and_text() -> None:
    assert position_ids(torch.tensor([[0, 1, 1, 0, 1]])).tolist() == [[1, 0, 1, 1, 2]]
