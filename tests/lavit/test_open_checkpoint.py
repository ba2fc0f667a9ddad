"""Opening a checkpoint: all stages of an arm are found from one of them, and everything else is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from lavit.checkpoint import open_checkpoint
from lavit.errors import LavitError

NEEDS: dict[str, dict[str, str]] = {
    "vision": {},
    "language": {},
    "tokenizer": {"vision": "v1"},
    "pixels": {"vision": "v1"},
    "pretrain": {"vision": "v1", "language": "l1", "tokenizer": "t1"},
    "cooldown": {"vision": "v1", "language": "l1", "tokenizer": "t1", "pretrain": "p1"},
    "evaluate": {
        **{"vision": "v1", "language": "l1", "tokenizer": "t1"},
        **{"pretrain": "p1", "cooldown": "c1", "pixels": "x1"},
    },
}
KEYS = {"pixels": "x1", **{name: f"{name[0]}1" for name in NEEDS if name != "pixels"}}
DATA = {"_target_": "lavit.data.world.World", "name": "world", "image_size": 32}


def put(store: Path, stage: str, key: str, weights: str = "w", **further: Any) -> Path:
    folder = store / stage / key
    folder.mkdir(parents=True)
    body = {"stage": stage, "key": key, "seed": 3, "scale": "smoke", "needs": NEEDS[stage], "config": {"data": DATA}}
    (folder / "request.yaml").write_text(yaml.safe_dump(body | further))
    files = {"model.safetensors": {"sha256": weights, "bytes": 1}, "log.json": {"sha256": key, "bytes": 1}}
    (folder / "DONE.json").write_text(json.dumps({"stage": stage, "key": key, "files": files}))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for stage in NEEDS:
        put(tmp_path / "store", stage, KEYS[stage])
    return tmp_path / "store"


@pytest.mark.parametrize("stage", ["cooldown", "evaluate"])
def test_all_stages_are_found_from_either_end(store: Path, stage: str) -> None:
    found = open_checkpoint(store / stage / KEYS[stage])
    wanted = {name: store / name / key for name, key in KEYS.items() if name != "evaluate"}
    assert {name: path.resolve() for name, path in found.stages.items()} == wanted
    assert (found.kind, found.name, found.seed, found.scale) == ("arm", "arm-c1", 3, "smoke")
    assert found.corpus == DATA
    assert found.image_size == 32
    assert found.fingerprint == open_checkpoint(store / "cooldown" / "c1").fingerprint


def test_other_weights_are_another_fingerprint(store: Path) -> None:
    before = open_checkpoint(store / "cooldown" / "c1").fingerprint
    shutil.rmtree(store / "pretrain" / "p1")
    put(store, "pretrain", "p1", weights="other")
    assert open_checkpoint(store / "cooldown" / "c1").fingerprint == before  # the trunk is no part of the model
    shutil.rmtree(store / "tokenizer" / "t1")
    put(store, "tokenizer", "t1", weights="other")
    assert open_checkpoint(store / "cooldown" / "c1").fingerprint != before


def test_an_evaluation_says_which_of_two_pixel_decoders_is_the_arm_s(store: Path) -> None:
    put(store, "pixels", "x2")
    assert open_checkpoint(store / "cooldown" / "c1").stages["pixels"].name == "x1"
    put(store, "evaluate", "e2", needs=NEEDS["evaluate"] | {"pixels": "x2"})
    assert open_checkpoint(store / "evaluate" / "e2").stages["pixels"].name == "x2"
    with pytest.raises(LavitError, match=r"2 pixel decoders \(x1, x2\)"):
        open_checkpoint(store / "cooldown" / "c1")


def test_an_arm_that_was_not_evaluated_takes_the_pixel_decoder_of_its_encoder(store: Path) -> None:
    shutil.rmtree(store / "evaluate")
    assert open_checkpoint(store / "cooldown" / "c1").stages["pixels"].name == "x1"
    shutil.rmtree(store / "pixels")
    with pytest.raises(LavitError, match="no pixel decoder"):
        open_checkpoint(store / "cooldown" / "c1")


def test_what_is_no_checkpoint_is_refused_with_what_was_found(store: Path, tmp_path: Path) -> None:
    (tmp_path / "LaVIT-7B" / "language_model").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").touch()
    copied = shutil.copytree(store / "cooldown" / "c1", tmp_path / "copied")
    (store / "language" / "l1" / "DONE.json").rename(store / "language" / "l1" / "was.json")
    told = {
        "nowhere": "there is no such folder",
        "store/pretrain/p1": "this is the stage 'pretrain', which is no arm by itself",
        "store/cooldown/c1": "the arm needs language/l1, which is not finished",
        "store/language/l1": "this stage is not finished",
        copied.name: "a copy of cooldown/c1 outside of a store",
        "LaVIT-7B": "as its authors publish it; bring it in first",
        "empty": "the folder is empty",
        "holiday": "it holds beach.jpg",
        ".": "a folder of runs",
    }
    for place, words in told.items():
        with pytest.raises(LavitError, match=words):
            open_checkpoint(tmp_path / place)


def test_settings_of_imported_weights_mean_nothing_to_an_arm(store: Path) -> None:
    with pytest.raises(LavitError, match=r"checkpoint\.selection: .* is an arm"):
        open_checkpoint(store / "cooldown" / "c1", options={"selection": "argmax"})
