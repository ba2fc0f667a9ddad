"""Studies with known effects, made once a session, and the fixtures folder where it is found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from synthetic_study import write_study

import reports
from reports import report
from reports.results import Results, analyse

WHOLE = {
    "test_reports_report",
    "test_reports_figures",
    "test_reports_figures_legible",
    "test_reports_browser",
    "test_reports_tokenizers",
}
FIGURES = report.FIGURES
"""Test modules that look at figures; the others build their many reports with the first alone, in half the time."""


@pytest.fixture(scope="module", autouse=True)
def _few_figures(request: pytest.FixtureRequest) -> Iterator[None]:
    module = request.module.__name__.rpartition(".")[2]
    with pytest.MonkeyPatch.context() as patch:
        if module not in WHOLE:
            patch.setattr(report, "FIGURES", report.FIGURES[:1])
        yield


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five-arm, three-seed study; read it, do not write into it."""
    return write_study(tmp_path_factory.mktemp("reports") / "study", images=60)


@pytest.fixture(scope="session")
def results(study_folder: Path) -> Results:
    """Its statistics."""
    from reports.frame import load

    return analyse(load(study_folder))


@pytest.fixture(scope="session")
def built(study_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[reports.ReportSummary, Path]:
    """Its report, and the folder that it was written to."""
    out = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "FIGURES", FIGURES)  # whichever module asks first
        return reports.build(study_folder, out), out


@pytest.fixture(scope="session")
def statistics_fixtures() -> Path:
    """Answers known from R, scipy and statsmodels, where the folder is found."""
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("LAVIT_FIXTURES") or root.parent / "shared" / "fixtures") / "stats"
    if not folder.is_dir():
        pytest.skip(f"no statistics fixtures at {folder}; set LAVIT_FIXTURES to their parent")
    return folder
