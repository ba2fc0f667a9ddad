"""The audit's line on what was asked: every run the same prompts, against the same references."""

from __future__ import annotations

import pandas as pd

from reports.check import Check
from reports.results import Results

COLUMNS = {"prompt": "prompts", "reference": "references", "kind": "kinds of question"}
WHERE = ["benchmark", "metric", "control", "split", "example_id"]


def questions_check(results: Results) -> Check:
    """Examples whose prompt, reference or kind is another one in some run than in the default's first.

    Arms that were asked otherwise differ by a second thing than the axis that is compared.
    """
    records = results.frame.records
    examples = pd.Series(records.groupby(WHERE, sort=False, observed=True).ngroup().to_numpy())
    of_default = (records["arm"] == results.frame.study.default).to_numpy()
    items = []
    for column, words in COLUMNS.items():
        codes = pd.Series(pd.factorize(records[column])[0])
        base = codes[of_default].groupby(examples[of_default].to_numpy()).first()
        own = examples.map(base)  # an example that the default was not asked is compared with nothing
        odd = records[(own.notna() & (own != codes)).to_numpy()]
        for (arm, benchmark), rows in odd.groupby(["arm", "benchmark"], sort=False, observed=True):
            first = rows.iloc[0]
            items.append(
                f"{arm}: other {words} than {results.frame.study.default} in {len(rows):,} records of {benchmark}, "
                f"first example '{first['example_id']}' of seed {first['seed']}"
            )
    if items:
        return Check("Same questions", "warn", "not every arm was asked and judged alike", tuple(items))
    return Check("Same questions", "ok", "every run had the same prompts and was held against the same references")
