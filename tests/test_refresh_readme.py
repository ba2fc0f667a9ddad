"""The script that copies a run's table and figure into the README replaces what it should, and only that."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script():
    """docs/refresh_readme.py as a module: it is a script, in no package."""
    spec = importlib.util.spec_from_file_location("refresh_readme", ROOT / "docs" / "refresh_readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a copy of the README and nothing else."""
    (tmp_path / "README.md").write_text((ROOT / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A finished study's folder, as far as the README is concerned."""
    folder = tmp_path / "runs" / "quickstart"
    (folder / "tables").mkdir(parents=True)
    (folder / "figures").mkdir()
    (folder / "tables" / "main.md").write_text("| arm | CIDEr |\n|---|---|\n| \\1 default | 1.0 |\n", encoding="utf-8")
    for name in ("forest", "curves"):
        (folder / "figures" / f"{name}.svg").write_text("<svg/>", encoding="utf-8")
    return folder


def test_the_table_and_the_figure_are_replaced_however_often(script, checkout: Path, study: Path) -> None:
    before = (checkout / "README.md").read_text(encoding="utf-8")
    script.refresh(study, checkout)
    once = (checkout / "README.md").read_text(encoding="utf-8")
    script.refresh(study, checkout)

    assert (checkout / "README.md").read_text(encoding="utf-8") == once
    assert "| \\1 default | 1.0 |" in once
    assert "docs/pictures/quickstart-forest.svg" in once
    assert (checkout / "docs" / "pictures" / "quickstart-curves.svg").is_file()
    head, tail = before.split("<!-- quickstart-table -->")[0], before.split("<!-- /quickstart-figure -->")[1]
    assert once.startswith(head)
    assert once.endswith(tail)


def test_an_unfinished_study_and_a_readme_without_markers_are_refused(script, checkout: Path, study: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"main\.md"):
        script.refresh(study.parent / "other", checkout)
    (checkout / "README.md").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(ValueError, match="quickstart-table"):
        script.refresh(study, checkout)


def test_a_report_is_kept_whole_or_not_at_all(script, checkout: Path, study: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"report\.html"):
        script.keep_report(study, checkout)
    assert not (checkout / "docs" / "quickstart").exists()
    for name in script.KEPT:
        (study / name).write_text(name, encoding="utf-8")
    script.keep_report(study, checkout)
    kept = checkout / "docs" / "quickstart"
    assert {path.name: path.read_text() for path in kept.iterdir()} == {Path(n).name: n for n in script.KEPT}
