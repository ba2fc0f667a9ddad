"""What text alone can get."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.benchmark import TEXT_PRIOR
from evals.errors import EvaluationError
from evals.prior import guess_answers, guess_captions, prior_records
from evals.records import Record


def question(image: int, text: str, *answers: str, kind: str = "") -> Record:
    return Record(
        "vqa", "accuracy", "", "test", f"{image}-{text}", str(image), "?", answers, 1.0, kind, text, order=image
    )


def image(number: int, *captions: str) -> Record:
    return Record("caption", "CIDEr", "", "test", str(number), str(number), "?", captions, 1.0)


def test_the_same_question_about_other_images_is_answered_as_most_often_there() -> None:
    records = [
        question(0, "What colour?", "red"),
        question(1, "what  colour?", "blue"),
        question(2, "what colour?", "blue"),
        question(3, "what colour?", "red"),
        question(4, "what colour?", "red"),
    ]
    # Without its own image each red one sees two of both, and what is more frequent in all is said.
    assert guess_answers(records) == ["red", "red", "red", "red", "red"]
    assert guess_answers(records[:4]) == ["blue", "red", "red", "blue"]


def test_what_no_other_image_is_asked_is_answered_by_its_kind() -> None:
    records = [
        question(0, "is it a dog?", "no", kind="yes/no"),
        question(1, "is it a cat?", "no", kind="yes/no"),
        question(1, "is it a cow?", "no", kind="yes/no"),
        question(2, "how many?", "2", kind="number"),
    ]
    assert guess_answers(records) == ["no", "no", "no", "no"]  # of "number" there is no other: all others say no


def test_of_ten_answers_the_one_that_most_gave_counts() -> None:
    records = [question(0, "q", *["a"] * 4, *["b"] * 6), question(1, "q", *["a"] * 9, "b")]
    assert guess_answers(records) == ["a", "b"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("pq"), st.sampled_from("abc")), min_size=1, max_size=25))
def test_no_question_sees_the_answers_of_its_own_image(rows) -> None:
    records = [question(place, text, answer) for place, text, answer in rows]
    if len({r.cluster_id for r in records}) < 2:
        return
    before = guess_answers(records)
    for own in range(6):
        changed = [question(i, t, "never" if i == own else a) for i, t, a in rows]
        after = guess_answers(changed)
        for (i, _, _), one, other in zip(rows, before, after, strict=True):
            if i == own:
                assert other != "never"
                assert one != "" and other != ""


def test_the_consensus_caption_is_that_of_the_others() -> None:
    records = [image(n, f"a small dog runs on grass {n}", "a dog on the grass") for n in range(6)]
    records += [image(6, "purple elephants never sleep"), image(7, "a small dog runs on grass 7")]
    said = guess_captions(records)
    assert all("dog" in text for text in said)
    for record, text in zip(records, said, strict=True):
        assert text != record.references[0]


def test_a_control_covers_the_first_images_and_needs_two() -> None:
    records = [question(n, text, "a") for n in range(4) for text in ("p", "q")]
    control = prior_records(records, 3, guess_answers)
    assert [r.example_id for r in control] == [r.example_id for r in records[:6]]
    assert {(r.control, r.tokens, r.prediction) for r in control} == {(TEXT_PRIOR, None, "a")}
    assert prior_records(records, 0, guess_answers) == []
    with pytest.raises(EvaluationError, match="at least 2 images"):
        prior_records(records[:2], None, guess_answers)
