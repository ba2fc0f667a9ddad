"""`lavit lm-eval`: lm-eval's own command line, offline, with this suite's models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.cli import main


def lavit(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    root = Path(__file__).parents[3]
    return subprocess.run(
        [sys.executable, "-m", "experiments.cli", "lm-eval", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(root), "HF_HOME": str(cwd / "hf"), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_a_local_task_runs_from_end_to_end(tasks, llama, tmp_path) -> None:
    pytest.importorskip("lm_eval")
    rows = tasks / "choose.yaml"
    rows.write_text(rows.read_text().replace("rows.jsonl", str(tasks / "rows.jsonl")))
    done = lavit(
        *["--model", "lavit", "--model_args", f"pretrained={llama}", "--tasks", "choose"],
        *["--include_path", str(tasks), "--output_path", str(tmp_path / "out"), "--log_samples"],
        cwd=tmp_path,
        http_proxy="http://127.0.0.1:9",  # whoever asks the network all the same fails
        https_proxy="http://127.0.0.1:9",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "choose" in done.stdout and "acc_norm" in done.stdout
    (results,) = (tmp_path / "out").rglob("results_*.json")
    found = json.loads(results.read_text())
    assert found["n-samples"]["choose"]["effective"] == 7
    assert found["config"]["model"] == "lavit"
    assert found["config"]["batch_size"] in (64, "64")
    (samples,) = (tmp_path / "out").rglob("samples_choose_*.jsonl")
    assert len(samples.read_text().splitlines()) == 7


def test_arguments_are_handed_over_and_nothing_stays_changed(tasks, llama, capsys) -> None:
    pytest.importorskip("lm_eval")
    import lm_eval.tasks

    before = sys.argv, lm_eval.tasks.TaskManager
    rows = tasks / "write.yaml"
    rows.write_text(rows.read_text().replace("rows.jsonl", str(tasks / "rows.jsonl")))
    arguments = ["--tasks=write", f"--include_path={tasks}", "--limit", "3", "--gen_kwargs", "max_gen_toks=2"]
    assert main(["lm-eval", "--model_args", f"pretrained={llama}", *arguments]) == 0
    out = capsys.readouterr().out
    assert "lavit ({'pretrained'" in out and "limit: 3" in out and "batch_size: 64" in out and "exact_match" in out
    assert (sys.argv, lm_eval.tasks.TaskManager) == before


def test_help_says_how_to_name_a_model(capsys) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        with pytest.raises(SystemExit) as ended:
            main(["lm-eval", *arguments])
        assert ended.value.code == 0
        out = capsys.readouterr().out
        assert "checkpoint=DIR" in out and "--include_path" in out


def test_without_lm_eval_the_extra_is_named(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setattr("evals.harness.offline.importlib.util.find_spec", lambda name: None)
    assert main(["lm-eval", "--tasks", "choose"]) == 2
    assert "lavit-lab[lm-eval]" in capsys.readouterr().err


def test_a_task_that_is_not_there_is_named_with_those_that_are(tasks, llama, monkeypatch, capsys) -> None:
    pytest.importorskip("lm_eval")
    import lm_eval.tasks

    own = lm_eval.tasks.TaskManager
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", lambda **given: own(**given | {"include_defaults": False}))
    assert main(["lm-eval", "--model_args", f"pretrained={llama}", "--tasks=chose", f"--include_path={tasks}"]) == 2
    error = capsys.readouterr().err
    assert "'chose'" in error and "choose, likely, seen, write" in error


def test_libraries_stay_offline_unless_the_user_says_otherwise(monkeypatch) -> None:
    from evals.harness.offline import stay_offline

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)
    stay_offline()
    assert (os.environ["HF_HUB_OFFLINE"], os.environ["HF_DATASETS_OFFLINE"]) == ("0", "1")
