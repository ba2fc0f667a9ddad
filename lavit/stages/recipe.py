"""Recipes: which stages train an arm, and what each of them mixes, teaches and may change.

A regime (``conf/regime``) is a recipe of one stage (``pretrain``) or two (``pretrain``, then ``tune``: supervised
fine-tuning), each a phase of ``train.steps``; the cool-down goes on with the last of them. All arms so have the same
number of steps, whatever their recipe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lavit.build import plain
from lavit.errors import LavitError
from lavit.model.blocks import BLOCKS

STAGES = ("pretrain", "tune", "cooldown")  # that train an arm, in order
KINDS = ("captions", "questions", "text", "generation")
IMAGES = ("captions", "questions", "generation")  # kinds of sequences that hold an image


@dataclass(frozen=True)
class Phase:
    """One stage of a recipe.

    Attributes:
        name: ``pretrain`` or ``tune``; the key under ``regime``.
        share: of ``train.steps``.
        generation: whether images are written, with the visual loss.
        mix: sequences of each kind, in units of what ``train`` asks for.
        learns: blocks that may learn (:data:`lavit.model.blocks.BLOCKS`).
        lr: rate of each block in units of ``optimizer.lr``.
    """

    name: str
    share: float
    generation: bool
    mix: dict[str, float]
    learns: tuple[str, ...]
    lr: dict[str, float]

    @classmethod
    def read(cls, regime: Mapping[str, Any], name: str) -> Phase:
        """The phase ``regime.NAME``.

        Raises:
            LavitError: a kind of sequence or a block that there is not; names the key.
        """
        node = plain(regime[name])
        phase = cls(
            name, float(node["share"]), bool(node["generation"]), dict(node["mix"]), tuple(node["learns"]), node["lr"]
        )
        named = (("mix", phase.mix, KINDS), ("learns", phase.learns, BLOCKS), ("lr", phase.lr, BLOCKS))
        for key, given, known in named:
            for value in given:
                if value not in known:
                    raise LavitError(
                        f"regime.{name}.{key} names {value!r}, which there is not", f"choose of {', '.join(known)}"
                    )
        if not 0 < phase.share <= 1:
            raise LavitError(f"regime.{name}.share={phase.share} is no share of train.steps", "above 0, at most 1")
        return phase

    def learning(self, llm: Mapping[str, Any]) -> tuple[str, ...]:
        """Blocks that may learn where the LLM's level (``conf/llm``) lets ``only`` some of them, or all.

        Raises:
            LavitError: the level names a block that there is not, or none that this phase lets learn.
        """
        only = plain(llm).get("only")
        if only is None:
            return self.learns
        for block in only:
            if block not in BLOCKS:
                raise LavitError(f"llm.only names {block!r}, which there is not", f"choose of {', '.join(BLOCKS)}")
        learning = tuple(block for block in self.learns if block in only)
        if not learning:
            raise LavitError(
                f"nothing learns in {self.name}: regime.{self.name}.learns={list(self.learns)}, llm.only={list(only)}",
                "let them have a block in common",
            )
        return learning

    def counts(self, train: Mapping[str, Any], step: int) -> dict[str, int]:
        """Sequences of each kind in the batch of a global step.

        Before images enter (``train.vision.start``) the step's image sequences are replaced by as many of text; and
        after that all but ``train.vision.ratio`` of them.
        """
        asked = {kind: round(float(train[kind]) * self.mix.get(kind, 1.0)) for kind in KINDS}
        if not self.generation:
            asked["generation"] = 0
        begun = step >= float(train["vision"]["start"]) * int(train["steps"])
        ratio = float(train["vision"]["ratio"]) if begun else 0.0
        shown = {kind: round(asked[kind] * ratio) for kind in IMAGES}
        return {**shown, "text": asked["text"] + sum(asked[kind] - shown[kind] for kind in IMAGES)}

    def seen(self, train: Mapping[str, Any], span: range) -> dict[str, int]:
        """Sequences of each kind in all batches of some global steps: batches change once, where images enter."""
        enter = min(max(math.ceil(float(train["vision"]["start"]) * int(train["steps"])), span.start), span.stop)
        parts = [part for part in (range(span.start, enter), range(enter, span.stop)) if part]
        counts = [(len(part), self.counts(train, part.start)) for part in parts]
        return {kind: sum(steps * count[kind] for steps, count in counts) for kind in KINDS}


@dataclass(frozen=True)
class Recipe:
    """The phases of an arm.

    Attributes:
        phases: one or two.
        steps: of all of them together (``train.steps``).
    """

    phases: tuple[Phase, ...]
    steps: int

    @classmethod
    def read(cls, regime: Mapping[str, Any], steps: int, stage: str | None = None) -> Recipe:
        """The recipe of a ``regime`` node; the stage ``pretrain``, which may not read what follows it, sees itself."""
        names = ["pretrain"] if stage == "pretrain" or regime["tune"] is None else ["pretrain", "tune"]
        return cls(tuple(Phase.read(regime, name) for name in names), steps)

    def span(self, name: str) -> range:
        """Global steps of a phase; those of the last one end at ``train.steps``."""
        first = round(self.phases[0].share * self.steps)
        if name == "pretrain":
            return range(first)
        return range(first, self.steps)

    @property
    def generates(self) -> bool:
        """Whether any phase writes images."""
        return any(phase.generation for phase in self.phases)
