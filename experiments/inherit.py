"""A study that starts from another one, by Hydra's own defaults list: `defaults: [lavit_paper, _self_]`.

Hydra merges the files key by key: a list replaces the inherited list whole, a map is merged into the inherited map,
and there is no way to take a key of a map away. So here an axis, a named arm or a level of `default` that such a file
sets to null is removed; and the name, which is also that of the folder, is never inherited.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from experiments.compose import Composer
from experiments.errors import Complaint

_MAPS = ("axes", "arms", "default")  # whose entries null removes


def drop_removed(node: dict[Any, Any], name: str, composer: Composer) -> None:
    """Take the axes and arms that a study file set to null out of its composed node."""
    removed = {found for body, inherits in _chain(name, composer) if inherits for found in _nulls(body)}
    for key, entry in removed:
        if isinstance(node.get(key), dict) and node[key].get(entry, "") is None:
            del node[key][entry]
            if not node[key]:
                del node[key]


def own_name(
    node: Mapping[Any, Any], name: str, composer: Composer, changes: Iterable[Any], complain: Complaint
) -> Any:
    """The study's name: as the command line has it, else the file's; a file may repeat its own name only.

    Args:
        node: the composed study.
        name: the file's name, without `.yaml`.
        composer: composes the folder of the file.
        changes: overrides of the study's keys.
        complain: makes the error.
    """
    if any(override.key_or_group == "study.name" for override in changes):
        return node.get("name", name)
    own = composer.read_file("study", name)[0].get("name", name)
    if own != name:
        raise complain(
            "name",
            f"{own!r} is not the file's name",
            f"write name: {name}, or rename the file: two studies of one name would share a folder",
        )
    return own


def _chain(name: str, composer: Composer, above: tuple[str, ...] = ()) -> list[tuple[dict[Any, Any], bool]]:
    """The bodies of the study files that this one is made of, its own first, and whether each starts from another."""
    if name in above or name not in composer.options("study"):
        return []
    body, parents = composer.read_file("study", name)
    more = [found for parent in parents for found in _chain(parent, composer, (*above, name))]
    return [(body, bool(parents)), *more]


def clash(name: str, composer: Composer) -> str | None:
    """The first key that is a list in one and a map in another of the files that a study is made of."""
    kinds: dict[str, type] = {}
    for path, kind in (found for body, _ in _chain(name, composer) for found in _kinds(body)):
        if kinds.setdefault(path, kind) is not kind:
            return path
    return None


def _kinds(tree: Any, path: str = "") -> Iterator[tuple[str, type]]:
    """(dotted key, kind) of all lists and maps in nested maps, outer ones first."""
    if path and isinstance(tree, list | dict):
        yield path, type(tree)
    for key, value in tree.items() if isinstance(tree, dict) else ():
        yield from _kinds(value, f"{path}.{key}" if path else str(key))


def _nulls(body: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    maps = {key: body[key] for key in _MAPS if isinstance(body.get(key), dict)}
    return [(key, entry) for key, entries in maps.items() for entry, value in entries.items() if value is None]
