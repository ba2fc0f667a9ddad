"""Questions asked and answers cut as LaVIT does it."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavit.errors import LavitError
from lavit.official.text import (
    english_tagger,
    lemmatise,
    preprocess_question,
    truncate_answer,
    truncate_caption,
    vqa_prompt,
)


@pytest.fixture(scope="module")
def reference(reference_file) -> dict:
    return json.loads(reference_file("lavit/text_processing.json").read_text())


@pytest.mark.parametrize(
    ("group", "function"),
    [
        ("question_preprocess", preprocess_question),
        ("answer_truncation", truncate_answer),
        ("caption_truncation", truncate_caption),
    ],
)
def test_equals_the_official_text_processing(reference: dict, group: str, function) -> None:
    assert {text: function(text) for text in reference[group]} == reference[group]


def test_a_question_is_asked_in_the_official_words() -> None:
    assert vqa_prompt("What is it? ") == "Question: what is it? Answer:"


def test_braces_in_a_question_are_text() -> None:
    assert vqa_prompt("what is {0}?") == "Question: what is {0}? Answer:"


def test_an_answer_ends_at_the_earliest_of_its_ends_but_a_caption_at_its_first_sentence() -> None:
    assert truncate_answer("  red, or blue\nQuestion") == "red"
    assert truncate_caption("  red, or blue. a dog") == "red, or blue"


def test_only_nouns_and_verbs_become_lemmas() -> None:
    tags = {"dogs": ("dog", "NOUN"), "running": ("run", "VERB"), "better": ("good", "ADJ")}

    def tagger(text: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(text=w, lemma_=tags[w][0], pos_=tags[w][1]) for w in text.split()]

    assert lemmatise("Better Dogs running", tagger) == "better dog run"


def test_without_spacy_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(LavitError, match=r"lavit-lab\[lemmas\]"):
        english_tagger()


@given(st.text())
def test_processing_twice_changes_nothing_more(text: str) -> None:
    once = preprocess_question(text)
    assert len(once.split(" ")) <= 50
    assert preprocess_question(once.rstrip(" ")) == once.rstrip(" ")
    assert truncate_caption(truncate_caption(text)) == truncate_caption(text).strip()
    assert not set(truncate_answer(text)) & set("\n,.")
