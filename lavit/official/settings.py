"""How imported weights are used where the release leaves a choice: ``checkpoint.KEY=VALUE`` of `lavit eval`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from lavit.errors import LavitError

_CHOICES = {
    "selection": ("sample", "argmax"),
    "softmax": ("exact", "policy"),
    "pixels": ("auto", "low", "high", "none"),
}


@dataclass(frozen=True)
class OfficialSettings:
    """Settings of :class:`lavit.official.model.OfficialModel`; all are part of the checkpoint's fingerprint.

    Args:
        selection: ``sample`` draws which patches are kept, as the released code does at inference too (here from each
            image's own key, so that an image has the same tokens in every run); ``argmax`` keeps what is likelier kept.
        softmax: of the mergers: ``exact``, or ``policy`` for the released behaviour to the last digit (dense, slower).
        pixels: which pixel decoder paints: ``low`` (512 pixels; the published FID's), ``high`` (1024), ``none``, or
            ``auto``: the first of these that was imported whole.
        steps: calls of the U-Net for an image; None: as published (50 at low resolution, 25 at high).
        paint_guidance: scale of the U-Net's guidance; None: as published (1.5 in the evaluation at low resolution, 7 at
            high).
        batch: images or prompts that are worked on at once.

    Raises:
        LavitError: a value out of its range.
    """

    selection: str = "sample"
    softmax: str = "exact"
    pixels: str = "auto"
    steps: int | None = None
    paint_guidance: float | None = None
    batch: int = 16

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if (value := getattr(self, name)) not in known:
                raise LavitError(f"checkpoint.{name}={value!r} is unknown", f"choose one of {', '.join(known)}")
        for name, number in (("batch", self.batch), ("steps", self.steps)):
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
                raise LavitError(f"checkpoint.{name}={number!r} is not a whole number above 0")
        if self.paint_guidance is not None and not isinstance(self.paint_guidance, int | float):
            raise LavitError(f"checkpoint.paint_guidance={self.paint_guidance!r} is not a number")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> OfficialSettings:
        """The settings that a mapping gives, defaults for the rest.

        Raises:
            LavitError: a key that is none, or a bad value.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise LavitError(f"checkpoint.{name}: there is no such setting", f"known: {', '.join(known)}")
        return cls(**options)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)
