"""The two sets that ``lavit score fid``, ``kid`` and ``cmmd`` compare: files of features, or folders of pictures.

Suffixes: N rows, D features.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.errors import EvaluationError
from evals.features.extractor import in_batches
from evals.features.files import list_pictures, open_pictures
from evals.features.weights import content_hash
from evals.records import Record
from evals.score.scored import Scored

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from evals.features.extractor import ImageFeatures


@dataclass
class Sides:
    """What the arguments name.

    Attributes:
        paths: the two sides.
        extractor: turns pictures into features; None where features were given.
        fingerprint: where the features are from, and the files' hashes.
    """

    paths: tuple[Path, Path]
    extractor: ImageFeatures | None
    fingerprint: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str | None:
        """The extractor's label; None where whoever made the features knows."""
        return self.extractor.label if self.extractor else None

    def pictures(self, path: Path) -> npt.NDArray[np.float32] | None:
        """Features [N, D] of the pictures of a folder; None where the path is a file of features or statistics."""
        if self.extractor is None or not path.is_dir():
            return None
        return in_batches(self.extractor, open_pictures(list_pictures(path)))


def configure(parser: argparse.ArgumentParser, inception: bool = True) -> None:
    """Declare the arguments that name two sets; ``inception``: whether that extractor may be asked for."""
    sets = parser.add_mutually_exclusive_group(required=True)
    sets.add_argument("--features", nargs=2, metavar=("A", "B"), type=Path, help="features [N, D]: .npy or .npz")
    sets.add_argument(
        "--images",
        nargs=2,
        metavar=("A", "B"),
        type=Path,
        help="folders of pictures; one of them may be a .npy or .npz",
    )
    if inception:
        parser.add_argument("--inception", metavar="WEIGHTS", type=Path, help="pt_inception-2015-12-05-6726825d.pth")
        parser.add_argument(
            "--resize", choices=["pytorch-fid", "tensorflow"], default="pytorch-fid", help="how Inception sees pictures"
        )
    parser.add_argument("--clip", metavar="DIR", type=Path, help="a CLIP model's folder, in transformers' layout")
    parser.add_argument("--device", help="where to extract features (default: a GPU where there is one)")


def read(arguments: argparse.Namespace, crop_first: bool = False) -> Sides:
    """The two sides that the arguments name.

    Args:
        arguments: of :func:`configure`.
        crop_first: of :class:`~evals.features.clip.ClipFeatures`.

    Raises:
        EvaluationError: pictures without an extractor, or an extractor without pictures.
    """
    inception, clip = getattr(arguments, "inception", None), arguments.clip
    if arguments.features is not None:
        if inception or clip:
            raise EvaluationError("Features were given: there is nothing to extract.", "Leave the extractor out.")
        a, b = arguments.features
        given = {"features": "as given", "A": content_hash(a), "B": content_hash(b)}
        return Sides((a, b), None, given)
    if (inception is None) == (clip is None):
        wanted = "--inception WEIGHTS or --clip DIR" if hasattr(arguments, "inception") else "--clip DIR"
        raise EvaluationError("--images needs one extractor of features.", f"Add {wanted}.")
    a, b = arguments.images
    for path in (a, b):
        if not path.exists():
            raise EvaluationError(f"{path}: there is no such folder.", "Check the path.")
    if not (a.is_dir() or b.is_dir()):
        raise EvaluationError("--images names two files.", "Give features with --features.")
    extractor: ImageFeatures
    if inception is not None:
        from evals.features.inception import InceptionFeatures

        extractor = InceptionFeatures(inception, arguments.resize, arguments.device)
    else:
        from evals.features.clip import ClipFeatures

        extractor = ClipFeatures(clip, crop_first, arguments.device)
    return Sides((a, b), extractor, {"A": str(a), "B": str(b), **extractor.fingerprint})


def scored(kind: str, totals: Mapping[str, Any], metric: str, sides: Sides, version: str, **further: Any) -> Scored:
    """The result of comparing two sets: totals, and one record for the pair."""
    pair = " | ".join(str(path) for path in sides.paths)
    numbers = {name: float(value) for name, value in totals.items() if name != metric}
    record = Record(kind, metric, "", "", pair, pair, "", (), float(totals[metric]), aux=numbers)
    return Scored(totals, [record], {"metric": version, **sides.fingerprint, **further})
