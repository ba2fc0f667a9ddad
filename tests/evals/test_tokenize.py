"""The words that caption scores see."""

from __future__ import annotations

import gzip
import json

import pytest

from evals.metrics.tokenize import split_words, tokenize


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A cat , sitting on top of a MAT .", "a cat sitting on top of a mat"),
        ("A man's dog, isn't it?", "a man 's dog is n't it"),
        ("He cannot go; they won't.", "he can not go they wo n't"),
        ("A 1960s-era street scene.", "a 1960s-era street scene"),
        ("5,000-seat arena at 3:30 p.m. today", "5,000-seat arena at 3:30 p.m. today"),
        ("a $5.00 sign (red) on the wall", "a $ 5.00 sign -lrb- red -rrb- on the wall"),
        ('a "quoted" word... and -- a dash', "a quoted word and a dash"),
        ("rock 'n' roll", "rock 'n' roll"),
        ("it’s a “nice” day", "it 's a nice day"),
        ("two lines\nin\tone", "two lines in one"),
        ("the dogs' bowls", "the dogs bowls"),
        ("wow!!! ok??", "wow !!! ok ??"),
        ("mr. smith near st. mary's", "mr. smith near st. mary 's"),
        (" . , ", ""),
        ("", ""),
    ],
)
def test_words_are_those_of_the_penn_treebank(caption: str, words: str) -> None:
    assert tokenize(caption) == words


def test_punctuation_is_split_off_before_it_is_dropped() -> None:
    assert split_words("A cat, a dog.") == ["a", "cat", ",", "a", "dog", "."]


@pytest.mark.parametrize("name", ["coco_karptest_500.vinvl_base", "coco_karptest_500_human_vs_4.human"])
def test_words_agree_with_the_java_tokenizer(shared_fixtures, name: str) -> None:
    def read(kind: str):
        return json.loads(gzip.decompress((shared_fixtures / "caption" / f"{kind}.json.gz").read_bytes()))

    expected = read(f"{name}.expected")["tokenized"]
    references: dict[str, list[str]] = {}
    for row in read(f"{name.rpartition('.')[0]}.ann")["annotations"]:
        references.setdefault(str(row["image_id"]), []).append(row["caption"])
    for row in read(f"{name}.results"):
        image = str(row["image_id"])
        assert [tokenize(row["caption"])] == expected[image]["hyp"]
        assert [tokenize(text) for text in references[image]] == expected[image]["ref"]
