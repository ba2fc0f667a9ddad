"""CMMD between two sets of images: maximum mean discrepancy of CLIP embeddings.

Features are taken as they are given; CMMD's own are at length 1, and so are those extracted from pictures (their
middle square). The published numbers are with CLIP ViT-L/14 at 336 pixels.
"""

from __future__ import annotations

import argparse

from evals.features import sides as two
from evals.features.files import read_features
from evals.metrics.cmmd import VERSION, clip_mmd
from evals.score.scored import Scored

EXAMPLES = """\
examples:
  lavit score cmmd --features real.npy drawn.npy --json
  lavit score cmmd --images REAL/ DRAWN/ --clip clip-vit-large-patch14-336/
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the two sets and the CLIP model."""
    two.configure(parser, inception=False)


def score(arguments: argparse.Namespace) -> Scored:
    """The distance, and how many images it is between.

    Raises:
        EvaluationError: files that cannot be read, or hold what no distance can be made of.
    """
    sides = two.read(arguments, crop_first=True)
    found = [sides.pictures(path) for path in sides.paths]
    a, b = (read_features(p) if x is None else x for p, x in zip(sides.paths, found, strict=True))
    value = clip_mmd(a, b, (str(sides.paths[0]), str(sides.paths[1])))
    totals = {"CMMD": value, "n_a": len(a), "n_b": len(b), "dimensions": a.shape[1]}
    return two.scored("cmmd", totals, "CMMD", sides, VERSION)
