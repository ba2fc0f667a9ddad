"""Loading: what is refused loudly, and what an unfinished study still gives."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from synthetic_study import write_study

from experiments.errors import LavitError
from reports.comparisons import matched_pairs
from reports.frame import load
from reports.results import analyse


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small study that a test may break."""
    return write_study(tmp_path / "study", images=12, pictures=0, foreign=True)


def rewrite(folder: Path, name: str, change) -> None:  # type: ignore[no-untyped-def]
    path = folder / "records" / name
    change(pd.read_parquet(path)).to_parquet(path, index=False)


def edit(folder: Path, **changes: object) -> None:
    path = folder / "study.yaml"
    document = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({k: v for k, v in document.items() if v is not None}, sort_keys=False))


def test_the_minimal_contract_is_enough(small: Path) -> None:
    frame = load(small)
    assert frame.seeds == [0, 1, 2]
    assert len(frame.runs) == 15
    assert set(frame.records["metric"]) == {"score"}
    results = analyse(frame)
    assert results.headline is not None
    assert results.headline.label == "caption/score"
    assert results.effects.arm(results.headline, "llm=frozen").verdict == "hurts"  # type: ignore[union-attr]


def test_scores_that_are_not_finite(small: Path) -> None:
    rewrite(small, "default-s1.parquet", lambda r: r.assign(score=[float("nan"), *r["score"][1:]]))
    with pytest.raises(LavitError, match=r"1 score is not finite.*'default'.*seed 1"):
        load(small)


def test_duplicate_records(small: Path) -> None:
    rewrite(small, "default-s1.parquet", lambda r: pd.concat([r, r.head(2)]))
    with pytest.raises(LavitError, match=r"2 record\(s\) occur twice.*'default'"):
        load(small)


def test_unequal_examples_name_the_arm(small: Path) -> None:
    rewrite(small, "llm-frozen-s2.parquet", lambda r: r[r["example_id"] != "q3-1"])
    with pytest.raises(LavitError, match=r"vqa.*'llm=frozen' seed 2 has 35 and lacks 'q3-1'"):
        load(small)


def test_a_missing_column_names_the_file(small: Path) -> None:
    rewrite(small, "default-s0.parquet", lambda r: r.drop(columns=["cluster_id"]))
    with pytest.raises(LavitError, match=r"default-s0.parquet lacks the column cluster_id"):
        load(small)


def test_an_unknown_arm_gets_the_nearest_name(small: Path) -> None:
    rewrite(small, "llm-frozen-s0.parquet", lambda r: r.assign(arm="llm=frosen"))
    with pytest.raises(LavitError, match="did you mean 'llm=frozen'"):
        load(small)


def test_records_of_another_study(small: Path) -> None:
    rewrite(small, "default-s0.parquet", lambda r: r.assign(study="other"))
    with pytest.raises(LavitError, match="'other'"):
        load(small)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"default": "defualt"}, "did you mean 'default'"),
        ({"arms": None}, "lacks the key 'arms'"),
        ({"family": ["llm=frozn"]}, "family names 'llm=frozn'"),
        ({"margin": -1}, "margin is '-1'"),
        ({"axes": {"llm": []}}, "axis 'llm' has no levels"),
        ({"arms": {"default": {"llm": "liquid"}}}, "no level of it"),
    ],
)
def test_a_wrong_study_file(small: Path, changes: dict[str, object], message: str) -> None:
    edit(small, **changes)
    with pytest.raises(LavitError, match=message):
        load(small)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(LavitError, match="no study file"):
        load(tmp_path)


def test_one_seed_says_so(small: Path) -> None:
    for path in (small / "records").glob("*-s[12].parquet"):
        path.unlink()
    frame = load(small)
    assert any("One seed per arm" in note for note in frame.notes)
    results = analyse(frame)
    effect = results.effects.arm(results.headline, "llm=frozen")  # type: ignore[arg-type]
    assert effect is not None
    assert effect.verdict == "one seed"
    assert effect.contrast.scope == "this training run only"
    assert not effect.contrast.significant


def test_a_half_finished_study(study_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(study_folder, folder)
    for name in ("llm-frozen-s0", "llm-frozen-s1", "llm-frozen-s2", "tokens-pooled-s2"):
        (folder / "records" / f"{name}.parquet").unlink()
    frame = load(folder)
    assert "11 of 15 runs are finished" in frame.notes[0]
    assert any("llm=frozen has no finished run" in note for note in frame.notes)
    results = analyse(frame)
    assert results.effects.arm(results.headline, "tokens=pooled").contrast.n_seeds == 2  # type: ignore
    assert results.effects.arm(results.headline, "llm=frozen").verdict == "not estimable"  # type: ignore


def test_a_nested_axis_has_no_level_where_its_condition_does_not_hold(small: Path) -> None:
    raw = yaml.safe_load((small / "study.yaml").read_text(encoding="utf-8"))
    arms = {name: dict(levels) for name, levels in raw["arms"].items()}
    del arms["regime=adapter"]["target"]
    edit(small, arms=arms, only_if={"target": {"regime": ["unified"]}}, void=[])
    study = load(small).study
    assert study.level("regime=adapter", "target") is None
    assert study.void_reason("regime=adapter", "target") == "target has levels only where regime=unified"
    assert study.differences("regime=adapter", "default") == ["regime"]
    assert study.differences("regime=adapter", "target=continuous") == ["regime", "target"]
    assert matched_pairs(study, "regime", "adapter") == [("regime=adapter", "default")]


def test_an_arm_with_further_overrides_is_in_no_pair(small: Path) -> None:
    edit(small, also={"llm=frozen": ["train.steps=7"]})
    study = load(small).study
    assert matched_pairs(study, "llm", "frozen") == []
    assert matched_pairs(study, "regime", "adapter") == [("regime=adapter", "default")]


def test_a_void_rule_leaves_its_last_axis_without_a_level(small: Path) -> None:
    why = "an adapter has no visual loss"
    edit(small, void=[{"when": {"regime": ["adapter"], "target": "continuous"}, "why": why}])
    study = load(small).study
    assert study.level("regime=adapter", "target") is None
    assert study.void_reason("regime=adapter", "target") == why
    assert study.removed == []  # a rule is not an arm that was left out
    assert study.level("target=continuous", "regime") == "unified"
    assert study.differences("regime=adapter", "default") == ["regime"]
