"""One line of a report's audit."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Check:
    """One line of the audit. `state`: ok, warn or info; `items` are listed below it."""

    name: str
    state: str
    text: str
    items: tuple[str, ...] = field(default=())
