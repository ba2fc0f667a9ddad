"""What a phase has seen is the sum of its steps' batches."""

from hypothesis import given
from hypothesis import strategies as st

from lavit.stages.recipe import KINDS, Phase


@given(
    st.floats(0.0, 1.0),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_what_a_span_has_seen_is_the_sum_of_its_steps(start: float, ratio: float, first: int, steps: int) -> None:
    phase = Phase("pretrain", 1.0, True, {"captions": 0.5}, ("llm",), {})
    train = {"steps": 40, "captions": 4, "questions": 3, "text": 2, "generation": 5}
    train["vision"] = {"start": start, "ratio": ratio}
    span = range(first, first + steps)
    summed = {kind: sum(phase.counts(train, step)[kind] for step in span) for kind in KINDS}
    assert phase.seen(train, span) == summed
