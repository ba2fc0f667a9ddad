"""Which picture an example is shown with."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reports.examples import _picture_of


def test_a_datasets_own_picture_comes_before_one_of_the_same_id() -> None:
    facts = pd.DataFrame({"benchmark": ["gqa", "world"], "cluster_id": ["42", "42"]}, index=["q1", "q2"])
    images = {"gqa--42": Path("gqa--42.png"), "42": Path("42.png")}
    assert _picture_of("q1", facts, images) == Path("gqa--42.png")
    assert _picture_of("q2", facts, images) == Path("42.png")
    assert _picture_of("q1", facts, {}) is None
