"""Several studies at once: each as it is by itself, what they share once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.cli import main
from experiments.errors import LavitError
from experiments.plan import Plan, make_plan
from experiments.union import make_plans, merge, render_union, shared_jobs, study_names


def plans_of(conf: Path, *overrides: str, **options: Any) -> list[Plan]:
    return make_plans(overrides, config_dir=conf, runs_dir=conf.parent / "runs", count=False, **options)


def test_each_study_is_what_it_is_by_itself(shared_conf: Path) -> None:
    together = plans_of(shared_conf, "study=[quickstart,lavit_paper]", "scale=smoke", "study.seeds=2")
    for plan, name in zip(together, ["quickstart", "lavit_paper"], strict=True):
        alone = make_plan(
            [f"study={name}", "scale=smoke", "study.seeds=2"],
            runs_dir=shared_conf.parent / "runs",
            config_dir=shared_conf,
            count=False,
        )
        assert plan.to_dict() == alone.to_dict()


def test_shared_stages_are_one_job(shared_conf: Path) -> None:
    plans = plans_of(shared_conf, "study=[quickstart,lavit_paper]", "study.seeds=1")
    whole = merge(plans)
    assert set(whole.jobs) == {identity for plan in plans for identity in plan.jobs}
    assert len(whole.runs) == 5 + 12
    assert shared_jobs(plans)["language"] == 1
    position = {identity: place for place, identity in enumerate(whole.jobs)}
    for identity, job in whole.jobs.items():
        assert all(position[need] < position[identity] for need in job.needs.items())
        assert len(job.runs) == sum(len(plan.jobs[identity].runs) for plan in plans if identity in plan.jobs)
    assert {name.partition(":")[0] for job in whole.jobs.values() for name in job.arms} == {"quickstart", "lavit_paper"}
    assert all(job.runs and all(":" not in arm for arm in job.arms) for plan in plans for job in plan.jobs.values())


def test_studies_that_stop_at_different_stages_are_one_graph(conf: Path) -> None:
    (conf / "study" / "short.yaml").write_text("defaults: [quickstart, _self_]\nuntil: tokenizer\n")
    plans = plans_of(conf, "study=[short,quickstart]", "study.seeds=1")
    whole = merge(plans)
    assert whole.stages.index("tokenizer") < whole.stages.index("pretrain")
    assert set(whole.stages) == {stage for plan in plans for stage in plan.stages}
    assert "inspect" in plans[0].stages
    assert "inspect" not in plans[1].stages


def test_the_union_says_what_it_saves(shared_conf: Path) -> None:
    plans = plans_of(shared_conf, "study=[quickstart,lavit_paper]", "study.seeds=1")
    text = render_union(plans)
    saved = sum(len(plan.jobs) for plan in plans) - len(merge(plans).jobs)
    assert f"{saved} of {sum(len(plan.jobs) for plan in plans)} jobs are saved" in text
    assert text.count("question") == 2
    assert max(map(len, text.splitlines())) <= 100


def test_one_study_in_brackets_is_that_study(shared_conf: Path) -> None:
    plans = plans_of(shared_conf, "study=[quickstart]")
    assert merge(plans) is plans[0]
    assert render_union(plans) == plans[0].render()


@pytest.mark.parametrize("text", ["study=[a,b]", "study=a,b", "study=['a','b']"])
def test_how_studies_are_named(text: str) -> None:
    assert study_names([text, "scale=smoke"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["study=[quickstart,quickstart]"], ["'quickstart' is there twice"]),
        (["study=[quickstart,quickstrat]"], ["'quickstrat'", "did you mean 'quickstart'"]),
        (["study=[]"], ["names no studies"]),
        (["study=[quickstart,lavit_paper]", "study.name=x"], ["would both lie in runs/x"]),
    ],
)
def test_a_bad_union_is_refused(overrides: list[str], words: list[str], shared_conf: Path) -> None:
    with pytest.raises(LavitError) as caught:
        plans_of(shared_conf, *overrides)
    assert all(word in str(caught.value) for word in words), caught.value


def test_the_command_line_takes_several_studies(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.planner.add_counts", lambda *_: None)
    both = ["study=[quickstart,lavit_paper]", "--conf", str(conf), f"runs={tmp_path / 'runs'}", "study.seeds=1"]
    assert main(["plan", *both, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [plan["study"]["name"] for plan in document["studies"]] == ["quickstart", "lavit_paper"]
    assert document["together"]["jobs"] < sum(len(plan["jobs"]) for plan in document["studies"])
    assert main(["status", *both]) == 0
    assert "quickstart: 5 missing runs" in (out := capsys.readouterr().out)
    assert "lavit_paper: 12 missing runs" in out
    assert main(["ui", *both]) == 2
    assert "one study at a time" in capsys.readouterr().err
