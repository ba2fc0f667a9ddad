"""Images from one vocabulary: equal to two plain passes and to transformers, within bounds, row by row."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from lavit.errors import LavitError
from lavit.official.generation import ImageWriter, build_image_prompt, generate_image_ids

TEXT, CODES = 40, 24
START, END, FIRST = TEXT, TEXT + 1, TEXT + 2
MARKS = {"image_start": START, "image_end": END, "first_code": FIRST}
PROMPTS = [[5, 6, 7, 8, START], [9, START], [10, 11, 12, START]]


@pytest.fixture(scope="module")
def llm() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=FIRST + CODES,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config).eval()


def two_passes(llm: LlamaForCausalLM, prompt: list[int], ids: list[int], scale: float) -> list[torch.Tensor]:
    """Guided scores of each next id over all ids, by two models' worth of passes with a cache each, one row."""
    caches, found, feed = [DynamicCache(), DynamicCache()], [], [prompt, [START]]
    for position in range(len(ids) + 1):
        own, free = (
            llm(torch.tensor([row]), past_key_values=cache).logits[0, -1].log_softmax(-1)
            for row, cache in zip(feed, caches, strict=True)
        )
        found.append(free + scale * (own - free))
        if position < len(ids):
            feed = [[ids[position]]] * 2
    return found


@torch.no_grad()
@pytest.mark.parametrize("full", [True, False])
def test_one_batch_with_one_cache_scores_like_two_passes_with_two(llm: LlamaForCausalLM, full: bool) -> None:
    written = torch.randint(FIRST, FIRST + CODES, (3, 6), generator=torch.Generator().manual_seed(1))
    writer = ImageWriter(llm, PROMPTS, START, END, 3.0, full=full)
    found = []
    for step in range(7):
        found.append(writer.scores())
        if step < 6:
            writer.step(written[:, step])
    for row, prompt in enumerate(PROMPTS):
        for got, want in zip(found, two_passes(llm, prompt, written[row].tolist(), 3.0), strict=True):
            allowed = torch.cat([want[:3], want[START:]])
            columns = torch.cat([got[row, :3], got[row, START:]]) if full else got[row]
            if full:
                assert torch.allclose(columns, allowed, atol=1e-5)
                assert bool((got[row, 3:START] == float("-inf")).all())
            # Without the text's columns a row is off by one number, which no choice depends on.
            assert torch.allclose(columns.log_softmax(-1), allowed.log_softmax(-1), atol=1e-5)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("full", [True, False])
def test_greedy_drawings_are_those_of_transformers(llm: LlamaForCausalLM, guidance: float, full: bool) -> None:
    own = generate_image_ids(
        llm, PROMPTS, **MARKS, min_new=4, max_new=12, guidance=guidance, temperature=0, full_head=full
    )
    width = max(map(len, PROMPTS))
    ids = torch.tensor([[2] * (width - len(row)) + row for row in PROMPTS])
    theirs = llm.generate(
        ids,
        attention_mask=(torch.arange(width) >= width - torch.tensor([[len(row)] for row in PROMPTS])).long(),
        guidance_scale=guidance,
        suppress_tokens=list(range(3, START)),
        min_new_tokens=4,
        max_new_tokens=12,
        do_sample=False,
        eos_token_id=END,
        pad_token_id=2,
    )[:, width:]
    for got, row in zip(own, theirs, strict=True):
        assert got.tolist() == (row[row >= FIRST] - FIRST).tolist()


