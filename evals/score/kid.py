"""Kernel Inception distance between two sets of images: KID.

KID is the unbiased estimator on the whole sets, which needs no chance; KID_biased and KID_u_statistic stand beside it.
With --subsets it is also given as papers do, as mean and standard deviation over random subsets (torch-fidelity's
draw).
"""

from __future__ import annotations

import argparse
from typing import Any

from evals.features import sides as two
from evals.features.extractor import kernel_name
from evals.features.files import read_features
from evals.metrics.kid import VERSION, kernel_distance, kernel_distance_of_subsets
from evals.score.scored import Scored

EXAMPLES = """\
examples:
  lavit score kid --features real.npy drawn.npy --json
  lavit score kid --features real.npy drawn.npy --subsets 100 --subset-size 1000
  lavit score kid --images REAL/ DRAWN/ --inception pt_inception-2015-12-05-6726825d.pth
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the two sets, the extractor and the subsets."""
    two.configure(parser)
    parser.add_argument("--subsets", type=int, default=0, metavar="N", help="number of random subsets (default: none)")
    parser.add_argument("--subset-size", type=int, default=1000, metavar="M", help="rows in each (default: 1000)")
    parser.add_argument("--seed", type=int, default=2020, help="of the subsets (default: torch-fidelity's 2020)")


def score(arguments: argparse.Namespace) -> Scored:
    """The three estimators, and mean and spread over subsets where asked for.

    Raises:
        EvaluationError: files that cannot be read, or hold what no distance can be made of.
    """
    sides = two.read(arguments)
    names = (str(sides.paths[0]), str(sides.paths[1]))
    found = [sides.pictures(path) for path in sides.paths]
    a, b = (read_features(p) if x is None else x for p, x in zip(sides.paths, found, strict=True))
    name = kernel_name(sides.label or "Inception")
    whole = kernel_distance(a, b, names)
    totals: dict[str, Any] = {name: whole.unbiased, f"{name}_biased": whole.biased}
    missing = {}
    if whole.u_statistic is None:
        missing[f"{name}_u_statistic"] = f"it needs two sets of the same size, these have {len(a)} and {len(b)} rows"
    else:
        totals[f"{name}_u_statistic"] = whole.u_statistic
    further: dict[str, Any] = {}
    if arguments.subsets:
        further = {"subsets": arguments.subsets, "subset_size": arguments.subset_size, "seed": arguments.seed}
        mean, spread = kernel_distance_of_subsets(a, b, arguments.subsets, arguments.subset_size, arguments.seed, names)
        totals |= {f"{name}_subsets_mean": mean, f"{name}_subsets_std": spread}
    totals |= {"n_a": len(a), "n_b": len(b), "dimensions": a.shape[1]}
    result = two.scored("kid", totals, name, sides, VERSION, **further)
    return Scored(result.totals, result.records, result.fingerprint, missing)
