"""The visual stages at the smallest scale: their configs, and one finished vision stage for all tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf
from tiny_stages import Stages

ROOT = Path(__file__).parents[2]
GROUPS = {
    "scale": "smoke",
    "data": "world",
    "vision": "vit",
    "tokens": "dynamic",
    "merger": "causal",
    "tokenizer": "lavit",
    "pixels": "patch",
}
READS = {"vision": ["data", "vision"], "tokenizer": ["data", "tokens", "tokenizer"], "pixels": ["data", "pixels"]}


def visual_config(stage: str, **overrides: object) -> DictConfig:
    """The config that ``stage`` may read, at the smoke scale; ``scale__vision__width=8`` overrides a value."""
    groups = GROUPS | {name: str(overrides.pop(name)) for name in list(overrides) if name in GROUPS}
    config = OmegaConf.create(
        {name: OmegaConf.load(ROOT / "conf" / name / f"{file}.yaml") for name, file in groups.items()}
    )
    config.scale.world.examples = {"train": 96, "val": 32, "test": 32, "held_out_combinations": 8}
    for name, value in overrides.items():
        OmegaConf.update(config, name.replace("__", "."), value)
    return OmegaConf.create({name: OmegaConf.to_container(config[name], resolve=True) for name in READS[stage]})


@pytest.fixture(scope="session")
def make_visual_config() -> Callable[..., DictConfig]:
    """:func:`visual_config` for tests."""
    return visual_config


@pytest.fixture(scope="session")
def finished_vision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a vision stage trained for a few steps."""
    import torch

    from lavit.stages.context import StageContext
    from lavit.stages.vision import run

    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("vision")
    run(StageContext("vision", visual_config("vision", scale__steps__vision=6), 0, {}, out))
    return out


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """Runs stages of the shipped config for a few steps, each once: see ``tiny_stages``."""
    import torch

    torch.set_num_threads(1)
    return Stages(tmp_path_factory.mktemp("stages"))
