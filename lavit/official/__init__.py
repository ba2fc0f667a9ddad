"""LaVIT as it was released: the published arrangement of our modules, and its weights under their official names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lavit.official.loading import Official


def load(folder: Path | str) -> Official:
    """The pieces of what ``lavit import-official`` wrote; see :class:`lavit.official.loading.Official`."""
    from lavit.official import loading  # heavy, and of no use to the rest of the package

    return loading.load(folder)
