"""Fixtures for what runs stages: fake stage jobs, and a store in a temporary folder."""

from __future__ import annotations

import sys

import pytest
from fake_study import HERE, fork, plan_tiny

from experiments.plan import StageJob
from experiments.store import Store


@pytest.fixture
def plan(tmp_path):
    return lambda *overrides: plan_tiny(tmp_path / "runs", *overrides)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The plan of a study whose stages are all finished; tests that share it only add to it."""
    from experiments.driver import run_jobs

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        patch.setenv("PYTHONPATH", str(HERE))
        launch = run_jobs(plan_tiny(tmp_path_factory.mktemp("finished") / "runs"), fork(), quiet=True)
    assert launch.ok
    assert launch.ran == len(launch.plan.jobs)
    return launch.plan


@pytest.fixture(autouse=True)
def fake_stages_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    yield
    sys.modules.pop("fake_stages", None)


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "runs")
    made.prepare()
    return made


@pytest.fixture
def attempts(tmp_path, monkeypatch):
    """A function that lists the attempts so far as (stage, key)."""
    path = tmp_path / "attempts.txt"
    monkeypatch.setenv("FAKE_STAGES_LOG", str(path))

    def read():
        return [tuple(line.split()[:2]) for line in path.read_text().splitlines()] if path.exists() else []

    return read


@pytest.fixture
def make_job():
    def make(stage, key, needs=None, seconds=0.0, how="", steps=2, run="fake_stages.run", seed=0, estimate=None):
        return StageJob(
            stage=stage,
            key=key,
            run=run,
            config={"work": {"seconds": seconds, "steps": steps, "how": how}},
            seed=seed,
            needs=needs or {},
            code="0",
            scale="smoke",
            overrides=[],
            seconds=estimate,
        )

    return make


@pytest.fixture
def graph(make_job):
    """Two tokenizers over one vision encoder, a pretraining and an evaluation over each."""

    def build(seconds=0.0, **kinds):
        jobs = [make_job("vision", "v", seconds=seconds, how=kinds.get("vision", ""))]
        for name in ("a", "b"):
            jobs += [
                make_job("tokenizer", f"t{name}", {"vision": "v"}, seconds, kinds.get(f"tokenizer_{name}", "")),
                make_job("pretrain", f"p{name}", {"tokenizer": f"t{name}"}, seconds, kinds.get(f"pretrain_{name}", "")),
                make_job("evaluate", f"e{name}", {"pretrain": f"p{name}", "vision": "v"}, seconds),
            ]
        return {(job.stage, job.key): job for job in jobs}

    return build
