"""What kind of value each key of a study file must hold: a slip is refused by name before anything reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.errors import LavitError

#: Optional keys of a study file and what each must be.
_FORMS: dict[str, tuple[type, ...]] = {
    "axes": (Mapping,),
    "family": (list, tuple),
    "void": (list, tuple),
    "voids": (list, tuple),
    "only_if": (Mapping,),
    "conditional_on": (list, tuple),
    "interactions": (list, tuple),
}


def check_forms(raw: Mapping[str, Any], path: Path) -> None:
    """Refuse a key whose value is of another kind than the readers below expect."""
    for key, forms in _FORMS.items():
        if raw.get(key) is not None and not isinstance(raw[key], forms):
            what = "a mapping" if Mapping in forms else "a list"
            raise LavitError(f"{path}: '{key}' must be {what}, it is '{raw[key]}'", "docs/reports.md has an example")
    for key in ("void", "voids"):
        for entry in raw.get(key) or []:
            levels = (
                entry.get("when") or entry.get("arm") or entry.get("levels") if isinstance(entry, Mapping) else None
            )
            if not isinstance(levels, Mapping):
                raise LavitError(f"{path}: '{key}' has the entry {entry}", "write {when: {axis: level}, why: text}")
    for axis, condition in (raw.get("only_if") or {}).items():
        if not isinstance(condition, Mapping) or not all(isinstance(v, (list, tuple)) for v in condition.values()):
            raise LavitError(f"{path}: 'only_if' has {axis}: {condition}", "write AXIS: {OTHER: [LEVEL]}")
    seeds = raw.get("seeds") or []
    if not _whole(seeds) and not (isinstance(seeds, (list, tuple)) and all(map(_whole, seeds))):
        raise LavitError(f"{path}: 'seeds' is '{seeds}'", "write a whole number, or a list of whole numbers")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
