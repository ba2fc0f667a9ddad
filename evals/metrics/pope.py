"""POPE: how often a model says that an object is in an image, and how often it is (Li et al., EMNLP 2023)."""

from __future__ import annotations

from collections.abc import Sequence

NAME = "pope-1"
"""Version of these rules, part of an evaluation's fingerprint."""

_NO = frozenset({"No", "no", "not"})


def reads_as(answer: str) -> str:
    """``no`` if the first sentence has the word No, no or not, else ``yes``: whatever is not denied is affirmed.

    Commas are deleted; words are what stands between blanks, so that "NO", "nope" and "cannot" affirm.
    """
    sentence = answer.partition(".")[0].replace(",", "")
    return "no" if _NO & set(sentence.split(" ")) else "yes"


def totals(answers: Sequence[str], labels: Sequence[str]) -> tuple[dict[str, float], dict[str, str]]:
    """The official numbers under their official names, shares 0-1, and why those that are missing are.

    Args:
        answers: what the model said, freely.
        labels: ``yes`` or ``no``.
    """
    pairs = [(reads_as(answer), label) for answer, label in zip(answers, labels, strict=True)]
    tp, fp = pairs.count(("yes", "yes")), pairs.count(("yes", "no"))
    tn, fn = pairs.count(("no", "no")), pairs.count(("no", "yes"))
    found: dict[str, float] = {"TP": tp, "FP": fp, "TN": tn, "FN": fn, "Accuracy": (tp + tn) / len(pairs)}
    missing = {}
    if tp + fp:
        found["Precision"] = tp / (tp + fp)
    else:
        missing["Precision"] = "the model never said yes"
    if tp + fn:
        found["Recall"] = tp / (tp + fn)
    else:
        missing["Recall"] = "no question has the answer yes"
    if tp:
        precision, recall = found["Precision"], found["Recall"]
        found["F1 score"] = 2 * precision * recall / (precision + recall)
    else:
        missing["F1 score"] = "no yes was right"
    return found | {"Yes ratio": (tp + fp) / len(pairs)}, missing
