"""How images are drawn, as data: the ``draw`` node of a benchmark in ``conf/suite``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from lavit.errors import LavitError
from lavit.model.settings_node import check_settings


@dataclass(frozen=True)
class DrawSettings:
    """Settings of :meth:`lavit.model.protocol.VisionLanguageModel.draw`.

    The model ends the image itself; ``min_tokens`` and ``max_tokens`` only bound when. Arms whose number of tokens is
    fixed have no end to move: there ``max_tokens`` cuts the image short and ``min_tokens`` changes nothing.

    Args:
        min_tokens: visual tokens before which an image may not end.
        max_tokens: visual tokens after which it ends; None: when all places are filled.
        place_temperature: of the draw of the next place. Taking the likeliest place at every step (0) writes too many
            tokens: where the next object may stand in many places, the nearest is the likeliest of them.
        token_temperature: of the draw of the code at that place; 0 takes the likeliest. A continuous target has
            nothing to draw.
        top_k: draw only among so many of the likeliest; None: all. Of places and of codes alike, at temperatures
            above 0.
        top_p: draw only among the likeliest that make up this mass.
        guidance: scale of classifier-free guidance; 1: none, and no second pass.
        best_of: images drawn for each prompt, of which the one is kept that the re-ranker likes best.

    Raises:
        LavitError: a value out of its range.
    """

    min_tokens: int = 1
    max_tokens: int | None = None
    place_temperature: float = 0.7
    token_temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    guidance: float = 1.0
    best_of: int = 1

    def __post_init__(self) -> None:
        ranges = {
            "min_tokens": (self.min_tokens >= 1, "1 or more: an image has at least one token"),
            "max_tokens": (
                self.max_tokens is None or self.max_tokens >= self.min_tokens,
                f"min_tokens ({self.min_tokens}) or more, or null",
            ),
            "place_temperature": (self.place_temperature >= 0, "0 (greedy) or more"),
            "token_temperature": (self.token_temperature >= 0, "0 (greedy) or more"),
            "top_k": (self.top_k is None or self.top_k >= 1, "1 or more, or null"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "guidance": (self.guidance >= 0, "0 (no prompt) or more"),
            "best_of": (self.best_of >= 1, "1 or more"),
        }
        for name, (fits, allowed) in ranges.items():
            if not fits:
                raise LavitError(f"draw.{name} is {getattr(self, name)}", f"it must be {allowed}")
        if self.best_of > 1 and self.place_temperature == self.token_temperature == 0:
            raise LavitError(
                f"draw.best_of is {self.best_of}, and both temperatures are 0: the same image every time",
                "raise draw.place_temperature or draw.token_temperature",
            )

    @classmethod
    def of(cls, node: Mapping[str, Any] | None) -> DrawSettings:
        """The settings that a config node gives, defaults for the rest.

        Raises:
            LavitError: a key that is none, or a value that is out of range or of the wrong type.
        """
        whole = ("min_tokens", "max_tokens", "top_k", "best_of")
        known = [field.name for field in fields(cls)]
        check_settings(node or {}, "draw", known, whole=whole, optional=("max_tokens", "top_k"))
        return cls(**(node or {}))
