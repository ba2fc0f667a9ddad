"""Text about images: no visual id in it, lengths as set, and top-k and top-p that do something."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from written_alone import written_alone

from lavit.errors import LavitError
from lavit.official.understanding import ANSWER, CAPTION, EOS, TextSettings, generate_text_ids

TEXT = 40


@pytest.fixture(scope="module")
def llm() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=TEXT + 20,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        initializer_range=0.4,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def seen() -> tuple[torch.Tensor, torch.Tensor]:
    embeds = torch.randn(3, 7, 32, generator=torch.Generator().manual_seed(1))
    return embeds, torch.tensor([[1] * 7, [0, 0] + [1] * 5, [0] + [1] * 6])


@pytest.mark.parametrize("settings", [CAPTION, ANSWER])
def test_text_is_text_and_as_long_as_it_may_be(
    llm: LlamaForCausalLM, seen: tuple[torch.Tensor, torch.Tensor], settings: TextSettings
) -> None:
    rows = generate_text_ids(llm, *seen, settings, image_start=TEXT)
    assert len(rows) == 3
    for row in rows:
        assert settings.min_new <= len(row) <= settings.max_new
        assert max(row) < TEXT


def test_a_row_reads_the_same_with_and_without_padding(
    llm: LlamaForCausalLM, seen: tuple[torch.Tensor, torch.Tensor]
) -> None:
    together = generate_text_ids(llm, *seen, ANSWER, image_start=TEXT)
    alone = generate_text_ids(llm, seen[0][1:2, 2:], seen[1][1:2, 2:], ANSWER, image_start=TEXT)
    assert together[1] == alone[0]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("settings", [CAPTION, ANSWER, TextSettings(max_new=9)], ids=["caption", "answer", "greedy"])
def test_texts_are_those_of_transformers(llm: LlamaForCausalLM, settings: TextSettings, seed: int) -> None:
    """Five questions about two images, padding in the middle, against ``generate`` one by one without padding."""
    generator = torch.Generator().manual_seed(seed)
    images, words = torch.randn(2, 9, 32, generator=generator), torch.randn(5, 4, 32, generator=generator)
    embeds = torch.cat([images[[0, 0, 1, 1, 0]], words], 1)
    mask = torch.ones(5, 13, dtype=torch.long)
    mask[2:4, 0] = mask[1, 9] = mask[3, 9:11] = 0
    visual = list(range(TEXT, TEXT + 20))
    rows = [row[seen] for row, seen in zip(embeds, mask.bool(), strict=True)]
    expected = [written_alone(llm, row, settings, EOS, suppress_tokens=visual) for row in rows]
    assert generate_text_ids(llm, embeds, mask, settings, image_start=TEXT) == expected


def test_top_k_and_top_p_reach_the_sampler(llm: LlamaForCausalLM, seen: tuple[torch.Tensor, torch.Tensor]) -> None:
    def written(**options: float | int | None) -> list[list[int]]:
        settings = TextSettings(beams=1, min_new=6, max_new=6, **options)  # type: ignore[arg-type]
        return generate_text_ids(llm, *seen, settings, image_start=TEXT, seed=4)

    greedy, free = written(), written(temperature=3.0)
    assert free != greedy
    assert written(temperature=3.0) == free, "the seed decides"
    assert written(temperature=3.0, top_k=1) == greedy
    assert written(temperature=3.0, top_p=1e-6) == greedy


def test_sampling_options_without_sampling_are_refused() -> None:
    with pytest.raises(LavitError, match="top_k is 5"):
        TextSettings(beams=2, min_new=1, max_new=4, top_k=5)


def test_sampling_leaves_the_global_generator_alone(
    llm: LlamaForCausalLM, seen: tuple[torch.Tensor, torch.Tensor]
) -> None:
    before = torch.random.get_rng_state()
    generate_text_ids(llm, *seen, TextSettings(1, 1, 3, temperature=1.0), image_start=TEXT)
    assert torch.equal(torch.random.get_rng_state(), before)