def test_sampled_drawings_are_those_of_transformers_from_the_same_generator(llm: LlamaForCausalLM) -> None:
    sampling = {"temperature": 1.5, "top_k": 12, "top_p": 0.9}
    torch.manual_seed(3)
    theirs = llm.generate(
        torch.tensor([PROMPTS[0]]),
        guidance_scale=2.0,
        suppress_tokens=list(range(3, START)),
        min_new_tokens=10,
        max_new_tokens=10,
        do_sample=True,
        eos_token_id=END,
        pad_token_id=2,
        **sampling,
    )[0, len(PROMPTS[0]) :]
    generator = torch.Generator().manual_seed(3)
    own = generate_image_ids(
        llm,
        PROMPTS[:1],
        **MARKS,
        min_new=10,
        max_new=10,
        guidance=2.0,
        generator=generator,
        full_head=True,
        **sampling,
    )
    assert own[0].tolist() == (theirs[theirs >= FIRST] - FIRST).tolist()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    low=st.integers(0, 6),
    more=st.integers(0, 6),
    guidance=st.sampled_from([0.0, 1.0, 3.0]),
    temperature=st.sampled_from([0.0, 0.7, 5.0]),
    top_k=st.sampled_from([None, 1, 5]),
    seed=st.integers(0, 99),
    full=st.booleans(),
)
def test_no_drawing_holds_a_forbidden_id_or_breaks_its_bounds(
    llm: LlamaForCausalLM,
    low: int,
    more: int,
    guidance: float,
    temperature: float,
    top_k: int | None,
    seed: int,
    full: bool,
) -> None:
    high = max(1, low + more)
    writer = ImageWriter(llm, PROMPTS, START, END, guidance, full=full)
    seen = writer.ids(torch.arange(writer.scores().shape[1])[writer.scores()[0] > float("-inf")])
    assert bool(((seen < 3) | (seen >= START)).all())
    images = generate_image_ids(
        llm,
        PROMPTS,
        **MARKS,
        min_new=low,
        max_new=high,
        guidance=guidance,
        temperature=temperature,
        top_k=top_k,
        generator=torch.Generator().manual_seed(seed),
        full_head=full,
    )
    for codes in images:
        assert len(codes) <= high
        assert bool(((codes >= 0) & (codes < CODES)).all())


def test_an_image_ends_no_earlier_than_it_may_and_then_at_once(llm: LlamaForCausalLM) -> None:
    """A head that likes the end mark best, then code 3."""
    eager = LlamaForCausalLM(llm.config).eval()
    eager.load_state_dict(llm.state_dict())
    with torch.no_grad():
        eager.model.norm.weight.fill_(0)
    eager.model.norm.register_forward_hook(lambda *_: torch.ones(1, 1, 32).expand(_[2].shape))
    with torch.no_grad():
        eager.lm_head.weight.zero_()
        eager.lm_head.weight[END], eager.lm_head.weight[FIRST + 3], eager.lm_head.weight[7] = 1.0, 0.5, 2.0
    for low, high, expected in ((0, 9, 0), (4, 9, 4), (9, 9, 9)):
        images = generate_image_ids(eager, PROMPTS, **MARKS, min_new=low, max_new=high, guidance=1, temperature=0)
        assert [codes.tolist() for codes in images] == [[3] * expected] * 3


def test_a_drawing_does_not_depend_on_the_rest_of_its_batch(llm: LlamaForCausalLM) -> None:
    options = {**MARKS, "min_new": 3, "max_new": 12, "guidance": 2.0, "temperature": 0}
    together = generate_image_ids(llm, PROMPTS, **options)
    alone = [generate_image_ids(llm, [prompt], **options)[0] for prompt in PROMPTS]
    assert [x.tolist() for x in together] == [x.tolist() for x in alone]
    twice = generate_image_ids(llm, PROMPTS, num_return=2, **options)
    assert [x.tolist() for x in twice] == [x.tolist() for x in alone for _ in range(2)]


def test_several_drawings_of_a_prompt_differ_when_sampled(llm: LlamaForCausalLM) -> None:
    generator = torch.Generator().manual_seed(0)
    images = generate_image_ids(llm, PROMPTS[:1], **MARKS, max_new=20, num_return=4, generator=generator)
    assert len({tuple(codes.tolist()) for codes in images}) == 4


def test_a_multimodal_prompt_has_its_images_between_marks() -> None:
    parts = [[5, 6], torch.tensor([0, 3]), [7]]
    assert build_image_prompt(parts, **MARKS) == [5, 6, START, FIRST, FIRST + 3, END, 7, START]
    assert build_image_prompt(parts, **MARKS, wrap=False) == [5, 6, FIRST, FIRST + 3, 7, START]
    with pytest.raises(LavitError, match="part 0"):
        build_image_prompt([[FIRST]], **MARKS)
    with pytest.raises(LavitError, match="code -1"):
        build_image_prompt([torch.tensor([-1])], **MARKS)


def test_what_cannot_be_drawn_is_refused(llm: LlamaForCausalLM) -> None:
    with pytest.raises(LavitError, match="prompt 1 does not end"):
        generate_image_ids(llm, [[5, START], [6]], **MARKS)
    with pytest.raises(LavitError, match="min_new is 9"):
        generate_image_ids(llm, PROMPTS, **MARKS, min_new=9, max_new=3)
