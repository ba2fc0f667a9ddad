"""Equal budgets by interpolation: what is read where, over which seeds, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from synthetic_study import write_study

from experiments.errors import LavitError
from reports.frame import load
from reports.report import build
from reports.results import analyse


def curves_of(folder: Path, slope: dict[str, float], ends: dict[str, float]) -> None:
    """Straight validation curves: an arm gains its slope for each FLOP, plus a seed's luck."""
    study = yaml.safe_load((folder / "study.yaml").read_text())
    rows = []
    for arm in study["arms"]:
        for seed in range(3):
            for part in range(6):
                flops = ends.get(arm, 100.0) * part / 5
                value = slope.get(arm, 0.02) * flops + 0.01 * np.sin(7 * seed + len(arm))
                rows.append((arm, seed, "pretrain", 10 * part, flops, "val/caption/CIDEr", value))
    names = ["arm", "seed", "stage", "step", "flops", "name", "value"]
    pd.DataFrame(rows, columns=names).to_parquet(folder / "curves.parquet")


def declare(folder: Path, match: object) -> None:
    document = yaml.safe_load((folder / "study.yaml").read_text()) | {"match": match}
    (folder / "study.yaml").write_text(yaml.safe_dump(document))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = write_study(tmp_path / "study", images=12, pictures=0)
    curves_of(made, {"llm=frozen": 0.03}, {"llm=frozen": 50.0, "tokens=pooled": 200.0})
    return made


def test_curves_are_read_at_the_smaller_budget(folder: Path) -> None:
    declare(folder, {"by": "train_flops", "to": "default", "how": "curve"})
    build(folder)
    document = json.loads((folder / "report.json").read_text())
    found = {c["arm"]: c for c in document["contrasts"] if c["kind"] == "matched"}
    assert set(found) == {"llm=frozen", "tokens=pooled"}  # the others had the default's budget
    frozen, pooled = found["llm=frozen"], found["tokens=pooled"]
    assert frozen["estimate"] == pytest.approx(0.03 * 50 - 0.02 * 50, abs=0.02)
    assert pooled["estimate"] == pytest.approx(0, abs=0.02)
    assert (frozen["budget"], frozen["on_the_way"]) == (50, "default")
    assert (pooled["budget"], pooled["on_the_way"]) == (100, "tokens=pooled")
    assert frozen["low"] < frozen["estimate"] < frozen["high"]
    assert (frozen["scope"], frozen["n_seeds"], frozen["verdict"]) == ("seeds", 3, "helps")
    assert (frozen["interpolated"], frozen["family"], frozen["against"]) == (True, "exploratory", "default")
    assert {c["arm"]: c["n_seeds"] for c in document["equal_flops"]["contrasts"]}["llm=frozen"] == 3
    results = analyse(load(folder))
    from reports.findings import find

    lines = [line for finding in find(results) for line in finding.lines]
    assert any("matched to default" in line and "‡" in line and "[" in line for line in lines)
    assert any("At equal FLOPs" in line and "over seeds alone" in line for line in lines)


def test_positions_grow_with_the_steps(folder: Path) -> None:
    declare(folder, {"by": "positions"})
    runs = json.loads((folder / "runs.json").read_text())
    for run in runs["runs"]:
        run["ledgers"]["pretrain"]["positions"] = {"llm=frozen": 500}.get(run["arm"], 1000)
    (folder / "runs.json").write_text(json.dumps(runs))
    (found,) = analyse(load(folder)).matched
    assert (found.effect.subject, found.budget, found.ratio) == ("llm=frozen", 500, 0.5)
    assert found.effect.contrast.estimate == pytest.approx(0.03 * 50 - 0.02 * 50, abs=0.02)


def test_nothing_is_matched_unasked(folder: Path) -> None:
    assert analyse(load(folder)).matched == []


@pytest.mark.parametrize(
    ("match", "why"),
    [({"by": "hours"}, "'hours'"), ({"by": "train_flops", "to": "frozen"}, "no arm 'frozen'"), ("flops", "'flops'")],
)
def test_a_match_that_means_nothing_is_refused(folder: Path, match: object, why: str) -> None:
    declare(folder, match)
    with pytest.raises(LavitError, match=why):
        _ = analyse(load(folder)).matched
