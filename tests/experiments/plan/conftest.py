"""A small config folder of the real one's shape, with the real study files, in a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.compose import Composer, config_folder
from experiments.plan import Plan
from experiments.planner import Planner


@pytest.fixture(scope="session")
def shared_conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config folder; not to be written to."""
    folder = tmp_path_factory.mktemp("config") / "conf"
    shutil.copytree(Path(__file__).parent / "conf", folder)
    (folder / "study").mkdir()
    for name in ("quickstart", "lavit_paper"):
        shutil.copy(config_folder() / "study" / f"{name}.yaml", folder / "study")
    return folder


@pytest.fixture
def conf(shared_conf: Path, tmp_path: Path) -> Path:
    """A copy of the config folder that the test may change."""
    return Path(shutil.copytree(shared_conf, tmp_path / "conf"))


@pytest.fixture(scope="session")
def composer(shared_conf: Path) -> Composer:
    """Composes the config folder; shared, because it only reads."""
    return Composer(shared_conf)


@pytest.fixture
def plan(shared_conf: Path, composer: Composer, tmp_path: Path) -> Callable[..., Plan]:
    """`plan("study=quickstart", "scale=smoke")`, with an empty store and without counting."""

    def make(
        *overrides: str,
        runs_dir: Path | None = tmp_path / "runs",
        is_done: Any = None,
        count: bool = False,
        probe: bool = False,
    ) -> Plan:
        planner = Planner(shared_conf, runs_dir, is_done, count, probe)
        planner.composer = composer  # keeps what it has composed from test to test
        return planner.plan_study(overrides)

    return make
