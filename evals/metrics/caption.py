"""All caption metrics of a set at once, on the words of one tokenizer, each by the field's own code.

What cannot be computed here (METEOR without Java, SPICE without its models) is told with its reason, and everything
else goes on. The numbers are those of pycocoevalcap: fractions of 1, CIDEr up to 10.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evals.errors import EvaluationError
from evals.metrics import bleu, meteor, ptb, rouge, spice, tokenize
from evals.metrics.cider import check_references, cider
from evals.metrics.java import find_java

METRICS = (*bleu.NAMES, meteor.NAME, rouge.NAME, "CIDEr", spice.NAME)
TOKENIZERS = ("auto", "java", "python")

Floats = npt.NDArray[np.float64]
Texts = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class CaptionScores:
    """What a set of captions scores.

    Attributes:
        totals: metric → the official score of the whole set.
        per_image: metric → its score of each caption [B], NaN where there is none.
        missing: metric → why it was not computed, and what to do.
        sums: ``BLEU`` → what each caption adds to the set's score (:func:`evals.metrics.bleu.counts`), None where there
            is none.
    """

    totals: Mapping[str, float] = field(default_factory=dict)
    per_image: Mapping[str, Floats] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    sums: Mapping[str, Sequence[Sequence[int] | None]] = field(default_factory=dict)


def choose_metrics(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Metrics by name, in the official order. Case does not matter, and ``Bleu`` is all four.

    Raises:
        EvaluationError: none, or one of another name; ``where`` says who named them.
    """
    known = {name.lower(): (name,) for name in METRICS} | {"bleu": bleu.NAMES, "rouge": (rouge.NAME,)}
    unknown = [name for name in names if name.lower() not in known]
    if unknown or not names:
        what = f"no metric {unknown[0]!r}" if unknown else "no metric named"
        raise EvaluationError(f"{where}: there is {what}.", f"Metrics: {', '.join(METRICS)}; Bleu for all four.")
    wanted = {found for name in names for found in known[name.lower()]}
    return tuple(name for name in METRICS if name in wanted)


def choose_tokenizer(name: str, where: str) -> str:
    """``java`` or ``python``: for ``auto``, Java where there is one.

    Raises:
        EvaluationError: another name, or ``java`` and there is none; ``where`` says who named it.
    """
    if name not in TOKENIZERS:
        raise EvaluationError(f"{where}: there is no tokenizer {name!r}.", f"Tokenizers: {', '.join(TOKENIZERS)}.")
    if name == "python":
        return "python"
    java, why = find_java()
    if java is None and name == "java":
        raise EvaluationError(f"{where}: {why}.", "Or take the tokenizer python; BLEU, ROUGE_L and CIDEr need no Java.")
    return "python" if java is None else "java"


def describe(metrics: Sequence[str], tokenizer: str) -> dict[str, str]:
    """How the numbers come about: what a result has to be accompanied by. ``tokenizer`` is ``java`` or ``python``."""
    kinds = {meteor.NAME: f"METEOR 1.5 {' '.join(meteor.OPTIONS[3:])}", "CIDEr": "CIDEr-D", spice.NAME: "SPICE 1.0"}
    said = [f"pycocoevalcap {importlib.metadata.version('pycocoevalcap')}", *(kinds[m] for m in metrics if m in kinds)]
    return {"tokenizer": {"java": ptb.NAME, "python": tokenize.NAME}[tokenizer], "scorers": ", ".join(said)}


def score_set(
    predictions: Sequence[str | None],
    references: Sequence[Sequence[str]],
    metrics: Sequence[str] = METRICS,
    tokenizer: str = "python",
    spice_models: Path | None = None,
) -> CaptionScores:
    """Score a set of captions.

    The last few results are remembered: who needs scores of images now and of the set later pays once.

    Args:
        predictions: one caption an image; ``None`` where none was made. Such an image counts in CIDEr's document
            frequencies and nowhere else.
        references: the images' reference captions, in the same order.
        metrics: from :func:`choose_metrics`.
        tokenizer: ``java`` or ``python``, from :func:`choose_tokenizer`.
        spice_models: folder of SPICE's models, see :func:`evals.metrics.spice.find_models`.

    Raises:
        EvaluationError: the lengths differ, an image has no reference, no caption was made, or the tokenizer failed.
    """
    check_references(predictions, references)
    if all(text is None for text in predictions):
        raise EvaluationError("There is no caption to score.")
    return _score(tuple(predictions), tuple(map(tuple, references)), tuple(metrics), tokenizer, spice_models)


@functools.lru_cache(maxsize=8)
def _score(
    predictions: tuple[str | None, ...],
    references: Texts,
    metrics: tuple[str, ...],
    tokenizer: str,
    models: Path | None,
) -> CaptionScores:
    truth = _split(references, tokenizer)
    made = np.array([text is not None for text in predictions])
    said = [row[0] for row in _split(tuple((text,) for text in predictions if text is not None), tokenizer)]
    beside = [texts for texts, is_made in zip(truth, made, strict=True) if is_made]
    totals: dict[str, float] = {}
    per_image: dict[str, Floats] = {}
    missing: dict[str, str] = {}
    sums: dict[str, list[list[int] | None]] = {}

    def keep(name: str, scores: Floats, total: float | None = None) -> None:
        totals[name] = float(np.mean(scores)) if total is None else total
        per_image[name] = np.full(len(made), np.nan)
        per_image[name][made] = scores

    if set(metrics) & set(bleu.NAMES):
        of_set, of_image = bleu.bleu(said, beside)
        for name in bleu.NAMES:
            if name in metrics:
                keep(name, of_image[name], of_set[name])
        counted = iter([bleu.counts(*pair) for pair in zip(said, beside, strict=True)])
        sums["BLEU"] = [next(counted) if is_made else None for is_made in made]
    if meteor.NAME in metrics:
        _with_java(meteor.NAME, missing, lambda java: keep(*_meteor(said, beside, java)))
    if rouge.NAME in metrics:
        keep(rouge.NAME, rouge.rouge(said, beside))
    if "CIDEr" in metrics:
        words = iter(said)
        keep("CIDEr", cider([next(words) if is_made else None for is_made in made], truth)[made])
    if spice.NAME in metrics:
        found, why = spice.find_models(models)
        if found:
            _with_java(spice.NAME, missing, lambda java: keep(spice.NAME, spice.spice(said, beside, java, found)))
        else:
            missing[spice.NAME] = f"not computed: {why}"
    return CaptionScores(totals, per_image, missing, sums)


def _meteor(said: list[str], beside: list[list[str]], java: str) -> tuple[str, Floats, float]:
    total, scores = meteor.meteor(said, beside, java)
    return meteor.NAME, scores, total


def _with_java(name: str, missing: dict[str, str], compute: Callable[[str], None]) -> None:
    """Compute, or say why not in ``missing``: a metric that fails takes none of the others with it."""
    java, why = find_java()
    if java is None:
        missing[name] = f"not computed: {why}"
        return
    try:
        compute(java)
    except EvaluationError as error:
        missing[name] = f"not computed: {' '.join(str(error).split())}"


def _split(captions: Texts, tokenizer: str) -> list[list[str]]:
    """Words of several captions an image: in one call, as the official scorer does."""
    flat = [text for texts in captions for text in texts]
    words = iter(ptb.tokenize_all(flat) if tokenizer == "java" else tokenize.tokenize_all(flat))
    return [[next(words) for _ in texts] for texts in captions]
