"""Nine seeds of one arm, split into three pseudo-arms in all 280 ways: how often does the report find a difference?

Prints the share of splits with a finding (Holm over the two pseudo-arms that are compared with the third, each the
third in turn) on every benchmark, and how far that share scatters over simulated nine-seed studies with the same
spreads and no difference: the splits of one set of runs overlap, so the error is not that of 280 draws.

    python -m benchmarks.aa RUN_FOLDER [ARM] [STUDIES]
"""

from __future__ import annotations

import sys
from pathlib import Path

from reports.aa import aa_shares, null_shares, seed_rows
from reports.frame import load
from reports.measure import Scores

STUDIES = 40


def main(folder: str, arm: str = "", studies: str = str(STUDIES)) -> None:
    """Split, simulate, print."""
    scores = Scores(load(Path(folder)))
    arm = arm or scores.frame.study.default
    shares = aa_shares(scores, arm)
    print(f"{scores.frame.study.name}, arm {arm}: {shares.splits} ways of splitting its seeds into three pseudo-arms")
    print(f"{'measure':28}{'with a finding':>16}{'simulated, no difference':>28}{'95 % of such studies below':>30}")
    for measure, share in shares.by_measure.items():
        simulated = null_shares(seed_rows(scores, measure, arm), int(studies))
        mean, error = simulated.mean(), simulated.std(ddof=1)
        most = sorted(simulated)[min(int(0.95 * len(simulated)), len(simulated) - 1)]
        around = f"{mean:.1%} ± {error:.1%} (SD)"
        mark = " (headline)" if measure == scores.headline else ""
        print(f"{measure.label + mark:28}{share:>16.1%}{around:>28}{most:>30.1%}")
    print(f"{'on any of them':28}{shares.anywhere:>16.1%}")
    print(
        f"simulated: {studies} studies a measure; one study is one draw of them, so its share is held against 5 % plus "
        "that scatter"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
