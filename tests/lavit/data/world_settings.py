"""The world as the config files have it, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lavit.data import build
from lavit.data.world import World

CONF = Path(__file__).parents[3] / "conf"


def world_options(scale: str, **changes: Any) -> dict[str, Any]:
    """The world's resolved config at a scale, as the config files have it."""
    root = OmegaConf.create(
        {
            "scale": {"world": OmegaConf.load(CONF / "scale" / f"{scale}.yaml").world},
            "data": OmegaConf.load(CONF / "data" / "world.yaml"),
        }
    )
    options: Any = OmegaConf.to_container(root.data, resolve=True)
    return {**options, **changes}


def make_world(scale: str, **changes: Any) -> World:
    """The world at a scale, with some settings changed."""
    world = build(world_options(scale, **changes))
    assert isinstance(world, World)
    return world
