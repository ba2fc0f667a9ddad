"""`lavit plan --why` names the part of the key that makes a stage run again, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from fake_study import CONF, plan_tiny

from experiments.cli import main
from experiments.collect import collect
from experiments.driver import run_jobs
from experiments.errors import LavitError
from experiments.launch import HerePool
from experiments.why import explain, find_run, render_reasons

UNTIL = "study.until=pretrain"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A runs folder in which the pretraining of every arm is done and collected."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        launch = run_jobs(plan_tiny(tmp_path_factory.mktemp("why") / "runs", UNTIL), HerePool(), quiet=True)
    assert launch.ok
    collect(launch.plan)
    return launch.plan.runs_dir


@pytest.fixture
def runs(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "runs"))


def reasons_of(runs, arm, *overrides, seed=None):
    plan = plan_tiny(runs, UNTIL, *overrides)
    run = find_run(plan, arm, seed)
    return {reason.stage: reason for reason in explain(plan, run)}, run


def test_what_is_done_needs_no_reason(made):
    reasons, run = reasons_of(made, "llm=frozen", seed=1)
    assert {reason.state for reason in reasons.values()} == {"done"}
    assert "all 3 stages are done" in render_reasons(run, list(reasons.values()))


def test_a_config_leaf_is_named_with_its_old_and_new_value(made):
    reasons, run = reasons_of(made, "llm=frozen", "+llm.further=7")
    assert reasons["vision"].state == reasons["tokenizer"].state == "done"
    assert reasons["pretrain"].difference.config == {"llm.further": ("(absent)", 7)}
    assert reasons["pretrain"].difference.size == 1
    text = render_reasons(run, list(reasons.values()))
    assert "1 of 3 stages would run" in text
    assert "llm.further: (absent) -> 7" in text


def test_what_comes_from_upstream_is_told_as_a_need_and_explained_there(made):
    reasons, _ = reasons_of(made, "default", "work.steps=3")
    assert reasons["vision"].difference.config == {"work.steps": (2, 3)}
    assert set(reasons["tokenizer"].difference.needs) == {"vision"}
    assert set(reasons["pretrain"].difference.needs) == {"vision", "tokenizer"}


def test_another_seed_is_the_only_difference(made):
    reasons, _ = reasons_of(made, "default", "study.seeds=3", seed=2)
    assert reasons["tokenizer"].origin == "the nearest finished one"
    assert reasons["tokenizer"].difference.seed in ((0, 2), (1, 2))
    assert reasons["tokenizer"].difference.config == {}


def test_changed_code_is_told_by_module(runs):
    """As after an edit: the stage was made by another version of the same module."""
    reasons, _ = reasons_of(runs, "default")
    folder = runs / "store" / "vision" / reasons["vision"].key
    body = yaml.safe_load((folder / "request.yaml").read_text())
    record = json.loads((runs / "store" / "code" / f"{body['code']}.json").read_text())
    record["modules"] |= {"fake_stages": "other", "helper": "x"}
    (runs / "store" / "code" / "0ld.json").write_text(json.dumps(record))
    for code, expected in (("0ld", ["fake_stages changed", "helper gone"]), ("unknown", None)):
        old = runs / "store" / "vision" / f"made-by-{code}"
        shutil.copytree(folder, old)
        (old / "request.yaml").write_text(yaml.safe_dump({**body, "code": code}))
        collected = json.loads((runs / "tiny" / "runs.json").read_text())
        for run in collected["runs"]:
            run["stage_keys"]["vision"] = old.name
        (runs / "tiny" / "runs.json").write_text(json.dumps(collected))
        shutil.rmtree(folder, ignore_errors=True)
        found = reasons_of(runs, "default")[0]["vision"].difference
        assert found.config == found.needs == {}
        assert found.code == expected or "no module list recorded" in found.code[0]
        shutil.copytree(old, folder)


def test_a_folder_that_was_removed_or_cut_off_is_told(runs):
    key = reasons_of(runs, "default")[0]["vision"].key
    (runs / "store" / "vision" / key / "weights.txt").write_text("short")
    assert "removed or altered" in reasons_of(runs, "default")[0]["vision"].notes[0]
    shutil.rmtree(runs / "store" / "vision" / key)
    assert "removed or altered" in reasons_of(runs, "default")[0]["vision"].notes[0]


def test_an_unknown_arm_gets_the_nearest(made):
    with pytest.raises(LavitError, match=r"did you mean 'llm=frozen'"):
        reasons_of(made, "llm=frosen")
    with pytest.raises(LavitError, match="no seed 9"):
        reasons_of(made, "default", seed=9)


def test_the_command_takes_an_arm_a_seed_or_neither(made, capsys):
    plan = ["plan", "--conf", str(CONF), "study=tiny", f"runs={made}", UNTIL]
    assert main([*plan, "--why", "llm=frozen", "seed=1", "+llm.further=7"]) == 0
    assert "llm=frozen · seed 1: 1 of 3 stages would run" in capsys.readouterr().out
    assert main(["plan", "--conf", str(CONF), f"runs={made}", UNTIL, "--json", "--why", "study=tiny"]) == 0
    assert json.loads(capsys.readouterr().out)["arm"] == "default"
    assert main([*plan, "--why", "llm=frozen", "seed=x"]) == 2
