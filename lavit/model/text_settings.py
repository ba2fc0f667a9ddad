"""How text is written, as data: the ``decode`` node of a benchmark in ``conf/suite``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from lavit.errors import LavitError
from lavit.model.settings_node import check_settings


@dataclass(frozen=True)
class TextSettings:
    """Settings of what a model writes in words: captions, answers, and what follows a prompt.

    Names and meanings are those of transformers' ``generate``, and so are the results, token for token.

    Args:
        beams: width of the beam search; 1: none.
        min_new: ids that are written before the end mark may come.
        max_new: most ids that are written, the end mark among them.
        length_penalty: exponent of the length by which a beam's log-probability is divided; 0: their plain sum.
        early_stopping: stop at the first ``beams`` finished beams (True), or when the best running beam is worse than
            all finished ones at its present length (False) or at the best length it may still reach ("never").
        temperature: of sampling; 0: none, the likeliest is taken.
        top_k: draw only among so many of the likeliest; None: all.
        top_p: draw only among the fewest of the likeliest that make up this mass; 1: all.
        seed: of sampling.

    Raises:
        LavitError: a value out of its range; top-k or top-p without sampling, where they would do nothing; beams with
            sampling.
    """

    beams: int = 1
    min_new: int = 0
    max_new: int = 48
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        ranges = {
            "beams": (self.beams >= 1, "1 (none) or more"),
            "min_new": (self.min_new >= 0, "0 or more"),
            "max_new": (self.max_new >= max(1, self.min_new), f"1 or more, and at least min_new ({self.min_new})"),
            "early_stopping": (self.early_stopping in (True, False, "never"), 'true, false or "never"'),
            "temperature": (self.temperature >= 0, "0 (the likeliest) or more"),
            "top_k": (self.top_k is None or self.top_k >= 1, "1 or more, or null"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
        }
        for name, (fits, allowed) in ranges.items():
            if not fits:
                raise LavitError(f"decode.{name} is {getattr(self, name)!r}", f"it must be {allowed}")
        if self.temperature == 0 and (self.top_k is not None or self.top_p < 1):
            raise LavitError(
                f"top_k is {self.top_k} and top_p is {self.top_p}, but nothing is sampled at temperature 0",
                "raise the temperature, or leave both at their defaults",
            )
        if self.temperature > 0 and self.beams > 1:
            raise LavitError(
                f"beams is {self.beams} and temperature is {self.temperature}: beams are searched, not sampled",
                "set beams to 1 or temperature to 0",
            )

    @classmethod
    def of(cls, node: Mapping[str, Any] | None, default: TextSettings | None = None) -> TextSettings:
        """The settings that a config node gives, and for the rest ``default``, or the class's own.

        Raises:
            LavitError: a key that is none, or a value that is out of range or of the wrong type.
        """
        whole = ("beams", "min_new", "max_new", "top_k", "seed")
        known = [field.name for field in fields(cls)]
        check_settings(node or {}, "decode", known, whole=whole, optional=("top_k",), free=("early_stopping",))
        return replace(default or cls(), **(node or {}))


GREEDY_CAPTION = TextSettings(max_new=48)
"""How captions are written unless something else is asked for."""
GREEDY_ANSWER = TextSettings(max_new=6)
"""The same of answers."""
