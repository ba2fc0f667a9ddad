"""Content keys: what a stage's result depends on, as 16 hex characters.

key = sha256 of {stage, the resolved config that the stage reads (what void rules drop and incidental keys
left out), its seed where it is seeded, the version of its code, the keys of the stages that it needs}. Values
are hashed with their
types: 1, 1.0, true and "1" are four different values.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

KEY_LENGTH = 16

_digests: dict[str, str] = {}


def stage_key(stage: str, config: Mapping[str, str], seed: int | None, code: str, needs: Mapping[str, str]) -> str:
    """Return the content key of a stage.

    Args:
        stage: its name.
        config: the digest of every subtree that it reads, by the subtree's name (see `digest`).
        seed: the run's seed, or None for a stage that is not seeded.
        code: the version of its code.
        needs: keys of the stages that it needs.
    """
    return digest({"stage": stage, "config": dict(config), "seed": seed, "code": code, "needs": dict(needs)})


def digest(value: Any) -> str:
    """Hash plain data by content and type, whatever the order of its mappings."""
    written = repr(value)  # much faster than the canonical text, and as exact: most subtrees come back arm after arm
    if written not in _digests:
        _digests[written] = hashlib.sha256(canonical_text(value).encode()).hexdigest()[:KEY_LENGTH]
    return _digests[written]


def canonical_text(value: Any) -> str:
    """One text per value: mappings sorted by key, numbers with their type (`1` is not `1.0`)."""
    if isinstance(value, Mapping):
        pairs = sorted((canonical_text(key), canonical_text(item)) for key, item in value.items())
        return "{" + ",".join(f"{key}:{item}" for key, item in pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(canonical_text(item) for item in value) + "]"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f"float:{value}"
    if value is None or isinstance(value, bool | int | str):
        return json.dumps(value, ensure_ascii=True)
    return f"{type(value).__name__}:{value}"


def select(config: Mapping[str, Any], key: str) -> Any:
    """Return the subtree at a dotted key of a resolved config; raises KeyError where there is none."""
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            raise KeyError(key)
        node = node[part]
    return node


def nest(subtrees: Mapping[str, Any]) -> dict[str, Any]:
    """Turn {dotted key: subtree} into nested data: what a stage is given as its config."""
    out: dict[str, Any] = {}
    for key, subtree in subtrees.items():
        *parents, last = key.split(".")
        place = out
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = subtree
    return out


def without(config: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """A copy of nested config without the dotted keys; those that are not there are ignored."""
    out = dict(config)
    for key in keys:
        head, _, tail = key.partition(".")
        if head not in out:
            continue
        if not tail:
            del out[head]
        elif isinstance(out[head], Mapping):
            out[head] = without(out[head], [tail])
    return out


def incidental_keys(config: Mapping[str, Any]) -> list[str]:
    """Dotted keys that change how fast a result comes, never the result, as a config declares them."""
    return [str(key) for key in config.get("incidental") or []]


def with_value(config: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of nested config with another value at a dotted key that it has; where it has none, an equal copy."""
    head, _, tail = key.partition(".")
    if head not in config or (tail and not isinstance(config[head], Mapping)):
        return dict(config)
    return {**config, head: with_value(config[head], tail, value) if tail else value}
