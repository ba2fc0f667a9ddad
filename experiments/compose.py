"""Hydra composition in-process: a config folder and overrides become one plain, resolved dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def config_folder() -> Path:
    """The config folder that ships beside the packages."""
    import experiments

    return Path(experiments.__file__).parent.parent / "conf"


def compose(overrides: Sequence[str], config_dir: Path | None = None) -> dict[str, Any]:
    """Return the resolved config as plain data, without the `hydra` node; canonical drops are not applied."""
    raise NotImplementedError
