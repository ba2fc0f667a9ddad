"""VQA accuracy under four rules: against the official scorers' own output, and what has to hold of any answer."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics import vqa_protocols
from evals.metrics.answerability import answerability
from evals.metrics.vqa_protocols import PROTOCOLS, normalise_evalai, normalise_official, normalise_vizwiz

FIXTURES = Path(os.environ.get("LAVIT_FIXTURES", Path(__file__).parents[3] / "shared" / "fixtures")) / "vqa"
with_fixtures = pytest.mark.skipif(not FIXTURES.is_dir(), reason=f"needs known answers in {FIXTURES}")
NAMES = {
    "official": "official_vqa",
    "evalai": "evalai_textvqa",
    "vizwiz": "vizwiz_official",
    "aokvqa": "aokvqa_direct",
}


def load(name: str) -> Any:
    return json.loads(gzip.decompress((FIXTURES / name).read_bytes()))


@with_fixtures
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tricky_answers_score_as_with_the_official_code(protocol: str) -> None:
    rows = json.loads((FIXTURES / "tricky_pairs.json").read_text())["rows"]
    wrong = [
        (row["id"], row["kind"])
        for row in rows
        if PROTOCOLS[protocol](row["prediction"], row["ground_truths"]) != pytest.approx(row[NAMES[protocol]], abs=1e-9)
    ]
    assert wrong == []
    assert len(rows) == 414
    if protocol == "official":
        assert [
            r["id"] for r in rows if normalise_official(r["prediction"]) != r["official_normalised_prediction"]
        ] == []
    if protocol == "evalai":
        assert [r["id"] for r in rows if normalise_evalai(r["prediction"]) != r["evalai_normalised_prediction"]] == []


@with_fixtures
def test_each_of_2500_questions_scores_as_with_the_official_code() -> None:
    answers = {
        str(row["question_id"]): [person["answer"] for person in row["answers"]]
        for row in load("vqav2_val_sub2500.annotations.json.gz")["annotations"]
    }
    expected = load("vqav2_val_sub2500.expected.json.gz")
    for name, predictions in load("vqav2_val_sub2500.results.json.gz").items():
        said = {str(row["question_id"]): row["answer"] for row in predictions}
        scores = {q: 100 * vqa_protocols.official(said[q], people) for q, people in answers.items()}
        assert scores == pytest.approx(expected[name]["official_per_question"], abs=1e-9)
        evalai = sum(vqa_protocols.evalai(said[q], people) for q, people in answers.items()) / len(answers)
        assert 100 * evalai == pytest.approx(expected[name]["evalai_textvqa_style_overall"], abs=1e-9)


def test_unanimous_answers_are_compared_as_they_stand_by_the_official_rule_alone() -> None:
    assert PROTOCOLS["official"]("Yes", ["yes"] * 10) == 0
    assert PROTOCOLS["official"]("Yes", ["yes"] * 9 + ["no"]) == 1
    assert PROTOCOLS["evalai"]("Yes", ["yes"] * 10) == 1


def test_vizwiz_normalises_the_prediction_alone() -> None:
    assert PROTOCOLS["vizwiz"]("The Dog.", ["dog"] * 10) == 1
    assert PROTOCOLS["vizwiz"]("The Dog.", ["The Dog."] * 10) == 0
    assert normalise_vizwiz("dont") == "don’t"


def test_the_one_who_agrees_does_not_vouch_for_himself() -> None:
    three = ["dog"] * 3 + ["cat"] * 7
    assert PROTOCOLS["official"]("dog", three) == pytest.approx(0.9)
    assert PROTOCOLS["aokvqa"]("dog", three) == 1


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("red, white/blue", "red white blue"),
        ("a one-way street", "1 way street"),
        ("1,000 (about)", "1000 about"),
        ("3.5.", "3.5"),
        ("None", "0"),
        ("dont", "don't"),
        ("the", ""),
        ("...", ""),
    ],
)
def test_normal_forms(text: str, normal: str) -> None:
    assert normalise_official(text) == normal


@given(st.text(max_size=40), st.lists(st.sampled_from(["dog", "a dog", "cat", "2", "two"]), min_size=10, max_size=10))
def test_every_rule_gives_a_share_and_knows_no_order_of_people(prediction: str, answers: list[str]) -> None:
    for rule in PROTOCOLS.values():
        score = rule(prediction, answers)
        assert 0 <= score <= 1 + 1e-12
        assert score == pytest.approx(rule(prediction, sorted(answers)))


@given(st.text(max_size=60))
def test_normal_forms_are_lower_case_without_articles_and_blanks_at_the_ends(text: str) -> None:
    for normalise in (normalise_official, normalise_evalai, normalise_vizwiz):
        words = normalise(text)
        assert words == " ".join(words.split())
        assert not {"a", "an", "the", "two"} & set(words.split())


def test_average_precision_of_ties_is_that_of_their_share() -> None:
    assert answerability([True, False], [0.5, 0.5])[0]["average_precision"] == 0.5
    found, missing = answerability([True, False, False, True], [0.9, 0.2, 0.8, 0.1])
    assert found["average_precision"] == pytest.approx(1 / 2 * 1 / 2 + 1 / 2 * 2 / 3)
    assert found["f1_score"] == pytest.approx(0.5)
    assert missing == {}
    assert "average_precision" in answerability([True], [0.3])[1]
