"""Settings that a config node gives: each key known, each number a number, told by the node's own names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lavit.errors import LavitError


def check_settings(
    node: Mapping[str, Any],
    at: str,
    known: Sequence[str],
    *,
    whole: Collection[str] = (),
    optional: Collection[str] = (),
    free: Collection[str] = (),
) -> None:
    """Refuse what a dataclass of numbers would take without a word.

    Args:
        node: key → value, as the config has it.
        at: the node's own name, as ``draw``.
        known: every setting.
        whole: those that are whole numbers.
        optional: those that may be null.
        free: those that are no numbers, which the dataclass checks itself.

    Raises:
        LavitError: a key that is none, or a value of the wrong type.
    """
    for name, value in node.items():
        if name not in known:
            raise LavitError(f"{at}.{name}: there is no such setting", f"known: {', '.join(known)}")
        if name in free or (name in optional and value is None):
            continue
        if isinstance(value, bool) or not isinstance(value, int if name in whole else int | float):
            raise LavitError(f"{at}.{name} is {value!r}", f"give a {'whole ' if name in whole else ''}number")
