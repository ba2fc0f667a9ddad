"""Write docs/gradients.md, which blocks of which arm receive gradient in which stage: `python docs/gradient_table.py`.

The arms are all combinations of the levels in conf/ along AXES, void twins once; what learns is asked of the modules
that train them, built without weights as for a price.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments.compose import Composer
from experiments.key import nest, select
from experiments.rules import apply_rules, judge, read_rules
from experiments.stages import StageSpec, read_all_stages
from lavit.build import locate
from lavit.count import TRIALS
from lavit.errors import LavitError
from lavit.model.blocks import BLOCKS, block_sizes, blocks_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "gradients.md"
RULES = read_rules(ROOT / "conf")
AXES = ("regime", "llm", "entry", "visual_input", "target")
ARM_STAGES = ("pretrain", "tune", "cooldown")
SHARED_STAGES = ("vision", "language", "tokenizer", "pixels")
SCALE = "quick"
NEEDS = {"emu": {"tokens": "fixed", "connector": "causal_former"}}  # what a target cannot be without
YES, PART, FROZEN, ABSENT = "yes", "part", "frozen", "–"

INTRODUCTION = f"""# Which blocks receive gradient

Written by `python docs/gradient_table.py` from `conf/` and the modules that train; a test compares it with this page,
and with the hash of what really changes when each stage runs. What the levels mean: [freezing.md](freezing.md).

**{YES}**: the whole block learns; **{PART}**: some of its parameters do (rows that nothing reads or writes in that
stage stand still); **{FROZEN}**: it keeps every bit, which is checked by hash after the stage; **{ABSENT}**: the arm
has no such block. Levels that make no difference stand in one row, and void twins once.
Sizes are those of `scale={SCALE}`.
"""


@dataclass(frozen=True)
class Row:
    """One stage of one arm: its levels by axis, and of each block whether it learns and how many parameters it has."""

    stage: str
    levels: dict[str, str]
    states: dict[str, str]
    sizes: dict[str, int]


def question(config: Mapping[str, Any], specs: Mapping[str, StageSpec], stage: str) -> dict[str, Any]:
    """What the pricing process is asked of a stage of a resolved config."""
    ruled = apply_rules(config, RULES)

    def read(name: str) -> dict[str, Any]:
        reads = specs[name].reads
        keys = [key for key in reads if key.split(".")[0] in ruled.config and key not in ruled.unread.get(name, ())]
        return nest({key: select(ruled.config, key) for key in keys})

    needs = [need for need in specs[stage].needs if specs[need].belongs_to(config)]
    return {"run": specs[stage].run, "config": read(stage), "inputs": {need: read(need) for need in needs}}


def module_of(asked: Mapping[str, Any]) -> Any:
    """The training module of a stage, without weights."""
    return locate(TRIALS[asked["run"]])(asked["config"], dict(asked["inputs"]), "meta").module


def states_of(model: Any) -> dict[str, str]:
    """Block -> whether it learns."""
    sizes, found = block_sizes(model), {}
    for block in BLOCKS:
        size = sizes.get(block, {"total": 0, "trainable": 0})
        whole = size["trainable"] == size["total"]
        found[block] = ABSENT if not size["total"] else YES if whole else PART if size["trainable"] else FROZEN
    return found


class Table:
    """Rows of all arms; models that differ in their recipe alone are built once.

    Args:
        scale: whose sizes to take.
        axes: the groups to combine; one that conf/ has not is passed over.
    """

    def __init__(self, scale: str = SCALE, axes: Iterable[str] = AXES):
        self.composer = Composer(ROOT / "conf")
        self.scale = scale
        self.axes = [axis for axis in axes if axis in self.composer.groups()]
        self.plain = self._composed()
        self.specs = read_all_stages(self.plain["stages"])
        self.nodes = {  # a choice of a group is a node of the config, whatever the other choices
            axis: {level: self._composed(f"{axis}={level}")[axis] for level in self.composer.options(axis)}
            for axis in self.axes
        }
        self.modules: dict[str, Any] = {}
        self.refused: dict[str, list[str]] = {}
        self.illegal: dict[str, str] = {}
        self.needed = {
            target: {group: self._composed(f"{group}={choice}")[group] for group, choice in groups.items()}
            for target, groups in NEEDS.items()
            if target in self.nodes.get("target", {})
        }

    def _composed(self, *choices: str) -> dict[str, Any]:
        config, _ = self.composer.resolved([f"scale={self.scale}", *choices], 0)
        return config

    def rows(self) -> Iterator[Row]:
        """Every stage of every arm that can be built."""
        seen = set()
        for levels in itertools.product(*self.nodes.values()):
            named = dict(zip(self.axes, levels, strict=True))
            config = self.plain | {axis: self.nodes[axis][level] for axis, level in named.items()}
            config |= self.needed.get(named.get("target", ""), {})
            if wrong := judge(apply_rules(config, RULES).config, RULES, "illegal"):
                self.illegal.setdefault(wrong[0].id, wrong[0].why)
                continue
            last = question(config, self.specs, "cooldown")
            twin = json.dumps([named.get("regime"), last], sort_keys=True, default=str)
            if twin in seen:
                continue
            seen.add(twin)
            named |= {axis: ABSENT for axis in self.axes if axis not in last["config"]}
            stages = [stage for stage in ARM_STAGES if self.specs[stage].belongs_to(config)]
            try:
                yield from [self._row(stage, named, question(config, self.specs, stage)) for stage in stages]
            except LavitError as error:
                self.refused.setdefault(error.message, []).append(", ".join(f"{a}={v}" for a, v in named.items()))

    def _row(self, stage: str, levels: dict[str, str], asked: dict[str, Any]) -> Row:
        own = {key: value for key, value in asked["config"].items() if key not in ("regime", "cooldown")}
        name = json.dumps(own, sort_keys=True, default=str)
        if name not in self.modules:
            self.modules[name] = module_of(asked)
        module = self.modules[name]
        module.config.regime = OmegaConf.create(asked["config"]["regime"])
        module.begin(stage)
        sizes = {block: size["total"] for block, size in block_sizes(module.model).items()}
        return Row(stage, levels, states_of(module.model), sizes)

    def shared(self) -> Iterator[tuple[str, str, str, int]]:
        """(stage, part, whether it learns, parameters) of the stages that arms share."""
        for stage in SHARED_STAGES:
            for part, parameters in parts_of(module_of(question(self.plain, self.specs, stage))).items():
                learns = any(parameter.requires_grad for parameter in parameters.values())
                yield stage, part, YES if learns else FROZEN, sum(p.numel() for p in parameters.values())


def parts_of(module: Any) -> dict[str, dict[str, Any]]:
    """Part -> name -> parameter of a stage's module: blocks of an arm, else what the module is made of."""
    if hasattr(module, "model"):
        return blocks_of(module.model)
    found: dict[str, dict[str, Any]] = {}
    for name, parameter in module.named_parameters():
        head, _, rest = name.partition(".")
        part = f"{head}.{rest.split('.')[0]}" if head == "tokenizer" else head
        found.setdefault(part, {})[name] = parameter
    return found


