"""Stages run for a few steps on a tiny world, from the shipped config: what tests of arms and prices begin with.

``stages`` is the module's only fixture; it lies in tests/lavit/conftest.py.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from experiments.declared import DeclaredConfig
from experiments.key import nest, select
from experiments.rules import apply_rules, read_rules
from experiments.stages import StageSpec, read_all_stages
from lavit.stages.context import StageContext

CONF = Path(__file__).parents[2] / "conf"
STEPS = {"vision": 3, "language": 4, "tokenizer": 4, "pixels": 3, "pretrain": 4, "cooldown": 2}
EXAMPLES = {"train": 96, "val": 32, "test": 32, "held_out_combinations": 8}


def whole(*also: str, **groups: str) -> DictConfig:
    """The config of an arm at the smoke scale, with fewer steps and images.

    Args:
        also: overrides as dotted ``key=value``.
        groups: the choices that are not the default.
    """
    root = OmegaConf.load(CONF / "config.yaml")
    choices = {"scale": "smoke", "tokens": "pooled"}
    for entry in root.pop("defaults"):
        if isinstance(entry, DictConfig | dict):
            (name, choice), *_ = entry.items()
            if not str(name).startswith("override") and name not in ("study", "suite"):
                choices.setdefault(str(name), str(choice))
    choices["scale"] = "smoke"
    parts = {name: OmegaConf.load(CONF / name / f"{file}.yaml") for name, file in (choices | groups).items()}
    config: Any = OmegaConf.merge(parts, root)
    config.scale.world.examples, config.scale.steps = EXAMPLES, STEPS
    return OmegaConf.merge(config, OmegaConf.from_dotlist(list(also)))  # type: ignore[return-value]


def specs() -> dict[str, StageSpec]:
    """The declared stages."""
    return read_all_stages(OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml").stages))


def read(config: DictConfig, stage: str) -> dict[str, Any]:
    """What a stage is given of a config: void rules applied, as the planner does."""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    ruled = apply_rules(plain, read_rules(CONF))
    found = {}
    for key in specs()[stage].reads:
        if key.split(".")[0] in ruled.config and key not in ruled.unread.get(stage, ()):
            found[key] = select(ruled.config, key)
    return nest(found)


def needs(config: DictConfig, stage: str) -> list[str]:
    """The stages that a stage of this config needs."""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return [need for need in specs()[stage].needs if specs()[need].belongs_to(plain)]


def question(config: DictConfig, stage: str) -> dict[str, Any]:
    """What the pricing process is asked of a stage."""
    inputs = {need: read(config, need) for need in needs(config, stage)}
    return {"stage": stage, "run": f"lavit.stages.{stage}.run", "config": read(config, stage), "inputs": inputs}


class Stages:
    """Runs stages, and what they need, each once.

    Args:
        root: where their folders go.
    """

    def __init__(self, root: Path):
        self.root = root
        self.folders: dict[str, Path] = {}

    def run(self, config: DictConfig, stage: str, seed: int = 0) -> Path:
        """The finished folder of a stage of this config."""
        inputs = {need: self.run(config, need, seed) for need in needs(config, stage)}
        own = read(config, stage)
        key = json.dumps([stage, own, seed, {n: str(f) for n, f in inputs.items()}], sort_keys=True, default=str)
        if key not in self.folders:
            out = self.root / f"{len(list(self.root.iterdir())):03d}-{stage}"  # beside those that failed
            out.mkdir(parents=True)
            context = StageContext(stage, DeclaredConfig(own, stage, specs()[stage].reads), seed, inputs, out)
            importlib.import_module(f"lavit.stages.{stage}").run(context)
            self.folders[key] = out
        return self.folders[key]

    def ledger(self, config: DictConfig, stage: str) -> dict[str, float]:
        """What a stage measured of itself."""
        found: dict[str, float] = json.loads((self.run(config, stage) / "ledger.json").read_text())
        return found

    def arm(self, config: DictConfig, seed: int = 0) -> dict[str, Path]:
        """The folders of a trained arm, as :func:`lavit.model.load` takes them."""
        names = [*needs(config, "cooldown"), "pixels", "cooldown"]
        return {name: self.run(config, name, seed) for name in names}
