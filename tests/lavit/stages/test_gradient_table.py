"""docs/gradients.md says which blocks receive gradient; here every block is hashed before and after it trains."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tiny_stages import CONF, Stages, needs, question, whole

from lavit.model.blocks import tensors_hash

ROOT = CONF.parent
MODULES = ("vision", "language", "tokenizer", "pixels", "pretrain", "cooldown")  # tune trains by pretrain's function


def load() -> ModuleType:
    """docs/gradient_table.py: it is a script, in no package."""
    spec = importlib.util.spec_from_file_location("gradient_table", ROOT / "docs" / "gradient_table.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["gradient_table"] = module
    spec.loader.exec_module(module)
    return module


SCRIPT = load()
ARMS = [
    {"regime": "align_sft", "llm": "lora"},
    {"regime": "adapter", "llm": "frozen"},
]
REST = [
    {"regime": "omni", "llm": "unfrozen", "target": "emu", "tokens": "fixed", "connector": "causal_former"},
    {"regime": "unified", "llm": "frozen", "target": "cosine"},
    {"regime": "unified", "llm": "unfrozen", "target": "feature"},
    {"regime": "adapter", "llm": "frozen", "entry": "gated"},
    {"regime": "omni", "llm": "lora", "entry": "hybrid"},
]
REST += [
    {"regime": regime, "llm": llm, "visual_input": visual, "target": target}
    for regime, llm, visual, target in itertools.product(
        *([p.stem for p in sorted((CONF / g).glob("*.yaml"))] for g in ("regime", "llm", "visual_input")),
        ("none", "discrete", "continuous"),
    )
]


def named(groups: dict[str, str]) -> str:
    return "-".join(groups.values())


class Audit:
    """Runs stages, and knows of each part of what they train whether a bit of it changed."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch):
        self.stages = Stages(root)
        self.changed: dict[Path, dict[str, bool]] = {}
        for name in MODULES:
            module = importlib.import_module(f"lavit.stages.{name}")
            patch.setattr(module, "fit", self._recording(module.fit))

    def _recording(self, fit: Any) -> Any:
        def recorded(module: Any, context: Any, *rest: Any, **options: Any) -> Any:
            def hashes() -> dict[str, str]:
                return {part: tensors_hash(held.items()) for part, held in SCRIPT.parts_of(module).items()}

            before = hashes()
            result = fit(module, context, *rest, **options)
            after = hashes()
            self.changed[context.out] = {part: after[part] != before[part] for part in before}
            return result

        return recorded

    def of(self, config: Any, stage: str) -> dict[str, bool]:
        return self.changed[self.stages.run(config, stage)]


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        yield Audit(tmp_path_factory.mktemp("audit"), patch)


def check(audit: Audit, groups: dict[str, str]) -> None:
    config = whole("llm.lora.r=4" if groups["llm"] == "lora" else "seed=0", **groups)
    stages = [stage for stage in (*needs(config, "cooldown"), "cooldown") if stage in SCRIPT.ARM_STAGES]
    assert len(stages) == (2 if config.regime.tune is None else 3)
    for stage in stages:
        told = SCRIPT.states_of(SCRIPT.module_of(question(config, stage)).model)
        learns = {block: state != SCRIPT.FROZEN for block, state in told.items() if state != SCRIPT.ABSENT}
        assert audit.of(config, stage) == learns, f"{stage} of {groups}"


@pytest.mark.parametrize("groups", ARMS, ids=named)
def test_a_block_changes_exactly_where_the_table_says_that_it_learns(audit: Audit, groups: dict[str, str]) -> None:
    check(audit, groups)


@pytest.mark.slow
@pytest.mark.parametrize("groups", REST, ids=named)
def test_so_does_every_block_of_every_arm(audit: Audit, groups: dict[str, str]) -> None:
    check(audit, groups)


@pytest.mark.parametrize("stage", SCRIPT.SHARED_STAGES)
def test_every_part_of_a_shared_stage_changes(audit: Audit, stage: str) -> None:
    config = whole(tokens="dynamic")
    told = SCRIPT.parts_of(SCRIPT.module_of(question(config, stage)))
    learns = {part: any(p.requires_grad for p in held.values()) for part, held in told.items()}
    assert audit.of(config, stage) == learns


def test_the_page_is_what_is_written_now() -> None:
    written = SCRIPT.PAGE.read_text(encoding="utf-8")
    assert written == SCRIPT.page(), "run `python docs/gradient_table.py`"
