"""Building what a config names: a node with ``_target_`` becomes a call of that dotted path.

This is the package's only registry, and it needs no hydra, so that a finished stage can be loaded anywhere.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from lavit.errors import LavitError


def locate(path: str) -> Any:
    """The object at a dotted path.

    Raises:
        LavitError: there is no such module or no such name in it.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise LavitError(f"_target_={path!r} cannot be found: {error}") from error


def plain(node: Any) -> Any:
    """A config node as plain dicts, lists and scalars, interpolations resolved."""
    if isinstance(node, DictConfig | ListConfig):
        return OmegaConf.to_container(node, resolve=True)
    return node


def build(node: Mapping[str, Any] | DictConfig, **further: Any) -> Any:
    """Call ``node._target_`` with the node's other keys and ``further`` (which win) as keyword arguments.

    Keys that begin with an underscore are left out. Nested nodes are passed on as they are: whoever takes
    one builds it with what only it knows (widths, number of patches).

    Raises:
        LavitError: the node has no ``_target_``, or the target refuses an argument.
    """
    options = plain(node)
    if not isinstance(options, Mapping) or "_target_" not in options:
        raise LavitError(f"a config node with _target_ was expected, got {options!r}")
    target = locate(options["_target_"])
    arguments = {key: value for key, value in options.items() if not key.startswith("_")}
    try:
        return target(**(arguments | further))
    except TypeError as error:
        raise LavitError(f"cannot build {options['_target_']}: {error}") from error
