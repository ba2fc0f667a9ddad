"""Corrections against statsmodels; what a verdict is called."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from reports.verdicts import holm


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_is_statsmodels(values: list[float]) -> None:
    assert holm(np.array(values)) == pytest.approx(multipletests(values, method="holm")[1], abs=1e-12)