def merged(rows: list[tuple[dict[str, list[str]], Any]]) -> list[tuple[dict[str, list[str]], Any]]:
    """Rows that differ in one axis alone and hold the same are made one, again and again."""
    for axis in (*reversed(AXES), "stage"):
        groups: dict[str, tuple[dict[str, list[str]], Any]] = {}
        for levels, content in rows:
            rest = {name: values for name, values in levels.items() if name != axis}
            kept = groups.setdefault(json.dumps([rest, content]), ({**levels, axis: []}, content))
            kept[0][axis].extend(value for value in levels.get(axis, []) if value not in kept[0][axis])
        rows = list(groups.values())
    return rows


def table(header: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    header = list(header)
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *lines])


def page() -> str:
    """The whole page."""
    made = Table()
    rows = list(made.rows())
    axes = [axis for axis in made.axes if axis != "regime"]
    chosen = [f"`{axis}=`" for axis in axes]
    text = [INTRODUCTION]
    for regime in made.nodes["regime"]:
        own = [row for row in rows if row.levels["regime"] == regime]
        asked = [({"stage": [r.stage], **{a: [r.levels[a]] for a in axes}}, r.states) for r in own]
        lines = [
            [", ".join(levels[name]) for name in ("stage", *axes)] + [states[block] for block in BLOCKS]
            for levels, states in merged(asked)
        ]
        lines.sort(key=lambda line: [ARM_STAGES.index(line[0].split(", ")[0]), *line[1:]])
        text.append(f"## regime={regime}\n\n{table(['stage', *chosen, *BLOCKS], lines)}\n")
    held = [({a: [r.levels[a]] for a in axes}, r.sizes) for r in rows]
    lines = [
        [", ".join(levels[name]) for name in axes] + [f"{sizes[b]:,}" if b in sizes else ABSENT for b in BLOCKS]
        for levels, sizes in merged(held)
    ]
    text.append(f"## Parameters of each block\n\n{table([*chosen, *BLOCKS], sorted(lines))}\n")
    lines = [[stage, part, state, f"{size:,}"] for stage, part, state, size in made.shared()]
    text.append(
        "## Shared stages\n\nWhat they need of other stages (the encoder, for tokenizer and pixels) is read, and no "
        f"part of what they train.\n\n{table(['stage', 'part', 'receives gradient', 'parameters'], lines)}\n"
    )
    if made.illegal:
        lines = [[rule, why] for rule, why in sorted(made.illegal.items())]
        text.append(f"## Left out by the rules\n\n{table(['rule', 'because'], lines)}\n")
    if made.refused:
        lines = [[reason, "; ".join(arms)] for reason, arms in made.refused.items()]
        text.append(f"## Refused\n\n{table(['reason', 'arms'], lines)}\n")
    return "\n".join(text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
