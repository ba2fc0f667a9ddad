"""What the interactive charts are given: every arm's numbers, the Pareto front, thinned curves, and no NaN."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_study import write_study

from reports import charts
from reports.charts import LINES, chart_data
from reports.frame import load
from reports.html.scripts import as_json, chart_scripts, policy_hashes
from reports.results import Results, analyse


def data_of(folder: Path) -> dict[str, Any] | None:
    found = chart_data(analyse(load(folder)))
    json.dumps(found, allow_nan=False)
    return found


@pytest.fixture(scope="module")
def data(results: Results) -> dict[str, Any]:
    found = chart_data(results)
    assert found is not None
    return found


def test_the_front_holds_the_arms_that_no_other_beats_at_no_greater_cost(data: dict[str, Any]) -> None:
    for measure in data["measures"]:
        sign = -1 if measure["better"] == "lower" else 1
        for cost, front in zip(data["costs"], measure["fronts"], strict=True):
            both = [
                (i, x, sign * y)
                for i, (x, y) in enumerate(zip(cost["values"], measure["mean"], strict=True))
                if x is not None and y is not None
            ]
            unbeaten = {i for i, x, y in both if not any((v <= x and w > y) or (v < x and w >= y) for _, v, w in both)}
            assert set(front) == unbeaten
            assert [cost["values"][i] for i in front] == sorted(cost["values"][i] for i in front)


def test_the_charts_show_the_tables_numbers(results: Results, data: dict[str, Any]) -> None:
    headline = results.headline
    assert headline is not None
    first, display = data["measures"][0], results.display(headline)
    cube = results.scores.cube(headline)
    assert cube is not None and first["key"] == headline.label
    for place, arm in enumerate(results.frame.arms):
        runs = cube.run_means(arm)
        assert first["mean"][place] == pytest.approx(np.mean(list(runs.values())) * display.scale, rel=1e-5)
        assert first["sd"][place] == pytest.approx(np.std(list(runs.values()), ddof=1) * display.scale, rel=1e-4)
        assert [seed for seed, _ in first["runs"][place]] == [0, 1, 2]
        assert first["low"][place] < first["mean"][place] < first["high"][place]
    costs = {cost["key"]: cost for cost in data["costs"]}
    assert {"flops", "tokens", "seconds", "params_trainable.max"} <= set(costs)
    assert costs["flops"]["label"] == "training FLOPs (T)"
    assert costs["flops"]["values"][:2] == [5.2, 3.1]
    assert costs["seconds"]["values"][0] == pytest.approx(32.0)


def test_an_arm_without_a_score_keeps_its_place(data: dict[str, Any], results: Results) -> None:
    drawn = next(m for m in data["measures"] if m["key"] == "t2i/exact")
    adapter = results.frame.arms.index("regime=adapter")
    assert drawn["mean"][adapter] is None and drawn["runs"][adapter] == []
    assert all(adapter not in front for front in drawn["fronts"])
    target = next(i for i, axis in enumerate(data["axes"]) if axis["name"] == "target")
    assert data["arms"][adapter]["levels"][target] is None  # void there


def test_curves_carry_the_band_over_seeds(data: dict[str, Any], results: Results) -> None:
    assert [curve["label"] for curve in data["curves"]] == ["CIDEr, validation", "train/loss"]
    rows = results.frame.curves.query("name == 'val/caption/CIDEr' and arm == 'default' and step == 600")["value"]
    line = data["curves"][0]["lines"][0]
    assert line["band"] == "least to most"
    assert line["step"][-1] == 600 and line["seeds"] == 3
    for key, want in (("mean", rows.mean()), ("low", rows.min()), ("high", rows.max())):
        assert line[key][-1] == pytest.approx(100 * want, rel=1e-5)


def test_one_seed_has_no_band_and_no_sd(tmp_path: Path) -> None:
    found = data_of(write_study(tmp_path, seeds=(0,), images=20, pictures=0))
    assert found is not None
    assert all(sd is None for measure in found["measures"] for sd in measure["sd"])
    assert found["measures"][0]["scope"] == "examples only"
    assert all("low" not in line for curve in found["curves"] for line in curve["lines"])


def test_records_alone_give_no_section(tmp_path: Path) -> None:
    assert data_of(write_study(tmp_path, images=12, foreign=True)) is None


def test_half_a_study_is_drawn(tmp_path: Path) -> None:
    folder = write_study(tmp_path, images=12, pictures=0)
    (folder / "curves.parquet").unlink()
    for path in folder.glob("records/llm-frozen-s*.parquet"):
        path.unlink()
    (folder / "records" / "default-s1.parquet").unlink()
    found = data_of(folder)
    assert found is not None and found["curves"] == []
    assert found["measures"][0]["mean"][4] is None and found["arms"][4]["seeds"] == 0
    assert found["arms"][0]["seeds"] == 2


def test_curves_are_thinned_evenly_and_say_so(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "CURVE_POINTS", 50)
    found = chart_data(results)
    assert found is not None
    loss = next(curve for curve in found["curves"] if curve["key"] == "train/loss")
    for line in loss["lines"]:
        assert len(line["step"]) == len(line["mean"]) == charts.FEWEST
        assert (line["step"][0], line["step"][-1]) == (0, 600)
    assert f"at most {charts.FEWEST} points" in found["notes"][-1]


def test_a_study_of_many_arms_stays_small(tmp_path: Path) -> None:
    arms = {"default": {}, **{f"pooled {i}": {"tokens": "pooled"} for i in range(59)}}
    found = data_of(write_study(tmp_path, arms=arms, seeds=(0,), images=6, questions=1, pictures=0))
    assert found is not None
    assert len(json.dumps(found)) < 200_000
    assert len(found["measures"][0]["mean"]) == 60
    assert max(len(curve["lines"]) for curve in found["curves"]) == LINES
    assert any(line["arm"] == 0 for line in found["curves"][0]["lines"])
    assert f"Curves of {LINES} of 60 arms" in found["notes"][0]


def test_text_cannot_end_the_data_and_numbers_must_be_finite() -> None:
    text = as_json({"arm": "</script><script>alert(1)</script> \u2028 & <!--"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text)["arm"].startswith("</script>")
    with pytest.raises(ValueError):
        as_json({"value": math.nan})


def test_the_library_runs_without_eval_and_cannot_close_its_element() -> None:
    library, own = chart_scripts()
    for script in (library, own):
        assert "</script" not in script.lower() and "<!--" not in script
        assert script.startswith("(function () {") and script.rstrip().endswith("})();")
    assert "ast: true" in own
    assert len(library.encode()) < 1_000_000
    assert chart_scripts()[0] == library
    assert policy_hashes([own]).startswith("'sha256-")
