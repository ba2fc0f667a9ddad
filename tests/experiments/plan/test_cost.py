"""Counts: asked once from a child process, kept in the store, never guessed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments import cost
from experiments.plan import Plan

CHILD = """
import json, pathlib, sys
questions = json.load(sys.stdin)
with open({log!r}, "a") as file:
    file.write(f"{{len(questions)}}\\n")
answers = []
for q in questions:
    if q["stage"] == "pixels":
        answers.append({{"error": "ValueError: no pixels\\nmore"}})
    elif q["stage"] == "pretrain":
        assert set(q["inputs"]) == {{"vision", "language", "tokenizer"}}, q["inputs"]
        answers.append({{"params_total": 3_000_000 if q["config"]["llm"]["trainable"] else 1000}})
    else:
        answers.append(None)
json.dump(answers, sys.stdout)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts another module in the place of `lavit.count`; returns the file in which it logs how much it was asked."""
    root = tmp_path / "source"
    root.mkdir()
    log = tmp_path / "log"

    def place(text: str) -> Path:
        (root / "fake_count.py").write_text(text.format(log=str(log)))
        return log

    monkeypatch.setattr(cost, "MODULE", "fake_count")
    monkeypatch.setattr(cost, "source_root", lambda: root)
    return place


def test_counts_are_asked_once_and_kept(child: Callable[[str], Path], plan: Callable[..., Plan]) -> None:
    log = child(CHILD)
    first = plan("study=quickstart", count=True)
    params = {job.arms[0]: job.counts for job in first.jobs.values() if job.stage == "pretrain"}
    assert params["default"] == {"params_total": 3_000_000}
    assert params["llm=frozen"] == {"params_total": 1000}
    assert first.remarks == ["not priced: pixels (ValueError: no pixels)"]
    assert "1.0 k to 3.00 M" in first.render()
    second = plan("study=quickstart", "study.seeds=5", count=True)
    assert log.read_text().splitlines() == [
        "20"
    ]  # vision, language, pixels, 2 tokenizers, 3 stages of 5 arms; no seeds
    assert second.to_dict()["stages"] == plan("study=quickstart", "study.seeds=5").to_dict()["stages"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise SystemExit('broken')", "ended with 1: broken"),
        ("print('no')", "JSON"),
        ("print('[]')", "every question"),
    ],
)
def test_a_child_that_fails_is_told_of(
    text: str, words: str, child: Callable[[str], Path], plan: Callable[..., Plan]
) -> None:
    child(text)
    found = plan("study=quickstart", count=True)
    assert words in found.remarks[0]
    assert all(job.counts is None for job in found.jobs.values())


def test_without_a_child_there_are_dashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: Callable[..., Plan]
) -> None:
    monkeypatch.setattr(cost, "source_root", lambda: tmp_path)
    found = plan("study=quickstart", count=True)
    assert found.remarks == []
    assert json.loads(found.to_json())["stages"][0]["params"] is None


def test_a_store_that_cannot_be_written_to_is_told_of(
    child: Callable[[str], Path], plan: Callable[..., Plan], tmp_path: Path
) -> None:
    child(CHILD)
    (tmp_path / "file").write_text("")
    assert "counts are not kept" in plan("study=quickstart", count=True, runs_dir=tmp_path / "file").remarks[0]


PRICED = """
import json, sys
answers = []
for q in json.load(sys.stdin):
    if q.get("probe"):
        timed, failed = {{"seconds_per_step": 0.5}}, {{"error": "LavitError: too large"}}
        answers.append(timed if q["stage"] == "pretrain" else failed)
    elif q["stage"] in ("pretrain", "vision"):
        flops = 3e12 if q["config"].get("llm", {{}}).get("trainable", True) else 2e12
        ledger = {{"flops": flops, "positions": 4e5, "params_trainable": 7e5, "steps": 9}}
        answers.append({{"params_total": 8e5, "ledger": ledger, "memory": {{"peak": 9e7}}}})
    else:
        answers.append(None)
json.dump(answers, sys.stdout)
"""


def test_prices_are_in_the_plan_and_its_json(child: Callable[[str], Path], plan: Callable[..., Plan]) -> None:
    child(PRICED)
    done = plan("study=quickstart", count=True)
    finished = {job.key for job in done.jobs.values() if job.stage == "vision"}
    found = plan("study=quickstart", count=True, is_done=lambda stage, key: key in finished)
    prices = {summary.stage: summary.price for summary in found.stage_summaries()}
    assert prices["language"] is None
    assert prices["vision"].flops_all == 3e12
    assert prices["vision"].flops_left == 0  # finished
    assert prices["pretrain"].flops_all == 3 * (4 * 3e12 + 2e12)  # three seeds of five arms
    text = found.render()
    assert "2.00-3.00 T" in text
    assert "90.0 MB" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    job = next(job for job in json.loads(found.to_json())["jobs"] if job["stage"] == "pretrain")
    assert job["ledger"]["positions"] == 4e5
    assert job["memory"] == {"peak": 9e7}


def test_a_probe_times_what_nothing_finished_tells(
    child: Callable[[str], Path], plan: Callable[..., Plan], tmp_path: Path
) -> None:
    child(PRICED)
    found = plan("study=quickstart", count=True, probe=True)
    pretrain = next(job for job in found.jobs.values() if job.stage == "pretrain")
    assert (pretrain.seconds, pretrain.seconds_from) == (0.5 * pretrain.config["train"]["steps"], "probed")
    assert "not probed: vision (LavitError: too large)" in " ".join(found.remarks)
    assert sorted(path.name for path in (tmp_path / "runs" / "store").iterdir()) == ["counts"]
    child("raise SystemExit('asked again')")
    again = plan("study=quickstart", probe=True, count=True)
    assert next(job for job in again.jobs.values() if job.stage == "pretrain").seconds_from != "probed"  # another code


def test_prices_come_in_while_a_study_runs(child: Callable[[str], Path], plan: Callable[..., Plan]) -> None:
    child(PRICED)
    found = plan("study=quickstart")
    assert all(job.counts is None for job in found.jobs.values())
    with cost.Pricing(found) as pricing:
        assert pricing.finish() == ""
    assert {job.stage for job in found.jobs.values() if job.ledger} == {"vision", "pretrain"}
    child("import time; time.sleep(60)")
    with cost.Pricing(plan("study=quickstart")):
        pass  # left without waiting
