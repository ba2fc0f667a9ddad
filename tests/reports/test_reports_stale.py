"""The stale guard: a table in a paper that no longer follows from its runs is found."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from synthetic_study import write_study

import reports
from experiments.cli import main
from experiments.errors import LavitError
from reports.stale import study_of, tables_in


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, images=40)
    reports.build(folder)
    return folder


def paper(study: Path, folder: Path) -> Path:
    text = "\\documentclass{article}\n\\begin{document}\n\\section{Results}\n"
    text += (study / "tables" / "main.tex").read_text() + "\\begin{table}x\\end{table}\n\\end{document}\n"
    path = folder / "paper.tex"
    path.write_text(text)
    return path


def test_a_table_that_follows_from_its_runs_passes(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["report", "--check", str(paper(study, tmp_path)), "--records", str(study)]) == 0
    assert "up to date" in capsys.readouterr().out


def test_a_number_changed_by_hand_or_by_a_new_run_fails(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file = paper(study, tmp_path)
    file.write_text(file.read_text().replace("\\pmsub{", "\\pmsub{9", 1))
    assert main(["report", "--check", str(file), "--records", str(study)]) == 1
    said = capsys.readouterr().out
    assert "no longer follows from its runs" in said
    assert "pmsub{9" in said
    changed = tmp_path / "changed"
    write_study(changed, images=40)
    one = sorted((changed / "records").glob("*.parquet"))[0]
    rows = pd.read_parquet(one)
    rows["score"] *= 0.9
    rows.to_parquet(one)
    assert main(["report", "--check", str(paper(study, tmp_path)), "--records", str(changed)]) == 1


def test_what_cannot_be_checked_is_refused(study: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.tex"
    empty.write_text("\\begin{table}\\end{table}")
    with pytest.raises(LavitError, match="no table with a label"):
        tables_in(empty)
    with pytest.raises(LavitError, match="of no study"):
        study_of("tab:other-main", ["quickstart"])
    assert study_of("tab:a-b-main", ["a", "a-b"]) == "a-b"
    strange = tmp_path / "strange.tex"
    strange.write_text(paper(study, tmp_path).read_text().replace("-main}", "-mian}"))
    assert main(["report", "--check", str(strange), "--records", str(study)]) == 2
