"""The control ``text_prior``: what a score is worth that text alone can get, without image and without model.

It is made from the references of the *other* images of the evaluated set (leave one image out), not from a training
split: evaluation sets come without one, the same examples give the same prior in every arm, and a guesser who knows
the set's own distribution is the stronger floor. No example ever sees the references of its own image.

Suffixes: C candidate captions, S images of the sample.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from evals.benchmark import REAL, TEXT_PRIOR
from evals.errors import EvaluationError
from evals.metrics.cider import score_captions
from evals.records import Record

SAMPLE = 48  # images that a consensus caption is chosen on: 48 candidates on each of them


def prior_records(
    records: Sequence[Record], count: int | None, guess: Callable[[Sequence[Record]], list[str]]
) -> list[Record]:
    """Unscored records of the control for the first ``count`` images of an evaluation.

    Args:
        records: those of the real thing, in evaluation order; others are passed over.
        count: images to make the control for; None: all, 0: none.
        guess: :func:`guess_answers` or :func:`guess_captions`; it sees all real records.

    Raises:
        EvaluationError: with a single image there is no other one to learn a prior from.
    """
    real = [record for record in records if record.control == REAL]
    images = list(dict.fromkeys(record.cluster_id for record in real))
    if count == 0 or not real:
        return []
    if len(images) < 2:
        raise EvaluationError(
            f"Benchmark {real[0].benchmark!r}: the text_prior control needs at least 2 images, there is {len(images)}.",
            f"Raise suite.benchmarks.{real[0].benchmark}.count, or set its controls.text_prior to 0.",
        )
    chosen = set(images[:count])
    return [
        dataclasses.replace(record, control=TEXT_PRIOR, prediction=said, tokens=None, score=float("nan"))
        for record, said in zip(real, guess(real), strict=True)
        if record.cluster_id in chosen
    ]


def guess_answers(real: Sequence[Record]) -> list[str]:
    """For each question the answer that is most frequent among the other images' questions of the same text.

    Where no other image is asked that, of the same kind of question; else of all. Each question counts once, with the
    reference that most people gave; of equally frequent answers the one that is more frequent with this image's own,
    else the one first met in evaluation order, is taken.
    """
    answers = [_majority(record.references) for record in real]
    levels = [_Answers(real, answers, group) for group in (_question, lambda record: record.kind, lambda record: "")]
    return [next((said for level in levels if (said := level.elsewhere(record)) is not None), "") for record in real]


class _Answers:
    """How often each answer is right within a group of questions, in all and for each image."""

    def __init__(self, real: Sequence[Record], answers: Sequence[str], group: Callable[[Record], str]):
        self.group = group
        in_all: dict[str, Counter[str]] = {}
        self.own: dict[tuple[str, str], Counter[str]] = {}
        for record, answer in zip(real, answers, strict=True):
            in_all.setdefault(group(record), Counter())[answer] += 1
            self.own.setdefault((group(record), record.cluster_id), Counter())[answer] += 1
        self.ranked = {name: counter.most_common() for name, counter in in_all.items()}

    def elsewhere(self, record: Record) -> str | None:
        """The most frequent answer of the record's group on other images; None where these have no such question."""
        mine = self.own[self.group(record), record.cluster_id]
        best, most = None, 0
        for answer, count in self.ranked[self.group(record)]:
            if count <= most:  # nor can any that follows be more frequent
                break
            if count - mine[answer] > most:
                best, most = answer, count - mine[answer]
        return best


def guess_captions(real: Sequence[Record]) -> list[str]:
    """For each image the consensus caption of the others: the reference with the greatest mean CIDEr on them.

    Candidates are the first references of the first 48 images (evaluation orders are random); each is scored against
    the references of these images, without the image that it is from and the one that is guessed for. Document
    frequencies are the sample's.
    """
    chosen = _consensus(tuple(record.references for record in real[:SAMPLE]))
    place_of = {record.cluster_id: place for place, record in enumerate(real[:SAMPLE])}
    return [chosen[place_of.get(record.cluster_id)] for record in real]


@lru_cache(maxsize=4)  # benchmarks of one suite, and recomputing, ask about the same images
def _consensus(sample: tuple[tuple[str, ...], ...]) -> dict[int | None, str]:
    """Place in the sample → the consensus caption of the other images; None → that for an image outside of it."""
    owners: dict[str, list[int]] = {}  # caption -> places in the sample of the images that it is from
    for place, references in enumerate(sample):
        owners.setdefault(references[0], []).append(place)
    texts = list(owners)
    # Every candidate beside every image in one call: repeating all documents equally often leaves idf as it is.
    pairs = [(text, references) for text in texts for references in sample]
    flat = score_captions([text for text, _ in pairs], [references for _, references in pairs])
    scores_CS = np.asarray(flat, np.float64).reshape(len(texts), len(sample))

    def consensus(place: int | None) -> str:
        best, greatest = "", -1.0
        for text, row_S in zip(texts, scores_CS, strict=True):
            others = [owner for owner in owners[text] if owner != place]
            if others:
                left = [score for at, score in enumerate(row_S) if at not in (others[0], place)]
                mean = float(np.mean(left)) if left else 0.0
                if mean > greatest:
                    best, greatest = text, mean
        return best

    return {place: consensus(place) for place in (None, *range(len(sample)))}


def _majority(references: Sequence[str]) -> str:
    return Counter(references).most_common(1)[0][0] if references else ""


def _question(record: Record) -> str:
    return " ".join(record.prompt.lower().split())
