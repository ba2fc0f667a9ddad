"""Searches over a stage with a known best learning rate: what is tried, what is never tried twice, what goes on."""

from __future__ import annotations

import json
import math

import pytest
import yaml
from quadratic_stages import BEST

from experiments.errors import LavitError
from experiments.search_driver import diverged, table
from experiments.trials import TRIALS, read_trials
from experiments.tuned import write_tuned

GRID = "study.tune.space.optimizer.lr={low: 1e-4, high: 1e-1, log: true, points: 4}"


def values(own):
    return [trial.values["optimizer.lr"] for trial in own.record.trials]


@pytest.mark.parametrize("sampler", ["tpe", pytest.param("gp", marks=pytest.mark.slow)])
def test_a_sampler_finds_the_best_rate_of_each_arm(search, sampler):
    found, launch = search("study.tune.per_arm=10", f"study.design={{search: {sampler}}}")
    assert launch.ok
    for own in found.arms:
        best = own.record.best(found.tune.objective).values["optimizer.lr"]
        assert abs(math.log10(best / BEST[own.arm.levels["llm"]])) < 0.25, "a quarter of a decade, of three"


def test_every_arm_gets_the_same_number_of_trials_and_the_default_first(search, trained):
    found, _ = search()
    assert [len(own.record.judged) for own in found.arms] == [6, 6]
    assert [values(own)[0] for own in found.arms] == [2e-3, 2e-3]
    assert [own.record.trials[0].origin for own in found.arms] == ["default", "default"]
    assert values(found.arms[0])[:3] == values(found.arms[1])[:3], "arms begin with the same points"
    assert len(trained()) == len(set(trained())) == 12


def test_a_grid_tries_all_of_its_points_once(search, trained):
    found, _ = search("study.design={search: grid}", GRID, "~study.tune.per_arm", "optimizer.lr=0.01")
    for own in found.arms:
        assert sorted(values(own)) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])
        assert values(own)[0] == 0.01, "the default is a point of the grid, so it is the first"
    assert len(trained()) == 8


