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
