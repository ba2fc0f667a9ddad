"""What is recorded of the installed packages."""

from pathlib import Path

import pytest

from experiments.environment import environment


def place(folder: Path, version: str) -> str:
    info = folder / f"lab_sample-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: lab-sample\nVersion: {version}\n")
    return str(folder)


def test_packages_are_those_that_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vendored = place(tmp_path / "some_tool" / "_vendor", "0.1")
    monkeypatch.syspath_prepend(place(tmp_path / "second", "2.0"))
    monkeypatch.syspath_prepend(place(tmp_path / "first", "1.0"))
    monkeypatch.syspath_prepend(vendored)
    environment.cache_clear()
    try:
        assert environment()["packages"]["lab-sample"] == "1.0"
    finally:
        environment.cache_clear()
