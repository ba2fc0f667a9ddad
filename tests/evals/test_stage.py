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
from evals.curve import score_curve
from evals.errors import EvaluationError
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
    for name, said in (("pretrain", "nothing"), ("cooldown", None)):
        (tmp_path / name).mkdir()
        with open(tmp_path / name / "validation.jsonl", "w") as file:
            for index in range(8):
                question = TinyCorpus().questions("val", [index], 1)[0][0]
                common = {"step": 4 if said else 6, "flops": 10.0 if said else 15.0, "index": index}
                truth = TinyCorpus().captions("val", [index])[0][0]
                lines = [
                    {**common, "benchmark": "caption", "question_id": None, "prediction": said or truth},
                    {**common, "benchmark": "vqa", "question_id": question.id, "prediction": said or question.answer},
                ]
                file.writelines(json.dumps(line) + "\n" for line in lines)
                if said:  # the trunk went on after the cool-down had branched off
                    file.writelines(json.dumps({**line, "step": 9, "flops": 30.0}) + "\n" for line in lines)
    (tmp_path / "cooldown" / "config.json").write_text(json.dumps({"begins_at": 4}))
    context = StageContext(
        stage="evaluate",
        config=compose("smoke"),
        seed=1,
        inputs={name: tmp_path / name for name in ("pretrain", "cooldown")},
        out=tmp_path / "out",
        progress=lambda step, total, metrics: told.append((step, total)),
    )
    stage.run(context)
    out = context.out
    assert {path.name for path in out.iterdir()} == {
        "config.json",
        "curve.jsonl",
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
    curve = [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]
    at = {(point["step"], point["flops"], point["name"]): point["value"] for point in curve}
    assert {point["step"] for point in curve} == {4, 6}, "what a trunk did after its end branched off is no part of it"
    assert at[4, 10.0, "val/caption/CIDEr"] == at[4, 10.0, "val/vqa/accuracy"] == 0
    assert at[6, 15.0, "val/caption/CIDEr"] > 3 and at[6, 15.0, "val/vqa/accuracy"] == 1


def test_a_curve_that_answers_what_was_not_asked_is_refused(tmp_path) -> None:
    line = {"step": 1, "flops": 1.0, "benchmark": "vqa", "index": 0, "question_id": "val-0-mood-0", "prediction": "x"}
    (tmp_path / "validation.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(EvaluationError, match="val-0-mood-0"):
        score_curve([tmp_path / "validation.jsonl"], TinyCorpus())
    (tmp_path / "validation.jsonl").write_text(json.dumps({**line, "benchmark": "taste"}) + "\n")
    with pytest.raises(EvaluationError, match="taste"):
        score_curve([tmp_path / "validation.jsonl"], TinyCorpus())


def test_benchmarks_and_metrics_import_nothing_heavy_or_downstream() -> None:
    code = (
        "import sys, evals.runner, evals.benchmarks.caption, evals.benchmarks.vqa, evals.benchmarks.t2i, "
        "evals.benchmarks.tokenizer\n"
        "heavy = {'torch', 'lightning', 'hydra', 'mlflow', 'experiments', 'reports', 'transformers'}\n"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CONF.parent)
    assert done.stdout.strip() == ""
