"""Captions against references: BLEU, METEOR, ROUGE-L, CIDEr and SPICE from COCO's own JSON files.

The references are an annotation file as COCO and NoCaps come with: an object with "annotations", each of which has
"image_id" and "caption". The predictions are a list of {"image_id", "caption"}, one an image. Either may be gzipped.
The numbers are those of pycocoevalcap. Where a set is scored in part, the document frequencies of CIDEr are those of
the part, as in the official scorer; so a partial set has to be asked for.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from evals.datasets.reading import read_json
from evals.errors import EvaluationError
from evals.metrics.caption import (
    METRICS,
    TOKENIZERS,
    CaptionScores,
    choose_metrics,
    choose_tokenizer,
    describe,
    score_set,
)
from evals.metrics.tokenize import one_line
from evals.records import Record
from evals.score.scored import Scored, hashes

EXAMPLES = """\
examples:
  lavit score caption --references captions_val2014.json.gz --predictions results.json
  lavit score caption --references ann.json --predictions res.json --tokenizer python --metrics Bleu,CIDEr --json
  lavit score caption --references ann.json --predictions half.json --partial --records scores.parquet
"""

_FORM = 'a list of {"image_id": ..., "caption": "..."}'


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``lavit score caption``."""
    parser.add_argument(
        "--references", required=True, type=Path, metavar="ANN.json[.gz]", help="COCO caption annotations"
    )
    parser.add_argument(
        "--predictions", required=True, type=Path, metavar="RES.json[.gz]", help=f"COCO results: {_FORM}"
    )
    parser.add_argument(
        "--tokenizer",
        default="auto",
        choices=TOKENIZERS,
        help="java: the official PTBTokenizer; python: our own, the same on captions; auto: java where it is found",
    )
    parser.add_argument("--metrics", default=",".join(METRICS), metavar="NAME,...", help="default: all, %(default)s")
    parser.add_argument("--partial", action="store_true", help="score the predicted images alone, of a larger set")
    parser.add_argument(
        "--spice-models", type=Path, metavar="DIR", help="folder of the two CoreNLP 3.6.0 jars of SPICE"
    )


def score(arguments: argparse.Namespace) -> Scored:
    """Score a file of captions.

    Raises:
        EvaluationError: a file is not as it should be, an image is predicted twice, not at all or without having
            references, or an unknown metric.
    """
    metrics = choose_metrics([name.strip() for name in arguments.metrics.split(",") if name.strip()], "--metrics")
    tokenizer = choose_tokenizer(arguments.tokenizer, "--tokenizer")
    references = read_references(arguments.references)
    predictions = read_predictions(arguments.predictions)
    chosen = _match(references, predictions, arguments.partial, arguments.references, arguments.predictions)
    said, truth = [predictions[image] for image in chosen], [references[image] for image in chosen]
    found = score_set(said, truth, metrics, tokenizer, arguments.spice_models)
    return Scored(
        totals=dict(found.totals),
        records=_records(chosen, said, truth, found),
        fingerprint={
            "kind": "caption",
            **describe(list(found.totals), tokenizer),
            "images": f"{len(chosen)} of {len(references)}" if len(chosen) < len(references) else len(chosen),
            "files": hashes(arguments.references, arguments.predictions),
        },
        missing=found.missing,
    )


def read_references(path: Path) -> dict[str, list[str]]:
    """Image id → its references. Images stand in the order of the file's ``images``, as in the official scorer.

    Raises:
        EvaluationError: it is no annotation file, or has an annotation without image id or caption.
    """
    whole = read_json(path)
    rows = whole.get("annotations") if isinstance(whole, dict) else whole
    if not isinstance(rows, list) or not rows:
        what = "no annotations" if isinstance(rows, list) else "no list of annotations"
        remedy = 'COCO\'s form is wanted: {"annotations": [{"image_id": ..., "caption": "..."}, ...]}.'
        raise EvaluationError(f"{path} has {what}.", remedy)
    references: dict[str, list[str]] = {}
    images = whole.get("images") if isinstance(whole, dict) else None
    for image in images if isinstance(images, list) else []:
        if isinstance(image, dict) and isinstance(image.get("id"), int | str):
            references[str(image["id"])] = []
    for number, row in enumerate(rows):
        image, caption = _read(row, path, f"annotation {number}", "See COCO's captions_val2014.json.")
        references.setdefault(image, []).append(caption)
    return {image: captions for image, captions in references.items() if captions}


def read_predictions(path: Path) -> dict[str, str]:
    """Image id → what was said of it.

    Raises:
        EvaluationError: it is no file of results, is empty, or has an image twice.
    """
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        what = "is an empty list" if isinstance(rows, list) else f"is {_kind(rows)} and not a list"
        raise EvaluationError(f"{path} {what}.", f"COCO's form of results is wanted: {_FORM}.")
    predictions: dict[str, str] = {}
    for number, row in enumerate(rows):
        image, caption = _read(row, path, f"result {number}", f'Wanted: {_FORM}; "" for an image without a caption.')
        if image in predictions:
            raise EvaluationError(
                f"{path}: result {number}: image_id {image} stands twice.", "Keep one caption an image."
            )
        predictions[image] = caption
    return predictions


def _read(row: Any, path: Path, where: str, remedy: str) -> tuple[str, str]:
    """Image id and caption of a row. Ids are compared as text: 42 and "42" are one image."""
    if not isinstance(row, dict):
        raise EvaluationError(f"{path}: {where} (from 0) is {_kind(row)}, not an object.", remedy)
    image, caption = row.get("image_id"), row.get("caption")
    if isinstance(image, float) and image.is_integer():
        image = int(image)  # as pandas writes ids
    if not isinstance(image, int | str) or isinstance(image, bool) or image == "":
        raise EvaluationError(f"{path}: {where} (from 0): image_id is {_show(row, 'image_id')}.", remedy)
    if not isinstance(caption, str):
        what = f"caption of image_id {image} is {_show(row, 'caption')}, not text"
        raise EvaluationError(f"{path}: {where} (from 0): the {what}.", remedy)
    return str(image), caption


def _match(
    references: dict[str, list[str]], predictions: dict[str, str], partial: bool, ann: Path, res: Path
) -> list[str]:
    """The images to score, in the order of the references."""
    strange = [image for image in predictions if image not in references]
    if strange:
        raise EvaluationError(
            f"{res}: image_id {strange[0]} has no reference in {ann} ({len(strange)} such images).",
            "Are the files of the same split? Remove these captions.",
        )
    left_out = [image for image in references if image not in predictions]
    if left_out and not partial:
        raise EvaluationError(
            f"{res}: image_id {left_out[0]} of {ann} has no caption ({len(left_out)} of {len(references)} images).",
            'Add captions ("" where the model says nothing). --partial scores the predicted images alone; its CIDEr is '
            "not comparable with that of the whole set.",
        )
    return [image for image in references if image in predictions]


def _records(images: list[str], said: list[str], truth: list[list[str]], found: CaptionScores) -> list[Record]:
    return [
        Record(
            benchmark="caption",
            metric=name,
            control="",
            split="",
            example_id=image,
            cluster_id=image,
            prediction=one_line(caption),
            references=tuple(map(one_line, texts)),
            score=float(value),
            order=number,
        )
        for name, scores in found.per_image.items()
        for number, (image, caption, texts, value) in enumerate(zip(images, said, truth, scores, strict=True))
    ]


def _show(row: dict[str, Any], name: str) -> str:
    return _kind(row[name]) if name in row else "missing"


def _kind(value: Any) -> str:
    """JSON's name of a value's type."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"the number {value}")
