"""The same study on every launcher gives the same keys and the same bytes; under Slurm it needs nobody to wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import fake_slurm
import pytest
from fake_study import CONF, HERE, fork, plan_tiny

from experiments.attempts import attempts
from experiments.cli import main
from experiments.collect import collect
from experiments.driver import run_jobs
from experiments.metrics_table import metrics_table
from experiments.store import Store

HALF = ("study.until=tokenizer", "study.seeds=1")  # five jobs in three waves


def result(plan):
    """All that a report is made of: keys, records and the table."""
    folder = collect(plan)
    records = {path.name: path.read_bytes() for path in sorted((folder / "records").iterdir())}
    arms = {arm: plan_tiny(plan.runs_dir, *plan.overrides[2:]) for arm in plan.arms}
    return sorted(plan.jobs), records, metrics_table({arm: arms[arm] for arm in arms})


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The study on forked workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        patch.setenv("PYTHONPATH", str(HERE))
        plan = plan_tiny(tmp_path_factory.mktemp("fork") / "runs", *HALF)
        assert run_jobs(plan, fork(), quiet=True).ok
    return result(plan)


def launch(runs, *settings):
    """The study by the command line, on another launcher."""
    # Launchers start processes of their own, which must find these packages wherever the tests are run.
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, str(HERE)])}
    command = [sys.executable, "-m", "experiments.cli", "run", "--conf", str(CONF), "study=tiny", f"runs={runs}", *HALF]
    return subprocess.run([*command, *settings], capture_output=True, text=True, env=environment, timeout=300)


LAUNCHERS = [
    pytest.param(["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], id="joblib", marks=pytest.mark.slow),
    pytest.param(["hydra/launcher=submitit_local"], id="submitit_local", marks=pytest.mark.slow),
    pytest.param(["hydra/launcher=ray", "hydra.launcher.n_jobs=2"], id="ray", marks=pytest.mark.slow),
    pytest.param(["hydra/launcher=submitit_slurm"], id="submitit_slurm", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("settings", LAUNCHERS)
def test_every_launcher_gives_the_same_keys_and_the_same_table(settings, reference, tmp_path, slurm):
    done = launch(tmp_path / "runs", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    plan = plan_tiny(tmp_path / "runs", *HALF)
    assert result(plan) == reference
    assert {len(attempts(Store(plan.runs_dir).folder(*job))) for job in plan.jobs} == {1}
    assert "done    tokenizer" in done.stdout, "jobs are told one by one"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A Slurm on the PATH; returns its state folder."""
    pytest.importorskip("submitit", reason="needs the extra slurm")
    state = tmp_path / "slurm"
    state.mkdir()
    monkeypatch.setenv("PATH", f"{fake_slurm.install(tmp_path)}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(state))
    return state


def wait_for(condition, seconds=120.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited in vain")


@pytest.mark.slow
def test_a_chain_of_arrays_runs_the_study_after_the_shell_is_closed(reference, tmp_path, slurm):
    runs = tmp_path / "runs"
    done = launch(runs, "hydra/launcher=submitit_slurm", "hydra.launcher.array_parallelism=2", "--chain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wave 3 of 3" in done.stdout
    assert "this shell may close" in done.stdout
    report = runs / "tiny" / "report.html"
    wait_for(lambda: (slurm / "103" / "ended").exists())
    assert report.is_file(), (runs / "tiny" / "chain" / "1" / "report.out").read_text()
    assert (runs / "mlflow.db").is_file()
    assert result(plan_tiny(runs, *HALF)) == reference


@pytest.mark.slow
def test_in_a_chain_a_failure_blocks_only_what_needs_it_and_a_stopped_task_goes_on(tmp_path, slurm):
    runs = tmp_path / "runs"
    work = ["study.until=pretrain", "study.seeds=1", "work.seconds=6", "work.steps=30"]
    done = launch(runs, *work, "hydra/launcher=submitit_slurm", "--chain", "tokens=dynamic", "target=discrete")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_for(lambda: list(runs.glob("store/vision/*/resume/step.json")))
    subprocess.run(["scancel", "--signal=USR1", "100_0"], check=True)
    wait_for(lambda: (slurm / "100" / "ended").exists())
    (folder,) = runs.glob("store/vision/*")
    assert [entry["end"] for entry in attempts(folder)] == ["preempted", "done"]
    (tokenizer,) = runs.glob("store/tokenizer/*")
    wait_for(lambda: (slurm / "101" / "pid-0").exists())
    subprocess.run(["scancel", "101_0"], check=True)  # SIGKILL: nothing is left of the tokenizer
    wait_for(lambda: (slurm / "103" / "ended").exists())
    assert not (tokenizer / "DONE.json").exists()
    assert "is blocked: tokenizer/" in next((runs / "tiny" / "chain" / "1").glob("wave-3-1-0.out")).read_text()
    assert not list(runs.glob("store/pretrain/*/FAILED.json")), "a blocked job has not failed"


def test_a_chain_is_submitted_wave_by_wave_with_its_dependencies(tmp_path, slurm, monkeypatch, capsys):
    (slurm / "counter").write_text("x" * 7)
    settings = ["hydra.launcher.partition=gpu", "hydra.launcher.gpus_per_node=1", "hydra.launcher.timeout_min=90"]
    work = ["study=tiny", f"runs={tmp_path / 'runs'}", "hydra/launcher=submitit_slurm", *settings]
    monkeypatch.setenv("FAKE_SLURM_HOLD", "1")
    assert main(["run", "--conf", str(CONF), *work, "--chain"]) == 0
    assert "report: Slurm 111" in capsys.readouterr().out
    jobs = [json.loads((slurm / str(number) / "job.json").read_text()) for number in range(107, 112)]
    assert [job["after"] for job in jobs] == [[], ["107"], ["108"], ["109"], ["110"]]
    assert [len(job["tasks"]) for job in jobs] == [1, 4, 10, 10, 0]
    script = (slurm / "108" / "script.sh").read_text()
    assert "#SBATCH --partition=gpu\n" in script
    assert "#SBATCH --gpus-per-node=1\n" in script
    assert "#SBATCH --time=90\n" in script
    assert "#SBATCH --requeue\n" in script
    assert "#SBATCH --signal=B:USR1@120\n" in script
    assert "gpus" not in (slurm / "111" / "script.sh").read_text(), "a report needs no GPU"


def test_what_sbatch_refuses_is_told_in_one_line(tmp_path, slurm, capsys):
    work = ["study=tiny", f"runs={tmp_path / 'runs'}", "hydra/launcher=submitit_slurm"]
    assert main(["run", "--conf", str(CONF), *work, "hydra.launcher.partition=missing", "--chain"]) == 2
    assert "invalid partition" in capsys.readouterr().err


def test_a_chain_without_slurm_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    work = ["study=tiny", f"runs={tmp_path / 'runs'}"]
    assert main(["run", "--conf", str(CONF), *work, "--chain"]) == 2
    assert "hydra/launcher=submitit_slurm" in capsys.readouterr().err
    assert main(["run", "--conf", str(CONF), *work, "hydra/launcher=submitit_slurm", "--chain"]) == 2
    assert "sbatch" in capsys.readouterr().err


def test_ray_that_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    work = ["study=tiny", f"runs={tmp_path / 'runs'}"]
    assert main(["run", "--conf", str(CONF), *work, "hydra/launcher=ray"]) == 2
    assert "lavit-lab[ray]" in capsys.readouterr().err
