"""Plans of arms on released backbones: keys follow the files' content, and nothing is loaded to know them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.errors import LavitError
from experiments.planner import Planner
from experiments.released import _known, released_files

HEADER = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"  # a safetensors file without tensors


def checkpoint(folder: Path, weights: bytes = HEADER) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    (folder / "model.safetensors").write_bytes(weights)
    _known.clear()
    return folder


def keys(runs: Path, *overrides: str) -> dict[str, str]:
    return Planner(runs_dir=runs, count=False).plan_run(["scale=smoke", *overrides]).runs[0].stage_keys


def test_other_weights_under_the_same_path_are_another_stage(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "llm")
    overrides = ("language=pretrained", f"language.path={folder}")
    first = keys(tmp_path, *overrides)
    checkpoint(folder)
    assert keys(tmp_path, *overrides) == first
    checkpoint(folder, HEADER + b" ")
    other = keys(tmp_path, *overrides)
    changed = {stage for stage, key in first.items() if other[stage] != key}
    assert changed == {"language", "pretrain", "cooldown", "evaluate"}


def test_what_is_missing_is_told_when_the_plan_is_made(tmp_path: Path) -> None:
    with pytest.raises(LavitError, match=r"language\.path is not set"):
        keys(tmp_path, "language=pretrained")
    with pytest.raises(LavitError, match=r"vision\.path=.*no such folder"):
        keys(tmp_path, "vision=clip", f"vision.path={tmp_path / 'gone'}")
    folder = checkpoint(tmp_path / "llm")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(LavitError, match="pickles"):
        released_files("language", {"path": str(folder)})


def test_hashing_a_checkpoint_loads_no_torch(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "llm")
    code = (
        "import sys; from experiments.released import released_files; "
        f"print(len(released_files('language', {{'path': {str(folder)!r}}})), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["64", "False"]
