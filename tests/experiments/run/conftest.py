"""Fixtures for what runs stages: fake stage jobs, and a store in a temporary folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from experiments.plan import StageJob
from experiments.store import Store

HERE = Path(__file__).parent


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
