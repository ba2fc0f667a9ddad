"""An arm on released backbones, from their files to captions, answers and drawings; priced as it measures itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig
from released_checkpoints import save_encoder, save_llm
from tiny_stages import Stages, question, whole

from lavit import vision
from lavit.count import count, probe
from lavit.errors import LavitError
from lavit.model.vision_language import Arm, load

FEW = ("train.curve.captions=2", "train.curve.questions=2", "train.curve.points=1")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("released")
    save_encoder(root / "clip", "CLIP")
    save_llm(root / "qwen", "Qwen2", tie_word_embeddings=True, num_key_value_heads=1)
    return root


@pytest.fixture(scope="module")
def config(folders: Path) -> DictConfig:
    paths = (f"vision.path={folders / 'clip'}", f"language.path={folders / 'qwen'}")
    return whole(*paths, *FEW, vision="clip", language="pretrained", llm="frozen")


@pytest.mark.parametrize("stage", ["vision", "language", "tokenizer", "pixels", "pretrain"])
def test_the_price_is_what_the_stage_measures(stage: str, config: DictConfig, stages: Stages) -> None:
    price, measured = count(question(config, stage)), stages.ledger(config, stage)
    assert price["ledger"] == pytest.approx(measured, rel=1e-9)
    if stage in ("vision", "language"):
        spent = {name: value for name, value in measured.items() if value}
        assert list(spent) == ["params_total"] and price["memory"] == {}
        assert probe(question(config, stage)) == {"seconds_per_step": 0.0}


def test_the_arm_reads_writes_and_draws(config: DictConfig, stages: Stages, folders: Path) -> None:
    arm: Arm = load(stages.arm(config))
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    read = arm.encode(images)
    assert len(arm.caption(read, 2)) == len(arm.answer(read, ["how many?", "is it red?"])) == 2
    drawing = arm.draw(["a red circle"])
    assert drawing.images.shape == (1, 32, 32, 3)
    assert arm.features(images).shape == (2, 16, 24)
    untouched = arm.untouched()
    assert untouched is not None
    assert all((a == b).all() for a, b in zip(untouched.llm.parameters(), arm.model.llm.parameters(), strict=True))


def test_the_folders_point_to_files_that_are_not_copied(config: DictConfig, stages: Stages, folders: Path) -> None:
    language, seen = stages.run(config, "language"), stages.run(config, "vision")
    content = json.loads((language / "llm.json").read_text())
    assert content["released"]["path"] == str(folders / "qwen")
    assert set(content["files"]) >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert not list(language.glob("*.safetensors")) and not list(seen.glob("*.safetensors"))
    assert vision.load_label_head(seen) is None

    other = folders.parent / "moved"
    shutil.copytree(seen, other)
    options = json.loads((other / "config.json").read_text())
    options["files"]["model.safetensors"]["sha256"] = "0"
    (other / "config.json").write_text(json.dumps(options))
    with pytest.raises(LavitError, match=r"model\.safetensors changed"):
        vision.load(other)


def test_no_stage_trains_what_is_released(config: DictConfig, stages: Stages) -> None:
    for key in ("language.steps", "vision.steps"):
        stage = key.split(".")[0]
        asked = config.copy()
        asked[stage].steps = 3
        with pytest.raises(LavitError, match=key):
            stages.run(asked, stage)
