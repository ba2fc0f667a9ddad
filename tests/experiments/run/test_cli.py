"""The command line: fast where it must be, one screen where something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.cli import COMMANDS, main

HEAVY = ("torch", "lightning", "transformers", "mlflow", "pandas", "matplotlib", "diffusers", "lm_eval")
CONF = str(Path(__file__).parent / "conf")


def imported_by(*arguments, before="pass"):
    """Top-level modules that a command line imports, in a fresh process."""
    code = (
        f"{before}\n"
        "import sys; from experiments.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print('MODULES', *sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.rsplit("MODULES", 1)[1].split())


def test_help_imports_nothing_heavy_not_even_hydra():
    found = imported_by("--help")
    assert not found & {*HEAVY, "hydra", "omegaconf", "numpy", "yaml", "rich"}


@pytest.mark.parametrize("command", ["plan", "status"])
def test_plan_and_status_import_nothing_heavy(command, tmp_path):
    uncounted = "import experiments.cost; experiments.cost.MODULE = 'lavit.nothing'"  # counting is a child's work
    found = imported_by(command, "--conf", CONF, "study=tiny", f"runs={tmp_path}", before=uncounted)
    assert "hydra" in found, "the command did its work"
    assert not found & set(HEAVY)


def test_help_is_quick():
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "experiments.cli", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5, "0.07 s on a quiet machine; the bound leaves room for a busy one"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: lavit {command}" in text
    assert "examples:" in text
    assert f"lavit {command}" in text.split("examples:")[1]


def test_an_unknown_command_suggests_the_nearest(capsys):
    assert main(["plann", "study=quickstart"]) == 2
    assert "did you mean 'lavit plan'?" in capsys.readouterr().err


def test_an_unknown_option_is_refused_by_name(capsys):
    assert main(["status", "--verfy", "study=tiny"]) == 2
    assert "lavit status has no option '--verfy'" in capsys.readouterr().err


def test_a_missing_study_lists_what_there_is(capsys):
    assert main(["run", "--conf", CONF]) == 2
    error = capsys.readouterr().err
    assert "study=NAME" in error
    assert "tiny" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["study=tinny"], ["tinny", "tiny"]),
        (["study=tiny", "work.secondz=1"], ["work.secondz", "seconds"]),
        (["study=tiny", "llm=forzen"], ["forzen", "frozen"]),
        (["study=tiny", "hydra.launcher.njobs=2"], ["njobs"]),
        (["study=tiny", "hydra/launcher=forkk"], ["forkk"]),
    ],
)
def test_a_mistake_is_one_screen_before_any_work(arguments, words, tmp_path, capsys):
    assert main(["run", "--conf", CONF, f"runs={tmp_path / 'runs'}", *arguments]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error
    assert "Traceback" not in error
    assert len(error.splitlines()) < 25
    assert not list(tmp_path.rglob("request.yaml"))


def test_a_store_that_cannot_be_written_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["run", "--conf", CONF, "study=tiny", f"runs={tmp_path / 'file' / 'runs'}"]) == 2
    error = capsys.readouterr().err
    assert "runs=DIR" in error
    assert "Traceback" not in error


def test_ctrl_c_says_what_is_kept(monkeypatch, capsys):
    import experiments.cli.run

    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments.cli.run, "execute", interrupted)
    assert main(["run", "study=tiny"]) == 130
    error = capsys.readouterr().err
    assert "Finished stages are kept" in error
    assert "the same command" in error


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    command = f"{sys.executable} -m experiments.cli --help | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode in (0, 120)
    assert "Traceback" not in done.stderr
