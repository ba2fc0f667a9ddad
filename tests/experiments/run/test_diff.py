"""`lavit diff` tells what was recorded of two arms apart, and tests their metrics as the report does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas
import pytest
from fake_study import CONF, plan_tiny

from experiments.cli import main
from experiments.collect import collect
from experiments.diff import diff, find_side, render
from experiments.driver import run_jobs
from experiments.errors import LavitError
from experiments.launch import HerePool

UNTIL = "study.until=tokenizer"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A collected study of two arms and two seeds; in B every example of one image went wrong, and one got better."""
    folder = tmp_path_factory.mktemp("diff") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        plan = plan_tiny(folder, UNTIL)
        run_jobs(plan, HerePool(), quiet=True)
    collect(plan)
    for path in (folder / "tiny" / "records").glob("tokens-pooled-*.parquet"):
        rows = pandas.read_parquet(path)
        rows.loc[(rows["cluster_id"] == "image-0") & (rows["control"] == ""), "score"] -= 2.0
        rows.loc[rows["example_id"] == "vqa-5", "score"] += 0.5
        rows.loc[rows["example_id"] == "vqa-5", "prediction"] = "blue"
        rows.to_parquet(path)
    return folder


def sides(runs, a, b, study="tiny"):
    return find_side(runs, a, study), find_side(runs, b, study)


def test_config_stages_data_and_costs_are_told_apart(runs):
    found = diff(runs, *sides(runs, "default", "tokens=pooled"))
    assert found.config == {"tokens.name": ("dynamic", "pooled")}
    assert found.shared == ["vision"]
    assert found.same_data
    assert found.code == {}
    assert found.unrecorded == []
    assert found.environment == {}, "made by one process"
    assert {item for _, item, _, _ in found.ledgers} <= {"wall_s"}
    other = diff(runs, *sides(runs, "default:0", "default:1"))
    assert not other.same_data
    assert other.config == {}


def test_another_rule_of_evaluation_is_named(runs, tmp_path):
    changed = Path(shutil.copytree(runs, tmp_path / "runs"))
    path = changed / "tiny" / "runs.json"
    body = json.loads(path.read_text())
    for run in body["runs"]:
        if run["arm"] != "default":
            run["fingerprints"]["caption"]["parts"]["beams"] = 4
            run["fingerprints"]["caption"]["environment"]["scorer"] = "1.3"
            run["fingerprints"]["vqa"] = run["fingerprints"]["caption"]
    path.write_text(json.dumps(body))
    found = diff(changed, *sides(changed, "default", "tokens=pooled"))
    assert found.evaluation == {"caption.beams": (1, 4), "caption.environment.scorer": ("1.2", "1.3")}
    assert "only one of the two was evaluated on vqa" in found.notes
    assert "caption.beams: 1 -> 4" in render(found)
    assert diff(runs, *sides(runs, "default", "tokens=pooled")).evaluation == {}


def test_metrics_are_tested_as_the_report_tests_them(runs):
    from reports.contrast import contrast
    from reports.frame import load
    from reports.measure import Scores

    found = diff(runs, *sides(runs, "default", "tokens=pooled"))
    scores = Scores(load(runs / "tiny"))
    for entry in found.metrics:
        wanted = contrast(scores.cube(scores.find(entry["measure"])), {"tokens=pooled": 1, "default": -1})
        assert entry["estimate"] == pytest.approx(wanted.estimate)
        assert (entry["low"], entry["high"], entry["p"]) == pytest.approx((wanted.low, wanted.high, wanted.p))
    caption = next(entry for entry in found.metrics if entry["measure"] == "caption/CIDEr")
    assert caption["estimate"] == pytest.approx(-4 / 6)
    assert caption["seeds"] == 2


def test_examples_that_flipped_are_counted_and_shown_with_both_answers(runs):
    found = diff(runs, *sides(runs, "default", "tokens=pooled"), shown=2)
    vqa = next(entry for entry in found.examples if entry["measure"] == "vqa/accuracy")
    assert (vqa["better"], vqa["worse"], vqa["equal"]) == (2, 4, 6), "two seeds of six examples"
    assert [example["example_id"] for example in vqa["shown"]] == ["vqa-0", "vqa-5"]
    best = vqa["shown"][1]
    assert (best["prediction_a"], best["prediction_b"]) == ("red", "blue")
    assert best["score_b"] - best["score_a"] == 0.5


def test_single_runs_and_arms_of_two_studies_are_tested_on_what_they_share(runs, tmp_path):
    one = diff(runs, *sides(runs, "default:1", "tokens=pooled:1"))
    caption = one.metrics[0]
    assert caption["estimate"] == pytest.approx(-4 / 6)
    assert caption["scope"] == "this training run only"
    both = Path(shutil.copytree(runs, tmp_path / "runs"))
    shutil.copytree(both / "tiny", both / "other")
    across = diff(both, *sides(both, "tiny/default", "other/tokens=pooled", None))
    assert across.metrics[0]["estimate"] == pytest.approx(-4 / 6)
    assert across.metrics[0]["seeds"] == 2
    same = diff(both, *sides(both, "tiny/default", "other/default", None))
    assert same.shared == ["vision", "tokenizer", "inspect"]
    assert same.metrics[0]["estimate"] == 0
    assert "nothing differs" in render(same)


def test_code_and_environment_are_what_was_recorded(runs, tmp_path):
    copy = Path(shutil.copytree(runs, tmp_path / "runs"))
    body = json.loads((copy / "tiny" / "runs.json").read_text())
    key = next(run for run in body["runs"] if run["arm"] == "tokens=pooled")["stage_keys"]["tokenizer"]
    folder = copy / "store" / "tokenizer" / key
    request = (folder / "request.yaml").read_text()
    code = next(line.split(": ")[1] for line in request.splitlines() if line.startswith("code: "))
    (folder / "request.yaml").write_text(request.replace(code, "0ld"))
    record = json.loads((copy / "store" / "code" / f"{code}.json").read_text())
    record["modules"]["fake_stages"] = "other"
    (copy / "store" / "code" / "0ld.json").write_text(json.dumps(record))
    environment = json.loads((folder / "environment.json").read_text())
    environment["packages"]["torch"] = "1.0"
    (folder / "environment.json").write_text(json.dumps(environment))
    found = diff(copy, *sides(copy, "default", "tokens=pooled"))
    assert found.code == {"tokenizer": ["fake_stages changed"]}
    assert found.environment["packages.torch"][1] == "1.0"
    (folder / "environment.json").unlink()
    assert diff(copy, *sides(copy, "default", "tokens=pooled")).unrecorded == ["tokenizer"]


def test_the_command_refuses_what_is_not_there_with_the_nearest(runs, capsys):
    command = ["diff", "--conf", str(CONF), f"runs={runs}"]
    assert main([*command, "study=tiny", "default", "tokens=pooled"]) == 0
    assert "tokens.name: dynamic -> pooled" in capsys.readouterr().out
    assert main([*command, "study=tiny", "default", "tokens=pooled", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shared_stages"] == ["vision"]
    wrong = {
        ("study=tiny", "default", "tokens=poled"): "did you mean 'tokens=pooled'",
        ("study=tiny", "default", "default:7"): "no seed 7",
        ("study=tini", "default", "default"): "did you mean 'tiny'",
        ("default", "default"): "of which study",
        ("study=tiny", "default"): "two arms",
        ("study=tiny", "llm=frozen", "default", "default"): "reads what was recorded",
    }
    for arguments, message in wrong.items():
        assert main([*command, *arguments]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(LavitError, match="did you mean"):
        find_side(runs, "defalt", "tiny")
