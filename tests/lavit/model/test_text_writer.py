"""Text of many prompts at once is, token for token, what transformers' ``generate`` writes after each prompt alone."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, LogitsProcessor
from written_alone import written_alone

from lavit.errors import LavitError
from lavit.model import text_writer
from lavit.model.sampling import forbid
from lavit.model.text_search import BeamSearch, Greedy
from lavit.model.text_settings import GREEDY_CAPTION, TextSettings
from lavit.model.text_writer import Prompts, write_ids

WIDTH = 32
BEAMS = TextSettings(beams=4, min_new=2, max_new=9)


class Forbid(LogitsProcessor):
    """Rules out the ids from ``first`` on."""

    def __init__(self, first: int):
        self.first = first

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return forbid(scores.clone(), slice(self.first, None))


def make(seed: int, vocabulary: int = 30, **options: object) -> LlamaForCausalLM:
    """A random Llama; wide initial weights give it opinions, so that texts end at many lengths."""
    torch.manual_seed(seed)
    shape = {"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64, "initializer_range": 0.4}
    config = LlamaConfig(vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=40, **(shape | options))
    return LlamaForCausalLM(config).eval()


def alone(
    llm: LlamaForCausalLM, row: torch.Tensor, text: TextSettings, eos: int, first: int | None = None
) -> list[int]:
    """The reference: transformers, one prompt, no padding."""
    return written_alone(llm, row, text, eos, *([Forbid(first)] if first else []))


def random_prompts(seed: int, rows: int = 5) -> Prompts:
    """Prompts of mixed lengths, some of which begin alike."""
    generator = torch.Generator().manual_seed(seed)

    def block(longest: int) -> torch.Tensor:
        length = int(torch.randint(1, longest + 1, (1,), generator=generator))
        return torch.randn(length, WIDTH, generator=generator)

    prefixes = [block(9) for _ in range(3)]
    prefix_of = torch.randint(3, (rows,), generator=generator).tolist()
    return Prompts(prefixes, prefix_of, [block(5) for _ in range(rows)])


def joined(prompts: Prompts) -> list[torch.Tensor]:
    """The same prompts, each whole."""
    assert prompts.rests is not None
    return [torch.cat([prompts.prefixes[p], rest]) for p, rest in zip(prompts.prefix_of, prompts.rests, strict=True)]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    heads=st.sampled_from([1, 2, 4]),
    rope=st.sampled_from([None, {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}]),
    vocabulary=st.sampled_from([12, 30, 80]),
    only=st.sampled_from([None, 9]),
    beams=st.integers(1, 5),
    min_new=st.sampled_from([0, 2, 5]),
    more=st.integers(1, 10),
    length_penalty=st.sampled_from([0.0, 1.0, -1.0, 2.0]),
    early_stopping=st.sampled_from([True, False, "never"]),
)
def test_each_row_is_what_transformers_writes_alone(
    seed: int, heads: int, rope: dict | None, vocabulary: int, only: int | None, more: int, min_new: int, **rest: object
) -> None:
    options = {"num_key_value_heads": heads} | ({"rope_parameters": rope} if rope else {})
    llm, eos = make(seed, vocabulary, **options), seed % 9
    text = TextSettings(min_new=min_new, max_new=min_new + more, **rest)  # type: ignore[arg-type]
    prompts = random_prompts(seed)
    rows = joined(prompts)
    expected = [alone(llm, row, text, eos, only) for row in rows]
    forbidden = (slice(only, None),) if only else ()
    assert write_ids(llm, prompts, text, eos, forbidden) == expected, "prefixes read once"
    assert write_ids(llm, Prompts.whole(rows), text, eos, forbidden) == expected, "each prompt read whole"
    assert write_ids(llm, Prompts.sharing(rows), text, eos, forbidden) == expected, "what is alike found"


@pytest.mark.parametrize("text", [TextSettings(max_new=12), BEAMS, dataclasses.replace(BEAMS, length_penalty=0.0)])
def test_batches_of_any_size_write_the_same(text: TextSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    llm, prompts = make(3), random_prompts(3, rows=11)
    at_once = write_ids(llm, prompts, text, eos=4)
    assert len({len(ids) for ids in at_once}) > 2, "rows must end at different lengths, or this tests little"
    monkeypatch.setattr(text_writer, "BATCH", 8)
    assert write_ids(llm, prompts, text, eos=4) == at_once
    monkeypatch.setattr(text_writer, "LEAVE", 0.0)  # no row leaves before all have ended
    assert write_ids(llm, prompts, text, eos=4) == at_once


def test_rows_that_have_ended_leave_and_the_last_stops_the_batch() -> None:
    """At most as many rows are computed as the rule lets stay, and no step is taken after the last has ended."""
    llm = make(5)
    widths = []

    def count(module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        widths.append(len(kwargs["inputs_embeds"]))

    prompts = Prompts.whole(joined(random_prompts(5, rows=12)))
    plain = write_ids(llm, prompts, TextSettings(max_new=20), eos=4)
    hook = llm.model.register_forward_pre_hook(count, with_kwargs=True)
    assert write_ids(llm, prompts, TextSettings(max_new=20), eos=4) == plain
    hook.remove()
    lengths = sorted(len(ids) for ids in plain)
    assert widths[0] == 12 and widths == sorted(widths, reverse=True)
    assert len(widths) == min(20, lengths[-1] + 1)
    for step, width in enumerate(widths[1:], 1):
        going = sum(length >= step for length in lengths)
        assert going <= width and (width == 12 or going > 0.75 * 0.75 * width)


def test_what_prompts_share_is_read_once() -> None:
    llm, prompts = make(6), random_prompts(6, rows=8)
    read = []
    hook = llm.model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["inputs_embeds"].shape[:2]), with_kwargs=True
    )
    write_ids(llm, prompts, TextSettings(max_new=1), eos=4)
    hook.remove()
    longest = max(map(len, prompts.prefixes))
    assert read[0] == (len(set(prompts.prefix_of)), longest) and read[1][0] == 8


def test_prompts_that_begin_alike_are_found() -> None:
    image, other, words = torch.randn(3, 12, WIDTH, generator=torch.Generator().manual_seed(0))
    rows = [torch.cat([image, words[:3]]), other, torch.cat([image, words[:1], words[5:]]), image]
    found = Prompts.sharing(rows)
    assert found.prefix_of == [0, 1, 0, 0] and found.rests is not None
    assert len(found.prefixes[0]) == 11, "something must be left to follow it"
    assert all(torch.equal(whole, row) for whole, row in zip(joined(found), rows, strict=True))
    assert Prompts.sharing(rows[:2]).rests is None


def test_rows_of_one_prompt_share_all_of_it() -> None:
    llm, row = make(7), torch.randn(6, WIDTH, generator=torch.Generator().manual_seed(0))
    assert write_ids(llm, Prompts([row], [0, 0, 0]), BEAMS, eos=4) == [alone(llm, row, BEAMS, 4)] * 3


def test_draws_belong_to_rows_and_leave_the_global_generator_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    llm, prompts = make(8), random_prompts(8, rows=9)
    text = TextSettings(max_new=8, temperature=2.0, top_k=20, top_p=0.95, seed=5)
    before = torch.random.get_rng_state()
    drawn = write_ids(llm, prompts, text, eos=4)
    assert torch.equal(torch.random.get_rng_state(), before)
    monkeypatch.setattr(text_writer, "BATCH", 2)
    assert write_ids(llm, prompts, text, eos=4) == drawn, "another batching draws the same"
    assert write_ids(llm, prompts, text, 4, generator=torch.Generator().manual_seed(5)) == drawn
    assert write_ids(llm, prompts, dataclasses.replace(text, seed=6), eos=4) != drawn
    greedy = write_ids(llm, prompts, TextSettings(max_new=8), eos=4)
    assert write_ids(llm, prompts, dataclasses.replace(text, top_k=1), eos=4) == greedy


def test_ids_are_drawn_as_often_as_they_are_likely() -> None:
    scores_V = torch.tensor([0.5, 0.3, 0.2]).log()
    chance_BT = (torch.arange(1000) / 1000)[:, None]
    search = Greedy(chance_BT, 1000, TextSettings(max_new=2, temperature=1.0), 9, (), torch.device("cpu"))
    ids_BK, _ = search.advance(scores_V.expand(1000, 1, -1).clone())
    assert ids_BK.flatten().bincount().tolist() == pytest.approx([500, 300, 200], abs=1)


def test_a_search_remembers_rows_that_have_left() -> None:
    search = BeamSearch(3, TextSettings(beams=2, max_new=2), 0, (), torch.device("cpu"))
    scores = torch.full((3, 2, 6), -9.0)
    for row, favourite in enumerate((3, 4, 5)):
        scores[row, :, favourite] = 0
    search.advance(scores)
    search.keep(torch.tensor([2]))
    search.advance(scores[2:])
    assert search.written()[2] == [5, 5] and len(search.written()) == 3


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ({"beam": 2}, "decode.beam: there is no such setting"),
        ({"beams": "2"}, "give a whole number"),
        ({"beams": 0}, "decode.beams is 0"),
        ({"min_new": 9, "max_new": 3}, "decode.max_new is 3"),
        ({"early_stopping": "soon"}, "decode.early_stopping is 'soon'"),
        ({"temperature": -1}, "decode.temperature is -1"),
        ({"beams": 2, "temperature": 1.0}, "searched, not sampled"),
        ({"top_p": 0.5}, "nothing is sampled at temperature 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(node: dict, says: str) -> None:
    with pytest.raises(LavitError, match=says):
        TextSettings.of(node)


def test_a_config_node_changes_what_it_names() -> None:
    assert TextSettings.of(None, GREEDY_CAPTION) == GREEDY_CAPTION
    assert TextSettings.of({"beams": 3}, GREEDY_CAPTION) == dataclasses.replace(GREEDY_CAPTION, beams=3)
