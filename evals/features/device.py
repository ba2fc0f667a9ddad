"""Where features are extracted."""

from __future__ import annotations

import torch


def choose_device(name: str | None) -> str:
    """The device named, or a GPU where there is one."""
    return name or ("cuda" if torch.cuda.is_available() else "cpu")
