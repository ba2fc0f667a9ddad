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
from reports.budget import at_equal_flops
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


def test_a_branch_is_compared_like_any_run_and_stands_in_no_table(folder: Path) -> None:
    study = yaml.safe_load((folder / "study.yaml").read_text())
    branch = "default · branch at step 20"
    records = sorted((folder / "records").glob("default-s*.parquet"))
    for path in records:  # the default's trunk, cooled down early: a little worse than at its end
        rows = pd.read_parquet(path)
        own = (rows["benchmark"] == "caption") & (rows["control"] == "")
        rows.loc[own, "score"] -= 0.25
        rows.assign(arm=branch).to_parquet(path.with_name(path.name.replace("default-", "branch-")))
    runs = json.loads((folder / "runs.json").read_text())
    twins = [run | {"arm": branch} for run in runs["runs"] if run["arm"] == "default"]
    runs["runs"] += twins
    (folder / "runs.json").write_text(json.dumps(runs))
    plain = [c for c in _report(folder, study)["contrasts"] if c["kind"] == "arm" and c["benchmark"] == "caption"]
    study["arms"][branch] = dict(study["arms"]["default"])
    study["also"] = {branch: ["cooldown.at=20"]}
    entry = {"arm": branch, "of": "default", "against": "llm=frozen", "at": 20, "by": "train_flops"}
    study["match"] = {"by": "train_flops", "to": "default", "how": "branch", "branches": [entry]}
    found = _report(folder, study)
    matched = [c for c in found["contrasts"] if c["kind"] == "matched"]
    (only,) = matched
    (own,) = (c for c in plain if c["arm"] == "llm=frozen")
    assert (only["arm"], only["on_the_way"], only["interpolated"]) == ("llm=frozen", "default", False)
    assert only["estimate"] == pytest.approx(own["estimate"] + 0.25), "against the branch, not against the end"
    assert only["scope"] == "seeds and examples"
    assert {arm["arm"] for arm in found["arms"]} == set(study["arms"]) - {branch}
    assert own in found["contrasts"], "a branch is no member of the family"
    table = (folder / "tables" / "main.csv").read_text()
    assert "equal_budget.train_flops" in table and branch not in table


def _report(folder: Path, study: dict[str, object]) -> dict:
    hidden = study.get("match") is None
    (folder / "study.yaml").write_text(yaml.safe_dump(study, allow_unicode=True))
    aside = folder.parent / "aside"
    if hidden:  # the branch's files belong to no arm yet
        aside.mkdir()
        runs = json.loads((folder / "runs.json").read_text())
        for path in (folder / "records").glob("branch-*"):
            path.rename(aside / path.name)
        kept = [run for run in runs["runs"] if run["arm"] in study["arms"]]  # type: ignore[operator]
        (folder / "runs.json").write_text(json.dumps(runs | {"runs": kept}))
        build(folder)
        for path in aside.iterdir():
            path.rename(folder / "records" / path.name)
        (folder / "runs.json").write_text(json.dumps(runs))
    else:
        build(folder)
    return json.loads((folder / "report.json").read_text())


def test_a_score_that_training_noted_too_is_one_curve(folder: Path) -> None:
    path = folder / "curves.parquet"
    curves = pd.read_parquet(path)
    plain = at_equal_flops(load(folder), "val/caption/CIDEr")
    pd.concat([curves, curves.assign(stage="evaluate")]).to_parquet(path)
    assert at_equal_flops(load(folder), "val/caption/CIDEr") == plain
