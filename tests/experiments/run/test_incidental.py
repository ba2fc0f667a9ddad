"""What is called incidental is: other workers, slots, logs, devices and folders give the same keys and the same bytes.

The stages are the real ones at the smallest scale.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from experiments.driver import run_jobs
from experiments.fork_pool import ForkPool
from experiments.launch import HerePool
from experiments.plan import single_arm_plan
from experiments.store import Store

SMALL = ["scale=smoke", "scale.world.examples.train=64", "scale.world.examples.val=16"]
OTHERS = ["train.workers=2", "hydra.launcher.n_jobs=3", "hydra/job_logging=default", "hydra.verbose=true"]


def made(plan):
    """Every file of every stage by its checksum, as DONE.json has them."""
    store = Store(plan.runs_dir)
    found = {}
    for stage, key in plan.jobs:
        body = store.done(stage, key)
        assert store.verify(stage, key) == []
        found |= {f"{stage}/{key}/{name}": facts["sha256"] for name, facts in body["files"].items()}
    return found


def run_both_ways(folder: Path, monkeypatch, until: str, pool):
    """The same run here and now, and by another pool elsewhere with everything incidental changed."""
    overrides = [*SMALL, f"study.until={until}"]
    usual = single_arm_plan(overrides, folder / "usual")
    assert run_jobs(usual, HerePool(), quiet=True).ok
    other = single_arm_plan([*overrides, *OTHERS], folder / "another" / "place")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        assert run_jobs(other, pool, quiet=True).ok
    finally:
        logging.getLogger().setLevel(level)
    return usual, other


def test_a_stage_is_the_same_to_the_byte_however_it_was_run(tmp_path, monkeypatch):
    usual, other = run_both_ways(tmp_path, monkeypatch, "vision", HerePool())
    assert set(usual.jobs) == set(other.jobs)
    files = made(usual)
    assert files == made(other)
    assert any(name.endswith(".safetensors") for name in files)


def test_incidental_keys_enter_no_key_of_the_real_stages(tmp_path):
    usual = single_arm_plan(["scale=smoke"], tmp_path)
    other = single_arm_plan(["scale=smoke", *OTHERS, "tracking.uri=http://tracking.lab:5000"], tmp_path / "b")
    assert usual.runs[0].stage_keys == other.runs[0].stage_keys
    assert other.jobs["pretrain", other.runs[0].stage_keys["pretrain"]].config["train"]["workers"] == 2


@pytest.mark.slow
def test_a_whole_run_is_the_same_to_the_byte_and_reads_all_that_it_declares(tmp_path, monkeypatch):
    usual, other = run_both_ways(tmp_path, monkeypatch, "evaluate", ForkPool(2))
    assert set(usual.jobs) == set(other.jobs)
    assert len(usual.jobs) == 7
    files = made(usual)
    assert files == made(other)
    assert {Path(name).name for name in files} >= {"records.parquet", "model.safetensors", "tokenizer.safetensors"}
    for stage, key in usual.jobs:
        reads = json.loads((usual.store_dir / stage / key / "reads.json").read_text())
        assert reads["read"] == reads["declared"] == usual.runs[0].config["stages"][stage]["reads"], (
            f"{stage} declares what it never reads: its results would be made again for nothing"
        )
