"""Plans: what is shared, what a key depends on, what another seed or level adds, what is refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments import planner as planner_module
from experiments.errors import LavitError
from experiments.plan import Plan, single_arm_plan

Plans = Callable[..., Plan]


def jobs_of(plan: Plan) -> dict[str, int]:
    return dict(Counter(job.stage for job in plan.jobs.values()))


def test_quickstart_is_five_arms_with_shared_stages(plan: Plans) -> None:
    found = plan("study=quickstart")
    assert list(found.arms) == ["default", "regime=adapter", "tokens=pooled", "target=continuous", "llm=frozen"]
    assert len(found.runs) == 15
    assert jobs_of(found) == {
        "vision": 1, "language": 1, "tokenizer": 6, "pixels": 1, "pretrain": 15, "cooldown": 15, "evaluate": 15,
    }  # fmt: skip


def test_lavit_paper_is_the_factorial_without_voids(plan: Plans) -> None:
    found = plan("study=lavit_paper")
    assert len(found.arms) == 12
    assert len(found.runs) == 36
    assert [len(removed.arms) for removed in found.design.removed] == [4]
    assert jobs_of(found)["tokenizer"] == 6
    assert found.alternatives
    assert (found.alternatives[0].design, found.alternatives[0].arms) == ("one_at_a_time", 5)


def test_a_run_uses_the_tokenizer_of_its_own_seed(plan: Plans) -> None:
    found = plan("study=quickstart")
    tokenizers = {(run.arm, run.seed): run.stage_keys["tokenizer"] for run in found.runs}
    assert tokenizers["default", 0] == tokenizers["llm=frozen", 0] != tokenizers["default", 1]
    assert tokenizers["default", 0] != tokenizers["tokens=pooled", 0]
    assert all(job.seed == 0 for job in found.jobs.values() if job.stage in ("vision", "language", "pixels"))


def test_jobs_come_after_what_they_need(plan: Plans) -> None:
    found = plan("study=quickstart")
    seen: set[tuple[str, str]] = set()
    for identity, job in found.jobs.items():
        assert set(job.needs.items()) <= seen
        seen.add(identity)
    waves = found.topological_waves()
    assert sum(map(len, waves)) == len(found.jobs)
    assert {job.stage for job in waves[0]} == {"vision", "language"}
    for wave in waves:
        keys = {(job.stage, job.key) for job in wave}
        assert not any(need in keys for job in wave for need in job.needs.items())


def test_a_job_holds_only_what_its_stage_reads(plan: Plans) -> None:
    found = plan("study=quickstart")
    for job in found.jobs.values():
        allowed = set(found.runs[0].config["stages"][job.stage]["reads"])
        assert set(job.config) <= allowed
    adapter = next(job for job in found.jobs.values() if job.stage == "pretrain" and "regime=adapter" in job.arms)
    assert "target" not in adapter.config
    assert adapter.config["regime"]["name"] == "adapter"


def test_a_void_arm_and_its_twin_are_one_run(shared_conf: Path, tmp_path: Path) -> None:
    keys = [
        single_arm_plan(["regime=adapter", f"target={target}"], tmp_path, config_dir=shared_conf).runs[0].stage_keys
        for target in ("discrete", "continuous")
    ]
    assert keys[0] == keys[1]


def test_one_run_alone_has_the_keys_that_it_has_in_the_study(plan: Plans, shared_conf: Path, tmp_path: Path) -> None:
    for overrides in (
        ["scale=smoke", "train.steps=9"],
        ["study.until=tokenizer"],
        ["study.also=['train.batch_size=3']"],
    ):
        found = plan("study=quickstart", *overrides)
        for run in found.runs[::4]:
            alone = single_arm_plan(run.overrides, tmp_path, config_dir=shared_conf)
            assert alone.runs[0].stage_keys == run.stage_keys
            assert alone.runs[0].config == run.config
            assert run.command.startswith("lavit train ")


def test_another_seed_or_level_adds_jobs_and_changes_none(plan: Plans) -> None:
    before = plan("study=quickstart")
    more_seeds = plan("study=quickstart", "study.seeds=4")
    assert set(before.jobs) < set(more_seeds.jobs)
    assert len(more_seeds.jobs) - len(before.jobs) == 2 + 5 * 3
    more_levels = plan("study=quickstart", "study.axes.tokens=[dynamic,pooled,fixed]")
    assert set(before.jobs) < set(more_levels.jobs)
    more_axes = plan("study=quickstart", "study.axes.lr={key: optimizer.lr, levels: [1e-3, 1e-4]}")
    assert set(before.jobs) < set(more_axes.jobs)
    assert set(before.arms) < set(more_axes.arms)


def test_two_studies_share_what_is_the_same(plan: Plans) -> None:
    quick, paper = plan("study=quickstart"), plan("study=lavit_paper")
    shared = {run.arm for run in quick.runs} & {run.arm for run in paper.runs}
    assert shared == {"default", "regime=adapter", "target=continuous", "llm=frozen"}
    for arm in shared:
        keys = [[run.stage_keys for run in p.runs if run.arm == arm] for p in (quick, paper)]
        assert keys[0] == keys[1]


def test_incidental_keys_change_no_key(plan: Plans) -> None:
    before, after = plan("study=quickstart"), plan("study=quickstart", "train.workers=4")
    assert set(before.jobs) == set(after.jobs)
    assert next(job for job in after.jobs.values() if job.stage == "pretrain").config["train"]["workers"] == 4


def test_what_is_read_changes_the_keys_downstream_only(plan: Plans) -> None:
    before, after = (plan("study=quickstart", *more).runs[0].stage_keys for more in ([], ["train.steps=7"]))
    assert {stage for stage in before if before[stage] != after[stage]} == {"pretrain", "cooldown", "evaluate"}


def test_a_value_that_follows_the_seed_follows_it(plan: Plans) -> None:
    found = plan("study=quickstart", "data.split_key='part${seed}'")
    assert jobs_of(found)["vision"] == 3
    assert {run.config["data"]["split_key"] for run in found.runs} == {"part0", "part1", "part2"}


def test_what_is_done_is_asked(plan: Plans) -> None:
    found = plan("study=quickstart", is_done=lambda stage, key: stage in ("vision", "tokenizer"))
    assert len(found.missing) == len(found.jobs) - 7
    assert found.seconds(left=True) == found.seconds() - 2 - 6 * 3  # type: ignore[operator]
    assert {s.stage: s.done for s in found.stage_summaries()}["tokenizer"] == 6


def test_the_store_is_asked_by_default(plan: Plans, tmp_path: Path) -> None:
    vision = plan("study=quickstart").runs[0].stage_keys["vision"]
    folder = tmp_path / "runs" / "store" / "vision" / vision
    folder.mkdir(parents=True)
    (folder / "DONE.json").write_text(json.dumps({"stage": "vision", "key": vision, "files": {}, "wall_s": 1.0}))
    assert [job.stage for job in plan("study=quickstart").jobs.values() if job.done] == ["vision"]


def test_until_cuts_the_graph(plan: Plans) -> None:
    found = plan("study=quickstart", "study.until=vision", "study.design=arms", "study.arms={default: {}}")
    assert found.stages == ["vision"]
    assert found.records_stage is None
    assert "there is no report" in " ".join(found.render().split())
    assert found.runs[0].command.endswith("study.until=vision")


def test_a_closing_stage_runs_where_a_study_stops_and_nowhere_else(plan: Plans) -> None:
    whole = plan("study=quickstart")
    assert whole.records_stage == "evaluate"
    assert not any(job.stage == "inspect" for job in whole.jobs.values())
    found = plan("study=quickstart", "study.until=tokenizer")
    assert found.stages == ["vision", "tokenizer", "pixels", "inspect"]
    assert found.records_stage == "inspect"
    assert jobs_of(found) == {"vision": 1, "pixels": 1, "tokenizer": 6, "inspect": 6}
    shared = {identity for identity in found.jobs if identity[0] != "inspect"}
    assert shared <= set(whole.jobs), "what both need has one key"
    assert "smallest effects found" in " ".join(found.render().split()), "records can be compared"


def test_declaring_a_closing_stage_changes_no_key(plan: Plans) -> None:
    assert set(plan("study=quickstart", "~stages.inspect").jobs) == set(plan("study=quickstart").jobs)
    stopped = set(plan("study=quickstart", "study.until=tokenizer").jobs)
    without = set(plan("study=quickstart", "study.until=tokenizer", "~stages.inspect").jobs)
    assert {stage for stage, _ in stopped - without} == {"inspect", "pixels"}
    assert without <= stopped


def test_arms_that_only_later_stages_tell_apart_are_void_where_a_study_stops(plan: Plans) -> None:
    found = plan("study=quickstart", "study.until=tokenizer")
    assert list(found.arms) == ["default", "tokens=pooled"]
    assert found.effects[0].comparisons == 1
    reasons = {removed.void.describe(): removed.void.why for removed in found.design.removed}
    assert set(reasons) == {"regime=adapter", "target=continuous", "llm=frozen"}
    assert all("the study stops at the stage tokenizer" in why for why in reasons.values())
    factorial = plan("study=lavit_paper", "study.until=tokenizer")
    assert list(factorial.arms) == ["default", "tokens=fixed"]
    assert sum(len(removed.arms) for removed in factorial.design.removed) == 16 - 2
    with pytest.raises(LavitError, match="family: 'llm=frozen' is the same run as 'default'"):
        plan("study=quickstart", "study.until=tokenizer", "study.family=['llm=frozen']")
    with pytest.raises(LavitError, match="one and the same run"):  # no stage at all tells these apart
        plan("study=quickstart", "study.until=tokenizer", "study.axes.jobs={key: train.workers, levels: [0, 1]}")
    arms = "{slow: {also: 'train.steps=3'}}"
    with pytest.raises(LavitError, match="what they override changes nothing there"):
        plan("study=quickstart", "study.until=tokenizer", "study.design=arms", f"study.arms={arms}")


def test_records_need_a_headline(plan: Plans) -> None:
    with pytest.raises(LavitError, match="headline: missing: the stage 'inspect' leaves records"):
        plan("study=quickstart", "study.until=tokenizer", "study.headline=null")
    assert plan("study=quickstart", "study.until=pretrain", "study.headline=null").records_stage is None


def test_arms_that_are_one_run_are_refused(plan: Plans) -> None:
    with pytest.raises(LavitError) as caught:
        plan("study=quickstart", "study.axes.jobs={key: train.workers, levels: [0, 1]}")
    message = str(caught.value)
    assert "one and the same run" in message
    assert "changes nothing there" in message
    assert "void rule" in message


def test_runs_dir_comes_from_the_config(plan: Plans, tmp_path: Path) -> None:
    assert plan("study=quickstart", f"runs={tmp_path / 'elsewhere'}", runs_dir=None).runs_dir == tmp_path / "elsewhere"


def test_the_study_document_is_what_reports_read(plan: Plans) -> None:
    document = plan("study=lavit_paper", "study.margin=0.2").study_document()
    assert document["arms"][document["default"]] == {
        "regime": "unified", "tokens": "dynamic", "target": "discrete", "llm": "unfrozen",
    }  # fmt: skip
    assert set(document) == set(
        "name question design axes arms default headline family seeds void voids conditional_on margin".split()  # noqa: SIM905
    )
    assert len(document["voids"]) == 4
    assert all(void["arm"]["target"] == "continuous" and void["why"] for void in document["voids"])
    assert [line.split()[1] for line in document["conditional_on"]] == ["vision", "language", "pixels"]
    assert [rule["when"] for rule in document["void"]] == [{"regime": ["adapter"], "target": ["continuous"]}]


def test_the_plan_as_json_is_complete(plan: Plans) -> None:
    found = plan("study=quickstart", "hydra/launcher=joblib", "scale=smoke")
    document = json.loads(found.to_json())
    assert document["overrides"] == ["study=quickstart", "scale=smoke"]
    assert len(document["jobs"]) == len(found.jobs)
    assert len(document["runs"]) == 15
    assert document["seconds_unshared"] > document["seconds"]
    assert document["detects"][0]["holm"] == pytest.approx(3.41, abs=0.01)


def test_named_arms_may_override_anything(plan: Plans) -> None:
    arms = "{slow: {llm: frozen, also: ['train.steps=3']}, other: {also: 'optimizer.lr=0.5'}}"
    found = plan("study=quickstart", "study.design=arms", f"study.arms={arms}")
    assert list(found.arms) == ["default", "slow", "other"]
    configs = {run.arm: run.config for run in found.runs}
    assert [configs[arm]["train"]["steps"] for arm in found.arms] == [400, 3, 400]
    assert configs["other"]["optimizer"]["lr"] == 0.5
    assert [effect.kind for effect in found.effects] == ["arm"]


def test_an_arm_that_does_not_compose_is_named(plan: Plans) -> None:
    with pytest.raises(LavitError, match=r"in the arm 'default'.*nowhere"):
        plan("study=quickstart", "train.steps=${nowhere}")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stages.vision.needs=[cooldown]", "circle"),
        ("stages.vision.needs=[visoin]", "did you mean 'vision'"),
        ("stages.vision.reads=[data,visoin]", "did you mean 'vision'"),
        ("stages.vision.run=lavvit.run", "lavvit.run"),
        ("+stages.vision.seed=1", "stages.vision.seed"),
        ("stages.inspect.closes=tokeniser", "did you mean 'tokenizer'"),
        ("stages.inspect.closes=inspect", "no stage to stop at"),
        ("stages.cooldown.needs=[inspect]", "which closes 'tokenizer'"),
        ("+stages.cooldown.closes=tokenizer", "stages.evaluate.needs names 'cooldown', which closes 'tokenizer'"),
        ("+stages.evaluate.closes=tokenizer", "closed by 'evaluate' already"),
        ("study.until=inspect", "there is no stage 'inspect'"),
    ],
)
def test_stages_that_are_declared_wrongly_are_refused(override: str, words: str, plan: Plans) -> None:
    with pytest.raises(LavitError) as caught:
        plan("study=quickstart", override)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("study=quickstart", "lavit run"),
        ("seed=-1", "whole number"),
        ("study.until=x", "no such stage"),
        ("study.until=inspect", "no such stage"),
        ("llm=x", "llm"),
    ],
)
def test_one_run_alone_refuses_what_it_cannot_use(override: str, words: str, shared_conf: Path) -> None:
    with pytest.raises(LavitError, match=words):
        single_arm_plan([override], config_dir=shared_conf)


def test_other_data_files_are_other_keys(plan: Plans, tmp_path: Path) -> None:
    planner_module._fingerprints.clear()
    texts, images = tmp_path / "texts.jsonl", tmp_path / "images"
    images.mkdir()
    texts.write_text("one")
    data = [f"+data.images={images}", f"+data.texts={texts}"]
    first = plan("study=quickstart", *data).runs[0].stage_keys
    assert plan("study=quickstart", *data).runs[0].stage_keys == first
    planner_module._fingerprints.clear()
    texts.write_text("two")
    assert not set(first.values()) & set(plan("study=quickstart", *data).runs[0].stage_keys.values())
    planner_module._fingerprints.clear()
    texts.unlink()
    with pytest.raises(LavitError, match=r"texts\.jsonl"):
        plan("study=quickstart", *data)


def test_a_scale_that_is_only_planned_says_so(plan: Plans) -> None:
    found = plan("study=quickstart", "+scale.planned_only='no data path yet'")
    assert found.planned_only == "no data path yet"
    assert "planned only: no data path yet" in found.render()
    assert plan("study=quickstart").planned_only == ""