def test_a_search_that_was_stopped_goes_on_and_comes_to_the_same(search, trained, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        search(stop_after=2)
    before = trained()
    found, _ = search()
    assert len(trained()) == len(set(trained())) == 12
    assert trained()[: len(before)] == before
    monkeypatch.setenv("STAGES_LOG", str(tmp_path / "other.txt"))
    again, _ = search(f"runs={tmp_path / 'undisturbed'}")
    assert [values(own) for own in again.arms] == [values(own) for own in found.arms]


@pytest.mark.parametrize("lost", [TRIALS, "search.db"])
def test_what_is_lost_of_the_two_files_comes_from_the_other(search, trained, tmp_path, lost):
    found, _ = search()
    (tmp_path / "runs" / "search_lr" / lost).unlink()
    again, _ = search("study.tune.per_arm=7")
    assert len(trained()) == len(set(trained())) == 14, "one trial more in each arm"
    assert [values(own)[:6] for own in again.arms] == [values(own) for own in found.arms]


def test_a_search_that_is_done_runs_nothing(search, trained):
    search()
    _, launch = search()
    assert launch.ok
    assert launch.ran == 0
    assert len(trained()) == 12


def test_a_changed_space_takes_over_the_trials_that_lie_inside(search, trained):
    search()
    narrow = "study.tune.space.optimizer.lr={low: 5e-4, high: 2e-2, log: true}"
    found, _ = search(narrow)
    for own in found.arms:
        assert len(own.record.judged) == 6
        assert own.record.trials[0].origin == "default"
        assert any(trial.origin == "reused" for trial in own.record.trials)
        assert all(5e-4 <= value <= 2e-2 for value in values(own))
    assert len(trained()) == len(set(trained()))
    before = len(trained())
    search()
    assert len(trained()) == before, "the first space is still known"


def test_the_objective_is_the_mean_over_seeds(search):
    found, _ = search("study.seeds=3", "work.noise=0.5", "study.tune.per_arm=1")
    trial = found.arms[0].record.trials[0]
    assert set(trial.by_seed) == {"0", "1", "2"}
    assert trial.objective == pytest.approx(sum(trial.by_seed.values()) / 3)
    assert trial.by_seed["2"] - trial.by_seed["0"] == pytest.approx(1.0)


def test_a_training_that_diverges_is_a_trial_and_never_the_best(search, trained):
    found, launch = search("work.nan_above=3e-3")
    assert launch.ok
    states = [trial.state for own in found.arms for trial in own.record.trials]
    assert states.count("diverged") >= 1
    assert [len(own.record.judged) for own in found.arms] == [6, 6]
    for own in found.arms:
        assert own.record.best(found.tune.objective).values["optimizer.lr"] <= 3e-3
    assert "the loss is nan" in table(found)
    before = len(trained())
    search("work.nan_above=3e-3")
    assert len(trained()) == before, "what diverged is not trained again"


def test_a_bug_is_no_result_and_is_tried_again(search, trained):
    found, launch = search("work.broken=true")
    assert not launch.ok
    assert [len(own.record.judged) for own in found.arms] == [0, 0]
    before = len(trained())
    assert before == 2, "the same error in two trials stops the round, and no more is asked"
    search("work.broken=true")
    assert len(trained()) == 2 * before


PRUNED = ("study.design={search: tpe, pruner: median}", "study.tune.per_arm=8", "study.axes={}")


def test_what_falls_behind_is_stopped_and_never_ranked(search, tmp_path):
    found, launch = search(*PRUNED)
    assert launch.ok
    trials = found.arms[0].record.trials
    states = [trial.state for trial in trials]
    assert len(trials) == 8
    assert states[:3] == ["done"] * 3, "the first ones have nobody to be compared with, and the default is safe"
    assert "pruned" in states
    for trial in trials:
        if trial.state == "pruned":
            assert trial.objective is None
            assert "stopped at step" in trial.reason
    best = found.arms[0].record.best(found.tune.objective)
    assert best.objective == max(trial.objective for trial in trials if trial.state == "done")
    slow, _ = search(*PRUNED, "work.seconds=0.6", "study.tune.per_arm=4", f"runs={tmp_path / 'slow'}")
    assert [trial.values for trial in slow.arms[0].record.trials] == [trial.values for trial in trials[:4]]
    assert [trial.state for trial in slow.arms[0].record.trials] == states[:4], "however fast a job is stopped"


@pytest.mark.parametrize(
    ("message", "is_diverged"),
    [
        ("stage pretrain: the loss is nan at step 7", True),
        ("the loss is inf at step 7", True),
        ("CUDA out of memory", False),
        ("no such file: banana.png", False),
        ("information is missing", False),
    ],
)
def test_only_numbers_that_left_the_real_ones_count_as_diverged(message, is_diverged):
    assert diverged({"class": "ValueError", "message": message}) is is_diverged


def test_integers_choices_and_groups_are_tuned_too(search):
    found, _ = search(
        "study.axes={}",
        "study.tune.space={optimizer.depth: {low: 1, high: 5, step: 2}, llm: [frozen, unfrozen, lora]}",
        "study.tune.per_arm=9",
    )
    tried = [(t.values["optimizer.depth"], t.values["llm"]) for t in found.arms[0].record.trials]
    assert sorted(tried) == sorted((depth, llm) for depth in (1, 3, 5) for llm in ("frozen", "unfrozen", "lora"))
    best = found.arms[0].record.best(found.tune.objective)
    assert best.values == {"optimizer.depth": 5, "llm": "lora"}


def test_optuna_has_no_seed_among_its_parameters(search, tmp_path):
    import optuna

    search("study.seeds=2", "study.tune.per_arm=2")
    storage = f"sqlite:///{tmp_path / 'runs' / 'search_lr' / 'search.db'}"
    studies = optuna.get_all_study_summaries(storage)
    assert len(studies) == 2
    for summary in studies:
        trials = optuna.load_study(study_name=summary.study_name, storage=storage).trials
        assert {name for trial in trials for name in trial.params} == {"optimizer.lr"}
        assert len(trials) == 2


def test_a_journal_file_serves_as_storage(search, tmp_path):
    found, _ = search("study.design={search: tpe, storage: journal}", "study.tune.per_arm=3")
    assert [len(own.record.judged) for own in found.arms] == [3, 3]
    assert (tmp_path / "runs" / "search_lr" / "search.journal").is_file()


def test_a_database_without_its_driver_names_what_to_install(search):
    with pytest.raises(LavitError, match=r"postgresql\+nothing|postgresql") as error:
        search("study.design={search: tpe, storage: 'postgresql+psycopg://me:secret@host/db'}")
    assert "psycopg" in str(error.value)
    assert "secret" not in str(error.value)


def test_an_objective_that_no_stage_leaves_is_refused_with_what_there_is(search, plan):
    with pytest.raises(LavitError, match="leaves no 'val/scoer'") as error:
        search("study.tune.objective=pretrain/val/scoer")
    assert "did you mean 'pretrain/val/score'" in str(error.value)
    assert "history.jsonl" in str(error.value)
    with pytest.raises(LavitError, match="leaves no 'val/scoer'"):
        plan("study.tune.objective=pretrain/val/scoer")


def test_the_plan_prices_a_search_before_it_runs(plan, search):
    first = plan()
    text = first.render()
    assert len(first.runs) == 12
    assert sum(job.stage == "vision" for job in first.jobs.values()) == 1
    assert "tpe, 6 trials for each of 2 arms" in text
    assert "no effects" in text
    assert json.loads(first.to_json())["search"]["per_arm"] == 6
    search()
    after = plan()
    assert not after.missing
    assert "best lr=" in after.render()


def test_trials_are_kept_and_tuned_values_are_written(search, tmp_path, capsys):
    found, _ = search(finish=True)
    folder = tmp_path / "runs" / "search_lr"
    assert {arm.arm for arm in read_trials(folder).values()} == {"default", "llm=frozen"}
    body = yaml.safe_load((folder / "tuned.yaml").read_text())
    assert body["complete"] is True
    best = found.arms[1].record.best(found.tune.objective)
    assert body["arms"][1]["values"] == best.values
    assert body["arms"][1]["trials"] == 6
    runs = json.loads((folder / "runs.json").read_text())
    assert len(runs["runs"]) == 12
    assert runs["confounds"] == []
    assert "6 of 6" in capsys.readouterr().out


def test_a_study_takes_the_values_that_its_search_found(plan, search, tmp_path):
    with pytest.raises(LavitError, match="the search has not run") as error:
        plan(study="fair")
    assert "lavit run study=search_lr" in str(error.value)
    with pytest.raises(KeyboardInterrupt):
        search(stop_after=1)
    half, _ = search("study.tune.per_arm=1")
    half.tune = type(half.tune)(**{**vars(half.tune), "per_arm": 6})
    write_tuned(half)
    with pytest.raises(LavitError, match="has not finished"):
        plan(study="fair")
    found, _ = search(finish=True)
    fair = plan(study="fair")
    for arm, own in zip(fair.design.arms, found.arms, strict=True):
        best = own.record.best(found.tune.objective)
        run = next(run for run in fair.runs if run.arm == arm.name and run.seed == 0)
        assert run.config["optimizer"]["lr"] == best.values["optimizer.lr"]
        assert run.stage_keys["pretrain"] == best.keys["0"], "what the search trained is not trained again"
    text = " ".join(fair.render().split())
    assert ", the best of 6 trials of search_lr" in text
    from experiments.confounds import find_confounds

    assert find_confounds(fair) == []
    assert any("search_lr" in line for line in fair.study_document()["conditional_on"])


def test_values_found_at_another_scale_are_refused_and_with_other_settings_remarked(plan, search):
    search(finish=True)
    with pytest.raises(LavitError, match="scale=smoke, and this is scale=quick"):
        plan("scale=quick", study="fair")
    assert any("tunes anew" in remark for remark in plan("optimizer.depth=3", study="fair").remarks)
    with pytest.raises(LavitError, match="no arm for"):
        plan("study.axes.llm=[unfrozen, lora]", study="fair")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("study.tune.space={seed: {low: 0, high: 9}}", "never a tuned parameter"),
        ("study.tune.seeds=3", "a seed is never tuned"),
        ("study.tune.space.optimizer.lr={low: 1e-2, high: 1e-4}", "not below"),
        ("study.tune.space={optimizer.rate: {low: 1e-4, high: 1e-2}}", "did you mean optimizer"),
        ("study.tune.space={optimizer.kind: {low: 1, high: 2}}", "tune.space.optimizer.kind"),
        ("study.tune.space={llm: [frozen, unfrozen]}", "the axis 'llm' sets this key"),
        ("study.tune.space=3", "is no space"),
        ("study.tune.objective=train/val/score", "there is no stage 'train'"),
        ("study.tune.objective=pretrain/train/loss", "trained on"),
        ("study.tune.objective=evaluate/caption/CIDEr", "test split"),
        ("~study.tune.direction", "tune.direction"),
        ("study.tune.per_arm=0", "tune.per_arm"),
        ("study.tune.per_arm=many", "tune.per_arm"),
        ("study.design={search: tpo}", "did you mean 'tpe'"),
        ("study.design={search: tpe, sead: 1}", "did you mean 'seed'"),
        ("study.design={search: grid}", "points: N"),
        ("study.design={search: tpe, storage: 5}", "design.storage"),
        ("study.until=vision", "before the stage 'pretrain'"),
        ("study.tuned=search_lr", "tuned"),
        ("~study.tune", "a search needs it"),
        ("optimizer.lr=0.1", ""),
    ],
)
def test_a_wrong_search_is_refused_by_file_key_and_remedy(plan, override, says):
    if not says:
        assert plan(override).search is not None, "an override of a tuned key is its default"
        return
    with pytest.raises(LavitError) as error:
        plan(override)
    assert says in str(error.value)


def test_tune_belongs_to_a_search(plan):
    with pytest.raises(LavitError, match="tunes nothing"):
        plan("study.design=full")
