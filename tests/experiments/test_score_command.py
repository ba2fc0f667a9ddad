"""`lavit score` as a command: kinds are found, stdout holds the result alone, mistakes are told."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from evals.score.scored import Scored
from experiments.cli import main
from experiments.cli.score import _stdout_to_stderr, render


def test_help_lists_kinds_without_importing_anything_heavy() -> None:
    program = (
        "import sys; from experiments.cli import main\n"
        "try: main(['score', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'torch', 'pyarrow', 'hydra'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("arguments", "words"), [(["vqq"], "did you mean 'vqa'"), ([], "needs a kind")])
def test_an_unknown_kind_is_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["score", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_chatter_of_libraries_and_their_processes_leaves_stdout_clean(capfd: pytest.CaptureFixture) -> None:
    with _stdout_to_stderr():
        print("computing ...")
        subprocess.run(["echo", "loading"], check=True)
    print(json.dumps({"overall": 1}))
    out, err = capfd.readouterr()
    assert json.loads(out) == {"overall": 1}
    assert "computing" in err
    assert "loading" in err


def test_nested_totals_make_one_table() -> None:
    totals = {"overall": 50.0, "by_type": {"what": 1 / 3}, "count": 2}
    assert render(Scored(totals, [], {"metric": "m", "of": {"a": 1}})) == [
        "overall       50.0000",
        "by_type",
        "  what         0.3333",
        "count               2",
        "",
        "metric: m",
        "of: a 1",
    ]
