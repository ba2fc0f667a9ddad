"""LaVIT's answer normalisation and VQA accuracy, against the official code's outputs and by their own logic."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.lavit_rules import (
    drop_prefixes,
    normalise_prediction,
    question_accuracy,
    simplify_words,
    strip_punctuation,
    vqa_accuracy,
)
from lavit.errors import LavitError


@pytest.fixture(scope="module")
def reference(reference_file) -> dict:
    return json.loads(reference_file("lavit/text_processing.json").read_text())


def test_every_stage_equals_the_official_one(reference: dict) -> None:
    ours = {}
    for answer in reference["answer_normalise"]:
        first = strip_punctuation(answer)
        second = simplify_words(first)
        ours[answer] = [first, second, drop_prefixes(second)]
    assert ours == reference["answer_normalise"]


def test_accuracy_equals_the_official_one(reference: dict) -> None:
    example = reference["vqa_accuracy"]
    scored = vqa_accuracy(example["prediction"], example["ground_truth"])
    assert scored.per_question == example["per_question"]
    assert scored.overall == example["overall"]


@pytest.mark.parametrize(("matches", "percent"), [(0, 0.0), (1, 30.0), (2, 60.0), (3, 90.0), (4, 100.0), (10, 100.0)])
def test_an_answer_counts_by_how_many_others_gave_it(matches: int, percent: float) -> None:
    answers = ["yes"] * matches + ["no"] * (10 - matches)
    assert vqa_accuracy({"q": "yes"}, {"q": answers}).overall == percent


def test_people_keep_their_articles_and_number_words() -> None:
    assert question_accuracy("the dog", ["the dog"] * 10) == 0.0
    assert question_accuracy("two", ["two"] * 10) == 0.0
    assert question_accuracy("a t-shirt", ["T-shirt"] * 10) == 1.0


@pytest.mark.parametrize(
    ("answer", "normalised"),
    [
        ("a" + "." * 40, "a" + "." * 8),  # only 32 full stops go
        ("she'dve", "she'd've"),
        ("shouldntve", "shouldntve"),
        ("he 's reading", "reading"),
        ("I don't know.", "unanswerable"),
        ("to go to bed", "bed"),
    ],
)
def test_oddities(answer: str, normalised: str) -> None:
    assert normalise_prediction(answer) == normalised


def test_unpaired_questions_are_refused() -> None:
    with pytest.raises(LavitError, match=r"the first: 2"):
        vqa_accuracy({"1": "yes"}, {"1": ["yes"], "2": ["no"]})
    with pytest.raises(LavitError, match="no questions"):
        vqa_accuracy({}, {})
    with pytest.raises(LavitError, match="without human answers"):
        vqa_accuracy({"1": "yes"}, {"1": []})


@given(st.text())
def test_any_text_has_a_normal_form(text: str) -> None:
    normal = normalise_prediction(text)
    assert normal
    assert simplify_words(simplify_words(text)) == simplify_words(text)
    assert 0.0 <= question_accuracy(text, [text, normal, "x"]) <= 1.0


WORDS = ["no", "the", "dog", "it", "is", "two", "very", "in", "cat"]


@given(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join))
def test_an_answer_in_normal_form_is_a_person_s_match(text: str) -> None:
    normal = normalise_prediction(text)
    assert question_accuracy(text, [normal] * 10) == 1.0
