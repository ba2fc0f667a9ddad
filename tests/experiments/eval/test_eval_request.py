"""What `lavit eval` was asked: the run, the suite and the data that it takes, and what it refuses at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.cli import main
from experiments.errors import LavitError
from experiments.eval_request import EvalRequest, read_request
from experiments.find_run import find_run

STAGES = ("vision", "language", "tokenizer", "pixels", "pretrain", "cooldown")
DATA = {"_target_": "lavit.data.world.World", "name": "world", "seed": 7, "image_size": 32}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A study of two arms and two seeds, one of which failed."""
    entries = []
    for arm in ("default", "llm=frozen"):
        for seed in (0, 1):
            keys = {stage: f"{stage[0]}{seed}" if stage != "pixels" else "x" for stage in STAGES}
            failed = (arm, seed) == ("default", 1)
            keys["evaluate"] = f"e-{arm.partition('=')[0]}-{seed}"
            for stage in (*STAGES, *([] if failed else ["evaluate"])):
                needs = {name: keys[name] for name in STAGES} if stage == "evaluate" else {"vision": keys["vision"]}
                if stage == "cooldown" and failed:
                    continue
                body = {"stage": stage, "key": keys[stage], "seed": seed, "needs": needs, "config": {"data": DATA}}
                put(tmp_path / "store" / stage / keys[stage], body | {"scale": "smoke"})
            entries.append(
                {
                    "arm": arm,
                    "seed": seed,
                    "name": f"{arm} seed {seed}",
                    "stage_keys": {**keys, "cooldown": "none"} if failed else keys,
                    "status": "failed" if failed else "done",
                    "error": "out of memory" if failed else None,
                    "command": f"lavit train {arm} seed={seed}",
                }
            )
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "runs.json").write_text(json.dumps({"runs": entries}))
    return tmp_path


def put(folder: Path, request: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "request.yaml").write_text(yaml.safe_dump(request))
    (folder / "DONE.json").write_text(json.dumps({"key": folder.name, "files": {}}))


def ask(runs: Path, *words: str, **further: Any) -> EvalRequest:
    return read_request([*words, f"runs={runs}"], **further)


def test_a_run_is_found_by_its_study_or_by_any_of_its_files(runs: Path) -> None:
    wanted = (runs / "store" / "evaluate" / "e-llm-1", "tiny-llm-frozen-s1")
    study = runs / "tiny"
    assert find_run(study, "llm=frozen", 1) == wanted
    assert find_run(study, "llm-frozen", 1) == wanted
    assert find_run(study / "records" / "llm-frozen-s1.parquet") == wanted
    assert find_run(study / "samples" / "llm-frozen" / "s1") == wanted
    assert find_run(runs / "store" / "evaluate" / "e-llm-1") is None
    with pytest.raises(LavitError, match=r"which run\?"):
        find_run(study, "llm=frozen")
    with pytest.raises(LavitError, match="there is no run 'arm=llm=half seed=1'"):
        find_run(study, "llm=half", 1)
    with pytest.raises(LavitError, match=r"failed .out of memory."):
        find_run(study, "default", 1)


def test_an_arm_is_asked_as_its_study_would(runs: Path) -> None:
    request = ask(runs, "study=tiny", "arm=llm=frozen", "seed=1", "suite=core")
    assert (request.seed, request.data, request.root) == (1, DATA, None)
    assert request.suite["benchmarks"]["caption"]["count"] == 24  # of scale smoke, on record with the arm
    assert request.default_out == runs / "eval" / "tiny-llm-frozen-s1" / "core"
    bigger = ask(runs, "study=tiny", "arm=llm=frozen", "seed=1", "suite=core", "scale=quick", "data.root=/sets")
    assert bigger.suite["benchmarks"]["caption"]["count"] > 24
    assert bigger.root == Path("/sets")
    assert bigger.data == DATA


def test_a_seed_may_be_another_than_the_arm_s(runs: Path) -> None:
    folder = runs / "store" / "evaluate" / "e-llm-1"
    assert ask(runs, f"checkpoint={folder}", "suite=core").seed == 1
    assert ask(runs, f"checkpoint={folder}", "suite=core", "seed=5").seed == 5


def test_a_trial_run_is_marked_and_never_mixed_with_a_whole_one(runs: Path) -> None:
    words = (f"checkpoint={runs / 'store' / 'evaluate' / 'e-llm-1'}", "suite=core")
    trial, whole = ask(runs, *words, limit=4), ask(runs, *words)
    assert trial.default_out.name == "core-limit4"
    assert trial.suite["benchmarks"]["caption"]["controls"] == {"vision_off": 4, "shuffled": 4}
    assert {entry["count"] for entry in trial.suite["benchmarks"].values()} == {4}
    assert trial.identity() != whole.identity()


def test_some_benchmarks_of_a_suite(runs: Path) -> None:
    words = (f"checkpoint={runs / 'store' / 'evaluate' / 'e-llm-1'}", "suite=core")
    assert list(ask(runs, *words, benchmarks=["vqa"]).suite["benchmarks"]) == ["vqa"]
    assert "vqa" not in ask(runs, *words, "suite.benchmarks.vqa=null").suite["benchmarks"]
    with pytest.raises(LavitError, match="did you mean 'caption'"):
        ask(runs, *words, benchmarks=["capton"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["suite=core"], "which checkpoint"),
        (["study=tiny", "arm=default", "seed=0"], "which suite"),
        (["study=none", "suite=core"], "there is no"),
        (["study=tiny", "arm=default", "seed=zero", "suite=core"], "seed=zero is not a whole number"),
        (["study=tiny", "arm=default", "seed=0", "suite=core", "data.noise=2"], "of which corpus"),
        (["study=tiny", "arm=default", "seed=0", "suite=cor"], "core"),
        (["checkpoint"], "is not KEY=VALUE"),
    ],
)
def test_mistakes_are_told(runs: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", *words, f"runs={runs}"]) == 2
    assert told in capsys.readouterr().err


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom experiments.cli import build_parser\nbuild_parser('eval').format_help()\n"
        "heavy = {'torch', 'hydra', 'omegaconf', 'numpy', 'pandas', 'pyarrow', 'transformers'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
