"""Content keys: what a stage's result depends on, as 16 hex characters.

key = sha256 of {stage, the resolved config that the stage reads (canonical drops applied, incidental keys
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

from experiments.errors import LavitError

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


def apply_canonical(config: Mapping[str, Any], rules: Any) -> tuple[dict[str, Any], list[str], dict[str, list[str]]]:
    """Drop or set what means nothing in this configuration, so that void twins are one run.

    Rules are applied in order, each to what the ones before it have left.

    Args:
        config: the resolved config.
        rules: list of {when: {dotted key: value or list of values}, why: text} with any of drop: [dotted key];
            set: {dotted key: value}; and stages: [stage], which confines `drop` to what these stages read.

    Returns:
        The config without what was dropped, the dropped keys, and the keys that single stages do not read.
    """
    out, dropped = dict(config), []
    unread: dict[str, list[str]] = {}
    for index, rule in enumerate(rules or []):
        if not isinstance(rule, Mapping) or not isinstance(rule.get("when"), Mapping) or not rule.get("why"):
            raise LavitError(
                f"canonical[{index}] in the config is not a rule: {rule!r}",
                "write {when: {KEY: VALUE}, drop: [KEY], why: TEXT}",
            )
        if not all(_matches(out, key, value) for key, value in rule["when"].items()):
            continue
        for key, value in (rule.get("set") or {}).items():
            out = with_value(out, key, value)
        gone = list(rule.get("drop") or [])
        for stage in rule.get("stages") or []:
            unread.setdefault(stage, []).extend(gone)
        if not rule.get("stages"):
            out = without(out, gone)
            dropped.extend(gone)
    return out, dropped, unread


def with_value(config: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of nested config with another value at a dotted key that it has; where it has none, an equal copy."""
    head, _, tail = key.partition(".")
    if head not in config or (tail and not isinstance(config[head], Mapping)):
        return dict(config)
    return {**config, head: with_value(config[head], tail, value) if tail else value}


def _matches(config: Mapping[str, Any], key: str, value: Any) -> bool:
    try:
        node = select(config, key)
    except KeyError:
        return False
    return node in value if isinstance(value, list) else bool(node == value)
