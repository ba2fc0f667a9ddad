"""Fixtures for searches: plans over stages with a known best learning rate, run in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from experiments.driver import run_jobs
from experiments.launch import HerePool
from experiments.plan import make_plan
from experiments.search_driver import finish_search, run_search

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def stages_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    yield
    sys.modules.pop("quadratic_stages", None)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A function that lists the keys that were trained so far, each as often as it was."""
    path = tmp_path / "trained.txt"
    monkeypatch.setenv("STAGES_LOG", str(path))
    return lambda: path.read_text().split() if path.exists() else []


@pytest.fixture
def plan(tmp_path):
    def make(*overrides, study="search_lr"):
        return make_plan(
            [f"study={study}", f"runs={tmp_path / 'runs'}", *overrides], config_dir=HERE / "conf", count=False
        )

    return make


@pytest.fixture
def search(plan, monkeypatch):
    """A function that runs a whole search and returns it."""

    def run(*overrides, stop_after=None, finish=False):
        rounds = 0

        def launch(some):
            nonlocal rounds
            if rounds == stop_after:
                raise KeyboardInterrupt
            rounds += 1
            return run_jobs(some, HerePool(), quiet=True)

        ended = run_search(plan(*overrides), launch)
        if finish:
            monkeypatch.setattr("experiments.tracking.sync_or_say", lambda plan: None)
            finish_search(ended)
        return ended.plan.search, ended

    return run
