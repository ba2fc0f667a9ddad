"""What stands where in a sequence, and what is asked of the model there."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lavit.language import TextTokenizer
from lavit.sequences import Sequence, SequenceBuilder, buckets, collate
from lavit.stages.arm import scale_weights

TEXTS = [
    "a red circle",
    "a blue square and a green circle",
    "what colour is the circle?",
    "red",
    "blue",
    "two",
]


@pytest.fixture(scope="module")
def builder() -> SequenceBuilder:
    return SequenceBuilder(TextTokenizer.train(TEXTS * 20, 128))


def test_the_text_tokenizer_returns_what_it_was_given(builder: SequenceBuilder) -> None:
    for text in TEXTS:
        assert builder.text.decode(builder.text.encode(text)) == text


def test_a_caption_supervises_its_text_and_its_end_and_nothing_else(builder: SequenceBuilder) -> None:
    text = builder.text
    batch = collate([builder.caption((10, 3), "a red circle")])
    expected = [*text.encode("a red circle"), text.eos]
    assert batch.text_ids.tolist() == expected
    # The first word is predicted at [/IMG], which stands behind <bos> [IMG] and three tokens.
    assert batch.text_at.tolist() == list(range(5, 5 + len(expected)))
    assert batch.ids_BT[0, 1] == builder.image_start and batch.ids_BT[0, 5] == builder.image_end
    assert batch.enter_at.tolist() == [2, 3, 4] and batch.enter_row.tolist() == [10, 11, 12]
    assert len(batch.predict_at) == 0


def test_only_answers_are_supervised(builder: SequenceBuilder) -> None:
    text = builder.text
    pairs = [("what colour is the circle?", "red"), ("what colour is the circle?", "blue")]
    batch = collate([builder.questions((0, 2), pairs)])
    expected = [*text.encode("red"), text.eos, *text.encode("blue"), text.eos]
    assert batch.text_ids.tolist() == expected


def test_a_generated_image_is_predicted_token_by_token_and_then_ended(builder: SequenceBuilder) -> None:
    batch = collate([builder.generation("red", (4, 2)), builder.generation("a red circle", (7, 1))])
    width = batch.ids_BT.shape[1]
    assert batch.predict_row.tolist() == [4, 5, -1, 7, -1]
    start = int((batch.ids_BT[0] == builder.image_start).nonzero()[0])
    assert batch.predict_at.tolist()[:3] == [start, start + 1, start + 2]
    assert batch.generated_at.tolist()[:2] == [start + 1, start + 2]
    second = int((batch.ids_BT[1] == builder.image_start).nonzero()[0])
    assert batch.predict_at.tolist()[3:] == [width + second, width + second + 1]
    assert len(batch.text_at) == 0, "the prompt is read, not predicted"


def test_weights_of_a_group_sum_to_one_whatever_its_lengths(builder: SequenceBuilder) -> None:
    parts = [builder.caption(None, "a red circle"), builder.caption(None, "red")]
    scale_weights(parts, 0.5)
    assert sum(sum(part.supervised) for part in parts) == pytest.approx(0.5)
    assert torch.isclose(collate(parts).text_weights.sum(), torch.tensor(0.5))


def test_lengths_count_real_positions(builder: SequenceBuilder) -> None:
    batch = collate([Sequence().text([5, 6, 7]), Sequence().text([5])])
    assert batch.positions == 4 and batch.ids_BT.shape == (2, 3)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=9), st.integers(0, 80))
def test_buckets_keep_every_sequence_and_no_cut_costs_less(lengths: list[int], overhead: int) -> None:
    parts = buckets([Sequence().text([number] * length) for number, length in enumerate(lengths)], overhead)
    assert sorted(s.ids[0] for part in parts for s in part) == list(range(len(lengths)))

    def cost(cut: list[list[int]]) -> int:
        return sum(overhead + len(part) * max(part) for part in cut)

    ordered, cuts = sorted(lengths), []
    for bits in range(2 ** (len(lengths) - 1)):
        cuts.append([[ordered[0]]])
        for place, length in enumerate(ordered[1:]):
            if bits >> place & 1:
                cuts[-1].append([length])
            else:
                cuts[-1][-1].append(length)
    assert cost([[len(s.ids) for s in part] for part in parts]) == min(map(cost, cuts))
