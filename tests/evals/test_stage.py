"""The evaluate stage, its suites in ``conf``, and what it may import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tiny_corpus import Oracle, TinyCorpus

import lavit.data
import lavit.model
from evals import stage
from evals.records import load_records
from evals.runner import build_suite
from lavit.stages.context import StageContext

CONF = Path(__file__).parents[2] / "conf"


def compose(scale: str, suite: str = "core"):
    """The part of the configuration that the stage reads."""
    config = OmegaConf.create(
        {
            "scale": OmegaConf.load(CONF / f"scale/{scale}.yaml"),
            "suite": OmegaConf.load(CONF / f"suite/{suite}.yaml"),
        }
    )
    return OmegaConf.create(
        {"data": {"_target_": "nowhere"}, "suite": OmegaConf.to_container(config, resolve=True)["suite"]}
    )


@pytest.mark.parametrize("scale", ["smoke", "quick", "standard"])
def test_the_core_suite_can_be_built_at_every_scale(scale: str) -> None:
    suite = build_suite(compose(scale).suite)
    assert [benchmark.name for benchmark in suite] == ["caption", "vqa", "t2i", "tokenizer"]


def test_the_held_out_suite_can_be_built() -> None:
    assert {b.split for b in build_suite(compose("smoke", "held_out").suite)} == {"held_out_combinations"}


def test_the_stage_writes_what_others_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(lavit.data, "build", lambda node: TinyCorpus())
    monkeypatch.setattr(lavit.model, "load", lambda folders: Oracle())
    told = []
    context = StageContext(
        stage="evaluate",
        config=compose("smoke"),
        seed=1,
        inputs={"cooldown": tmp_path / "cooldown"},
        out=tmp_path / "out",
        progress=lambda step, total, metrics: told.append((step, total)),
    )
    stage.run(context)
    out = context.out
    assert {path.name for path in out.iterdir()} == {
        "config.json",
        "drawings-t2i.safetensors",
        "images",
        "ledger.json",
        "metrics.json",
        "protocol.json",
        "records.parquet",
        "resume",
        "samples",
        "skipped.json",
    }
    assert json.loads((out / "metrics.json").read_text())["vqa/accuracy"] == 1
    assert json.loads((out / "ledger.json").read_text())["flops"] == 0
    assert len(load_records(out / "records.parquet")) > 100
    assert told[-1][0] == told[-1][1]


def test_benchmarks_and_metrics_import_nothing_heavy_or_downstream() -> None:
    code = (
        "import sys, evals.runner, evals.benchmarks.caption, evals.benchmarks.vqa, evals.benchmarks.t2i, "
        "evals.benchmarks.tokenizer\n"
        "heavy = {'torch', 'lightning', 'hydra', 'mlflow', 'experiments', 'reports', 'transformers'}\n"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CONF.parent)
    assert done.stdout.strip() == ""
