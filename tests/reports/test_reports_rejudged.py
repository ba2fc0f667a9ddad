"""The table of a study that another pixel decoder judged again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from reports.rejudged import rejudged_table
from reports.render.console import render_console
from reports.render.csv import render_csv


def write_rejudged(folder: Path, gain: float) -> None:
    """Two arms that draw, one that does not; with the new decoder ``gain`` more of the drawings are right."""
    (folder / "records").mkdir()
    study = {
        "name": "again",
        "axes": {"target": ["discrete", "continuous"], "regime": ["unified", "adapter"]},
        "arms": {"default": {}, "target=continuous": {"target": "continuous"}, "regime=adapter": {"regime": "adapter"}},
        "default": "default",
        "headline": "t2i/exact",
        "seeds": [0, 1],
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    for arm in ("default", "target=continuous"):
        for seed in (0, 1):
            rng = np.random.default_rng(10 * seed + (arm == "default"))
            rows = []
            for control, count in (("", 200), ("ceiling", 50)):
                for number in range(count):
                    before = float(rng.random() < 0.5)
                    score = 1.0 if rng.random() < 2 * gain else before
                    aux = {"objects": score, "before_exact": before, "before_objects": before}
                    rows.append(
                        {
                            "study": "again", "arm": arm, "seed": seed, "benchmark": "t2i", "metric": "exact",
                            "control": control, "split": "test", "example_id": f"test-{number}",
                            "cluster_id": f"test-{number}", "kind": "", "prompt": "", "prediction": "",
                            "reference": "[]", "score": score, "aux": json.dumps(aux), "tokens": 4,
                        }
                    )  # fmt: skip
            pd.DataFrame(rows).to_parquet(folder / "records" / f"{arm}-s{seed}.parquet")


def test_the_new_decoder_stands_beside_the_old_one(tmp_path: Path) -> None:
    write_rejudged(tmp_path, gain=0.2)
    table = rejudged_table(tmp_path, "unet")
    assert [row.key for row in table.rows] == ["default", "target=continuous"], "an arm that draws nothing has no row"
    for row in table.rows:
        now, before, change = (row.cells[f"t2i/exact.{key}"] for key in ("now", "before", "change"))
        assert now.mean is not None and before.mean is not None and change.interval is not None
        assert change.mean == pytest.approx(now.mean - before.mean)
        assert change.interval.low < 0.2 < change.interval.high
        assert row.cells["t2i/exact.ceiling"].mean != row.cells["t2i/exact.ceiling.before"].mean
        assert row.cells["t2i/objects.now"].mean == now.mean
    assert "t2i/exact.change.low" in render_csv(table).splitlines()[0]
    console = render_console(table)
    assert "again: drawings judged again with pixels=unet" in console
    assert "difference to the default" not in console, "nothing here is compared with the default"


def test_the_same_decoder_changes_nothing(tmp_path: Path) -> None:
    write_rejudged(tmp_path, gain=0.0)
    for row in rejudged_table(tmp_path, "patch").rows:
        assert row.cells["t2i/exact.change"].mean == 0
