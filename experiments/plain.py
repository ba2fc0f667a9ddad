"""Composed configs as plain data, resolved without OmegaConf where that is safe: what makes large plans quick.

OmegaConf copies and parses each config anew for each arm (60 ms). A study's arms, however, share few sets of group
choices and differ in single values besides. So each set of choices is turned into plain data once; the values of an
arm are put into a copy of it, and its interpolations, which are nearly all of the form `${some.key}`, are looked up.
Anything out of the ordinary (a resolver, a relative or nested interpolation, an added or deleted key, a value within a
node that is itself an interpolation) is left to OmegaConf. A property test holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

_WHOLE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}")


class NotPlain(Exception):
    """This config needs OmegaConf."""


class PlainConfig:
    """One set of group choices as plain data with its interpolations unresolved.

    Args:
        config: the composed config; it is read once and not kept.
    """

    def __init__(self, config: DictConfig):
        tree = OmegaConf.to_container(config, resolve=False)
        assert isinstance(tree, dict)
        self._tree: dict[Any, Any] = tree
        self.simple = all(_is_simple(value) for value in _leaf_values(tree))

    def resolve(self, values: Iterable[tuple[str, Any]] = ()) -> dict[Any, Any]:
        """Return the resolved config with these values (dotted key, value) set.

        Raises:
            NotPlain: it takes OmegaConf to say what comes out, or what is wrong.
        """
        if not self.simple:
            raise NotPlain
        tree = self._tree
        for key, value in values:
            tree = _put(tree, key.split("."), value)
        resolved = _Resolver(tree).resolve(tree)
        assert isinstance(resolved, dict)
        return resolved


def plain_values(overrides: Iterable[Override]) -> list[tuple[str, Any]]:
    """Return (dotted key, value) of overrides of which each replaces one value, and none another's.

    Raises:
        NotPlain: one adds, deletes, merges or interpolates, or two meet.
    """
    found: list[tuple[str, Any]] = []
    for override in overrides:
        if override.package is not None or override.is_add() or override.is_force_add() or override.is_delete():
            raise NotPlain
        key, value = override.key_or_group, override.value()
        if not _is_plain(value):
            raise NotPlain
        if any(f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.") for other, _ in found):
            raise NotPlain
        found.append((key, value))
    return found


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    if isinstance(value, str):
        return "${" not in value and value != "???"
    return value is None or isinstance(value, bool | int | float)


def _is_simple(value: Any) -> bool:
    if not isinstance(value, str):
        return True
    return value != "???" and ("${" not in value or _WHOLE.fullmatch(value) is not None)


def _leaf_values(tree: Any) -> Iterator[Any]:
    if isinstance(tree, Mapping):
        for value in tree.values():
            yield from _leaf_values(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _leaf_values(value)
    else:
        yield tree


def _put(tree: dict[Any, Any], parts: list[str], value: Any) -> dict[Any, Any]:
    """A copy of the tree with one existing leaf replaced; what is not on the way is shared."""
    head, *rest = parts
    if head not in tree:
        raise NotPlain
    old = tree[head]
    if rest:
        if not isinstance(old, dict):
            raise NotPlain
        return {**tree, head: _put(old, rest, value)}
    if isinstance(old, dict):
        raise NotPlain
    return {**tree, head: value}


class _Resolver:
    """Resolves a tree whose only interpolations are `${some.key}`."""

    def __init__(self, tree: dict[Any, Any]):
        self._tree = tree
        self._known: dict[str, Any] = {}
        self._open: set[str] = set()

    def resolve(self, node: Any) -> Any:
        """The node with every interpolation replaced; every container is a new one."""
        if isinstance(node, dict):
            return {key: self.resolve(value) for key, value in node.items()}
        if isinstance(node, list):
            return [self.resolve(value) for value in node]
        if isinstance(node, str) and (found := _WHOLE.fullmatch(node)) is not None:
            return _copied(self._at(found[1]))
        return node

    def _at(self, key: str) -> Any:
        if key in self._known:
            return self._known[key]
        if key in self._open:  # a circle: OmegaConf says where
            raise NotPlain
        self._open.add(key)
        node: Any = self._tree
        for part in key.split("."):
            while isinstance(node, str) and (found := _WHOLE.fullmatch(node)) is not None:
                node = self._at(found[1])
            if not isinstance(node, dict) or part not in node:
                raise NotPlain
            node = node[part]
        self._known[key] = self.resolve(node)
        self._open.discard(key)
        return self._known[key]


def _copied(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _copied(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_copied(value) for value in node]
    return node
