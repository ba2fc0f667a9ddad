"""Fréchet distance between two sets of images: FID.

Features are given as arrays [N, D], as statistics in pytorch-fid's .npz (mu, sigma), or extracted from folders of
pictures. Whoever gives features knows what they are and calls the number by its name; on pictures it is FID with
Inception's weights, and FD_CLIP with CLIP's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from evals.features import sides as two
from evals.features.extractor import frechet_name
from evals.features.files import read_gaussian
from evals.metrics.frechet import VERSION, frechet_distance
from evals.metrics.gaussians import Gaussian, from_features
from evals.score.scored import Scored

EXAMPLES = """\
examples:
  lavit score fid --features real.npy drawn.npy --json
  lavit score fid --features coco_val2014_statistics.npz drawn.npy
  lavit score fid --images REAL/ DRAWN/ --inception pt_inception-2015-12-05-6726825d.pth
  lavit score fid --images coco_val2014_statistics.npz DRAWN/ --inception pt_inception-2015-12-05-6726825d.pth
  lavit score fid --images REAL/ DRAWN/ --clip clip-vit-base-patch32/
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the two sets and the extractor."""
    two.configure(parser)


def score(arguments: argparse.Namespace) -> Scored:
    """The distance, and how many images it is between (where that is known).

    Raises:
        EvaluationError: files that cannot be read, or hold what no distance can be made of.
    """
    sides = two.read(arguments)
    a, b = (_gaussian(sides, path) for path in sides.paths)
    name = frechet_name(sides.label or "Inception")
    totals: dict[str, float | int] = {name: frechet_distance(a, b, (str(sides.paths[0]), str(sides.paths[1])))}
    totals |= {f"n_{side}": one.rows for side, one in (("a", a), ("b", b)) if one.rows is not None}
    return two.scored("fid", {**totals, "dimensions": a.mean_D.size}, name, sides, VERSION)


def _gaussian(sides: two.Sides, path: Path) -> Gaussian:
    features_ND = sides.pictures(path)
    return read_gaussian(path) if features_ND is None else from_features(features_ND, str(path))
