"""NLVR and NLVR2: is a sentence true of an image? Right answers, and sentences answered rightly every time.

Rules of the datasets' own evaluation (Suhr et al., ACL 2017 and 2019): a prediction is right if it equals the label
but for case; a sentence is consistent if all that was asked with it is right.
"""

from __future__ import annotations

from collections.abc import Sequence

NAME = "nlvr-1"
"""Version of these rules, part of an evaluation's fingerprint."""


def is_right(prediction: str, label: str) -> bool:
    """Whether they are equal but for case."""
    return prediction.lower() == label.lower()


def sentence_of(identifier: str) -> str:
    """The sentence that an example asks about.

    ``<sentence>-<images>`` in NLVR: the same sentence with other images; ``<split>-<set>-<pair>-<sentence>`` in NLVR2:
    the same sentence of a set with other pairs.
    """
    parts = identifier.split("-")
    return "-".join([*parts[:2], *parts[3:]]) if len(parts) == 4 else parts[0]


def consistency(sentences: Sequence[str], right: Sequence[bool]) -> float:
    """Share 0-1 of sentences all of whose examples are right."""
    whole: dict[str, bool] = {}
    for sentence, hit in zip(sentences, right, strict=True):
        whole[sentence] = whole.get(sentence, True) and hit
    return sum(whole.values()) / len(whole)
