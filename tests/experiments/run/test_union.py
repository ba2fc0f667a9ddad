"""Two studies in one launch: what they share is run once, and each is finished by itself."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
from fake_study import CONF

import experiments.main
from experiments.driver import Launch, run_jobs
from experiments.launch import HerePool
from experiments.union import make_plans, merge


@pytest.fixture
def conf(tmp_path):
    folder = shutil.copytree(CONF, tmp_path / "conf")
    child = "defaults: [tiny, _self_]\ndesign: full\naxes: {llm: null, target: null}\nvoid: []\nseeds: 3\n"
    (folder / "study" / "wide.yaml").write_text(child)
    return folder


def test_what_two_studies_share_is_run_once(conf, tmp_path, attempts):
    asked = ["study=[tiny,wide]", f"runs={tmp_path / 'runs'}", "study.until=pretrain"]
    plans = make_plans(asked, config_dir=conf, count=False)
    launch = run_jobs(merge(plans), HerePool(), quiet=True)
    assert launch.ok
    assert sorted(attempts()) == sorted(launch.plan.jobs)  # each key once
    assert launch.ran < sum(len(plan.jobs) for plan in plans)
    for plan in plans:
        part = Launch.of(plan, launch.outcomes)
        assert part.ok
        assert set(part.outcomes) == set(plan.jobs)
    again = make_plans(asked, config_dir=conf, count=False)
    assert all(not plan.missing for plan in again)


def test_every_study_of_a_launch_is_finished_by_itself(conf, tmp_path, monkeypatch, capsys):
    finished = []
    monkeypatch.setattr(experiments.main, "finish", lambda launch: finished.append(launch) or len(finished) > 1)
    monkeypatch.setattr(experiments.main, "config_source", lambda hydra: conf)

    class BatchLauncher:
        def launch(self, overrides, initial_job_idx):
            from experiments.job import run_stage

            for (text,) in overrides:
                run_stage(text.removeprefix("++job=").strip("'"))

    asked = ["study=[tiny,wide]", f"runs={tmp_path / 'runs'}", "study.until=pretrain", "study.seeds=1"]
    with pytest.raises(SystemExit):  # the first report was not built, the second was
        experiments.main.run_study(asked, SimpleNamespace(hydra=None), BatchLauncher())
    assert [launch.plan.study.name for launch in finished] == ["tiny", "wide"]
    assert all(launch.ok for launch in finished)
