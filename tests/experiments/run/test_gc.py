"""`lavit gc` removes what no study needs, never what somebody needs, uses or works on, and never without asking."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from fake_study import CONF

from experiments.cli import main
from experiments.cli.gc import age, seconds, size
from experiments.errors import LavitError
from experiments.gc import remove, survey
from experiments.job import run_stage
from experiments.lease import Lease
from experiments.store import Store

OLD_S = 30 * 86400.0


def make(store, job):
    run_stage(store.write_request(job.request()))


def make_old(store, *identities):
    for stage, key in identities:
        for path in [*store.folder(stage, key).rglob("*"), store.folder(stage, key)]:
            os.utime(path, (time.time() - OLD_S, time.time() - OLD_S))


@pytest.fixture
def filled(store, graph):
    """Two branches, a and b, all finished long ago; a study folder names branch a."""
    for job in graph().values():
        make(store, job)
    make_old(store, *graph())
    study = store.runs / "mine"
    study.mkdir()
    keys = {"vision": "v", "tokenizer": "ta", "pretrain": "pa", "evaluate": "ea"}
    (study / "runs.json").write_text(json.dumps({"runs": [{"arm": "a", "stage_keys": keys}]}))
    return store


def identities(found):
    return {(item.stage, item.key) for item in found.garbage}


BRANCH_B = {("tokenizer", "tb"), ("pretrain", "pb"), ("evaluate", "eb")}


def test_what_no_study_names_is_found_and_what_it_shares_is_kept(filled):
    found = survey(filled)
    assert identities(found) == BRANCH_B
    assert set(found.kept) == {("vision", "v"), ("tokenizer", "ta"), ("pretrain", "pa"), ("evaluate", "ea")}
    assert found.bytes == sum(item.bytes for item in found.garbage) > 0
    assert {item.why for item in found.garbage} == {"no study names it"}


def test_what_is_planned_or_young_keeps_all_that_it_needs(filled):
    assert identities(survey(filled, planned=[("evaluate", "eb")])) == set()
    os.utime(filled.folder("pretrain", "pb") / "DONE.json")
    found = survey(filled)
    assert identities(found) == {("evaluate", "eb")}
    assert found.young == [("pretrain", "pb")]
    assert identities(survey(filled, older_than_s=0.0)) == BRANCH_B


def test_a_frozen_plan_and_a_second_judging_keep_what_they_name(filled):
    plan = {"jobs": [{"stage": "pretrain", "key": "pb"}], "runs": [], "arms": ["a"]}
    (filled.runs / "mine" / "plan.json").write_text(json.dumps(plan))
    assert identities(survey(filled)) == {("evaluate", "eb")}
    frozen = {"arms": {"b": {"levels": {}, "keys": {"0": {"vision": "v", "pretrain": "pb"}}}}}
    (filled.runs / "mine" / "plan.json").unlink()
    (filled.runs / "mine" / "plan.frozen.json").write_text(json.dumps(frozen))
    assert identities(survey(filled)) == {("evaluate", "eb")}
    judged = filled.runs / "mine" / "rejudged" / "unet" / "a-s0"
    judged.mkdir(parents=True)
    (judged / "judged.json").write_text(json.dumps({"evaluate": "eb"}))
    assert identities(survey(filled)) == set()


def test_what_somebody_works_on_is_never_touched(filled, make_job):
    make(filled, make_job("tokenizer", "tc", {"vision": "v"}))
    item = next(item for item in survey(filled, older_than_s=0.0).garbage if item.key == "tc")
    with Lease(filled.folder("tokenizer", "tc")):
        assert survey(filled, older_than_s=0.0).busy == [("tokenizer", "tc")]
        assert not remove(filled, item)
    assert filled.is_done("tokenizer", "tc")
    assert not remove(filled, item, older_than_s=60.0), "used since the survey"
    assert remove(filled, item)
    assert not filled.folder("tokenizer", "tc").exists()


def test_a_removal_that_is_interrupted_leaves_nothing_that_counts(filled, monkeypatch):
    (filled.folder("evaluate", "eb") / "samples").mkdir()

    def fail(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", fail)
    item = next(item for item in survey(filled).garbage if item.stage == "evaluate")
    with pytest.raises(KeyboardInterrupt):
        remove(filled, item)
    monkeypatch.undo()
    assert not filled.is_done("evaluate", "eb")
    assert not (filled.folder("evaluate", "eb") / "LEASE.json").exists()
    assert remove(filled, item)


def test_unfinished_and_failed_folders_go_once_they_are_old(filled, make_job):
    for key, how in (("half", ""), ("bad", "raise")):
        filled.write_request(make_job("vision", key, how=how).request())
    with pytest.raises(ValueError, match="not a number"):
        run_stage(filled.folder("vision", "bad") / "request.yaml")
    assert ("vision", "bad") in survey(filled).young
    make_old(filled, ("vision", "bad"), ("vision", "half"))
    whys = {item.key: item.why for item in survey(filled).garbage if item.stage == "vision"}
    assert whys == {"bad": "failed (ValueError) and no study names it", "half": "unfinished and no study names it"}


def test_the_command_asks_and_does_nothing_unasked(filled, monkeypatch, capsys):
    command = ["gc", "--conf", str(CONF), f"runs={filled.runs}"]
    assert main(command) == 2
    assert "nobody to ask" in capsys.readouterr().err
    assert main([*command, "--dry-run"]) == 0
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "")
    assert main(command) == 0
    assert "nothing was removed" in capsys.readouterr().out
    assert all(filled.is_done(*identity) for identity in BRANCH_B)
    assert main([*command, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["garbage"]) == 3
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert main(command) == 0
    assert "3 stages removed" in capsys.readouterr().out
    assert not any(filled.folder(*identity).exists() for identity in BRANCH_B)
    assert filled.is_done("vision", "v")
    assert main([*command, "--yes"]) == 0


def test_a_study_on_the_command_line_keeps_its_stages(plan, capsys, tmp_path):
    from experiments.driver import run_jobs
    from experiments.launch import HerePool

    wanted = plan("study.until=tokenizer")
    run_jobs(wanted, HerePool(), quiet=True)
    command = ["gc", "--conf", str(CONF), f"runs={wanted.runs_dir}", "--older-than", "0d", "--dry-run"]
    assert main([*command, "study=tiny", "study.until=tokenizer"]) == 0
    assert capsys.readouterr().out.startswith("0 stages")
    assert main(command) == 0
    assert f"{len(wanted.jobs)} stages" in capsys.readouterr().out


def test_a_launch_marks_what_it_builds_on_as_used(plan):
    from experiments.driver import run_jobs
    from experiments.launch import HerePool

    wanted = plan("study.until=vision")
    run_jobs(wanted, HerePool(), quiet=True)
    store = Store(wanted.runs_dir)
    (identity,) = wanted.jobs
    make_old(store, identity)
    run_jobs(wanted, HerePool(), quiet=True)
    assert time.time() - (Path(store.folder(*identity)) / "DONE.json").stat().st_mtime < 60


def test_ages_and_sizes():
    assert [seconds("7d"), seconds("12h"), seconds("0d")] == [604800, 43200, 0]
    with pytest.raises(LavitError, match="not an age"):
        seconds("soon")
    assert [size(n) for n in (0, 999, 1000, 999_949, 1_500_000, 3.2e9, 5e12)] == [
        "0 B", "999 B", "1.0 kB", "999.9 kB", "1.5 MB", "3.2 GB", "5000.0 GB",
    ]  # fmt: skip
    assert [age(s) for s in (120, 7200, 3 * 86400)] == ["2 m", "2 h", "3 d"]
