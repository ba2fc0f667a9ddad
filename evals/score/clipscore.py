"""CLIPScore of captions with their images, and RefCLIPScore where there are references.

From features (.npz with image [B, D], candidate [B, D], and perhaps refs [R, D] with ref_index [R], the row that each
reference belongs to), or from pictures and captions with a local CLIP model. Captions and references are JSON objects,
from a picture's name without its ending to a text, or to a list of texts.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evals.datasets.reading import read_json
from evals.errors import EvaluationError
from evals.features.extractor import in_batches
from evals.features.files import list_pictures, open_pictures, read_arrays
from evals.features.weights import content_hash
from evals.metrics.clipscore import VERSION, clip_score, greatest_reference_cosine, ref_clip_score
from evals.records import Record
from evals.score.scored import Scored

PREFIX = "A photo depicts "  # of every text, as the paper's section 3 has it
EXAMPLES = """\
examples:
  lavit score clipscore --features features.npz --json
  lavit score clipscore --images PICTURES/ --captions captions.json --references refs.json --clip clip-vit-base-patch32/
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare features, or pictures with texts and a model."""
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument(
        "--features", metavar="FILE.npz", type=Path, help="image, candidate, and perhaps refs, ref_index"
    )
    given.add_argument("--images", metavar="DIR", type=Path, help="a folder of pictures")
    parser.add_argument("--captions", metavar="JSON", type=Path, help="picture's name → caption")
    parser.add_argument("--references", metavar="JSON", type=Path, help="picture's name → list of captions")
    parser.add_argument("--clip", metavar="DIR", type=Path, help="a CLIP model's folder, in transformers' layout")
    parser.add_argument("--prefix", default=PREFIX, help=f"before every text (default: {PREFIX!r})")
    parser.add_argument("--device", help="where to extract features (default: a GPU where there is one)")


def score(arguments: argparse.Namespace) -> Scored:
    """Mean scores, and one record a caption and metric.

    Raises:
        EvaluationError: files that cannot be read, contradict each other, or are missing.
    """
    ids, captions, arrays, fingerprint = (_from_features if arguments.features else _from_pictures)(arguments)
    scores = {"CLIPScore": clip_score(arrays["image"], arrays["candidate"])}
    missing = {}
    if "refs" in arrays:
        cosine_B = greatest_reference_cosine(arrays["candidate"], arrays["refs"], arrays["ref_index"])
        scores["RefCLIPScore"] = ref_clip_score(scores["CLIPScore"], cosine_B)
    else:
        missing["RefCLIPScore"] = "there are no references"
    records = [
        Record("clipscore", metric, "", "", identity, identity, caption, (), float(value), order=order)
        for metric, values in scores.items()
        for order, (identity, caption, value) in enumerate(zip(ids, captions, values, strict=True))
    ]
    totals = {metric: float(values.mean()) for metric, values in scores.items()} | {"n": len(ids)}
    return Scored(totals, records, {"metric": VERSION, **fingerprint}, missing)


Found = tuple[list[str], list[str], Mapping[str, npt.NDArray], dict[str, Any]]


def _from_features(arguments: argparse.Namespace) -> Found:
    path = arguments.features
    arrays = read_arrays(path)
    lacking = {"image", "candidate"} - set(arrays)
    if lacking or ("refs" in arrays) != ("ref_index" in arrays):
        raise EvaluationError(
            f"{path} holds {', '.join(arrays) or 'nothing'}.",
            "It needs image and candidate [B, D], and for RefCLIPScore both refs [R, D] and ref_index [R].",
        )
    ids = [str(row) for row in range(len(np.atleast_1d(arrays["image"])))]
    return ids, [""] * len(ids), arrays, {"features": "as given", "file": content_hash(path)}


def _from_pictures(arguments: argparse.Namespace) -> Found:
    from evals.features.clip import ClipFeatures

    for name in ("captions", "clip"):
        if getattr(arguments, name) is None:
            raise EvaluationError(f"--images needs --{name} too.", "See `lavit score clipscore --help`.")
    captions = _texts(arguments.captions)
    for name, texts in captions.items():
        if len(texts) != 1:
            raise EvaluationError(f"{arguments.captions}: {name!r} has {len(texts)} captions.", "Give one a picture.")
    pictures = {path.stem: path for path in list_pictures(arguments.images)}
    ids = sorted(captions)
    lost = [name for name in ids if name not in pictures]
    if lost:
        raise EvaluationError(f"{arguments.captions}: there is no picture {lost[0]!r} in {arguments.images}.")
    model = ClipFeatures(arguments.clip, device=arguments.device)

    def text_features(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        marked = [arguments.prefix + text for text in texts]
        return np.concatenate([model.texts(marked[start : start + 64]) for start in range(0, len(marked), 64)])

    said = [captions[name][0] for name in ids]
    arrays: dict[str, npt.NDArray] = {
        "image": in_batches(model, open_pictures([pictures[name] for name in ids])),
        "candidate": text_features(said),
    }
    if arguments.references is not None:
        references = _texts(arguments.references)
        lost = [name for name in ids if not references.get(name)]
        if lost:
            raise EvaluationError(f"{arguments.references}: {lost[0]!r} has no reference.", "Give each at least one.")
        arrays["refs"] = text_features([text for name in ids for text in references[name]])
        arrays["ref_index"] = np.repeat(np.arange(len(ids)), [len(references[name]) for name in ids])
    return ids, said, arrays, {**model.fingerprint, "prefix": arguments.prefix}


def _texts(path: Path) -> dict[str, list[str]]:
    """Name → texts of a JSON object whose values are texts or lists of them."""
    loaded = read_json(path)
    if not isinstance(loaded, dict) or not loaded:
        raise EvaluationError(f"{path} is no JSON object with a text for each picture.")
    found = {}
    for name, value in loaded.items():
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in texts):
            raise EvaluationError(f"{path}: {name!r} is neither a text nor a list of texts.")
        found[name] = texts
    return found
