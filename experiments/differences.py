"""Which parts of two keys differ: config leaves, code modules, seed, and the stages that are needed, one by one.

A key is a hash and tells nothing by itself; what went into it is in each folder's ``request.yaml`` and, for code, in
``<store>/code/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from experiments.codeversion import recorded_modules
from experiments.confounds import differing, leaves
from experiments.key import without
from experiments.store import REQUEST, Store

ABSENT = "(absent)"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Difference:
    """What tells one request from another; nothing in it where both are one key.

    Attributes:
        config: dotted path -> (old, new).
        code: what changed in the code, as words: module names, or that nothing was recorded.
        seed: (old, new), or None.
        needs: stage -> (old key, new key).
    """

    config: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    code: list[str] = field(default_factory=list)
    seed: tuple[int, int] | None = None
    needs: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How far apart the two are, to find the nearest: parts that differ, a config leaf counting as one."""
        return len(self.config) + bool(self.code) + (self.seed is not None) + len(self.needs)

    def lines(self) -> list[str]:
        """A line for each part that differs."""
        out = [f"config  {path}: {_short(old)} -> {_short(new)}" for path, (old, new) in self.config.items()]
        out += [f"code    {line}" for line in self.code]
        out += [f"seed    {self.seed[0]} -> {self.seed[1]}"] if self.seed else []
        out += [f"needs   {stage}: {old} -> {new}" for stage, (old, new) in self.needs.items()]
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "config": {path: {"old": old, "new": new} for path, (old, new) in self.config.items()},
            "code": self.code,
            "seed": list(self.seed) if self.seed else None,
            "needs": {stage: {"old": old, "new": new} for stage, (old, new) in self.needs.items()},
        }


def _short(value: Any) -> str:
    text = repr(value) if value != ABSENT else ABSENT
    return text if len(text) <= 60 else text[:57] + "..."


def read_request(store: Store, stage: str, key: str) -> dict[str, Any] | None:
    """What a folder was asked to hold, or None where that cannot be read."""
    try:
        text = (store.folder(stage, key) / REQUEST).read_text(encoding="utf-8")
        body = yaml.load(text, Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return body if isinstance(body, dict) and {"config", "needs", "seed"} <= body.keys() else None


def compare(store: Path, old: Mapping[str, Any], new: Mapping[str, Any], incidental: Iterable[str] = ()) -> Difference:
    """Compare two requests of one stage.

    Args:
        store: where code versions are recorded.
        old, new: bodies of ``request.yaml``.
        incidental: dotted keys that are no part of a key.
    """
    incidental = list(incidental)
    configs = without(old["config"], incidental), without(new["config"], incidental)
    found = Difference(config=changed_leaves(*configs))
    if old.get("code") != new.get("code") or old.get("run") != new.get("run"):
        found.code = changed_modules(store, str(old.get("code")), str(new.get("code")), new)
    if int(old["seed"]) != int(new["seed"]):
        found.seed = int(old["seed"]), int(new["seed"])
    stages = dict.fromkeys([*old["needs"], *new["needs"]])
    pairs = {stage: (old["needs"].get(stage, ABSENT), new["needs"].get(stage, ABSENT)) for stage in stages}
    found.needs = {stage: pair for stage, pair in pairs.items() if pair[0] != pair[1]}
    return found


def changed_leaves(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted path -> (old, new) of every leaf in which two configs differ."""
    before, after = dict(leaves(old)), dict(leaves(new))
    return {path: (before.get(path, ABSENT), after.get(path, ABSENT)) for path in differing(old, new)}


def changed_evaluation(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """``benchmark.part`` -> (old, new) of what is not the same rule of evaluation, in benchmarks that both have.

    Args:
        old, new: fingerprints by benchmark, as runs.json has them; packages are told as ``benchmark.environment.name``.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for name in [name for name in old if name in new]:
        sides = [{**side[name]["parts"], "environment": side[name]["environment"]} for side in (old, new)]
        found |= {f"{name}.{path}": pair for path, pair in changed_leaves(*sides).items()}
    return found


def changed_modules(store: Path, old: str, new: str, request: Mapping[str, Any] | None = None) -> list[str]:
    """Say which modules tell two code versions apart.

    Args:
        store: where versions are recorded.
        old, new: the versions.
        request: what is asked now: its modules are looked up where the new version is not recorded yet.
    """
    before, after = recorded_modules(store, old), recorded_modules(store, new)
    if after is None and request is not None:
        from experiments.codeversion import CodeVersions

        codes = CodeVersions()
        if codes.version(request["run"], request["config"]) == new:
            after = codes.hashes(request["run"], request["config"])
    if before is None or after is None:
        return [f"changed, {old} -> {new} (no module list recorded)"]
    words = {"changed": before.keys() & after.keys(), "new": after.keys() - before.keys()}
    words["gone"] = before.keys() - after.keys()
    lines = []
    for word, names in words.items():
        lines += [f"{name} {word}" for name in sorted(names) if before.get(name) != after.get(name)]
    return lines
