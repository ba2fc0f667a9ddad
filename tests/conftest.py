"""What every test stands on: one thread, no network, no telemetry, and the folder of foreign fixtures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Before any test imports a library that reads them. One thread: results are then the same to the bit.
os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    MLFLOW_DISABLE_TELEMETRY="true",
    MPLBACKEND="Agg",
)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared_fixtures() -> Path:
    """Folder of reference results computed by other software: $LAVIT_FIXTURES, or ../shared/fixtures.

    They are large and under licences of their own, so they are not part of this repository: a test that wants
    them skips where they are not, and says so.
    """
    folder = Path(os.environ.get("LAVIT_FIXTURES") or ROOT.parent / "shared" / "fixtures")
    if not folder.is_dir():
        pytest.skip(f"no reference results: {folder} is not a folder (set LAVIT_FIXTURES to one)")
    return folder


@pytest.fixture(scope="session")
def reference_file(shared_fixtures: Path) -> Callable[[str], Path]:
    """Finds one reference result by its path in that folder; skips, and says so, where it is not there."""

    def find(name: str) -> Path:
        path = shared_fixtures / name
        if not path.is_file():
            pytest.skip(f"no reference results: {path}")
        return path

    return find
