"""Rules over configs: what means nothing together (void), what is refused (illegal), what is told (limited).

They are data, `rules.yaml` in the config folder. A rule looks at the resolved config of one arm, so that it holds in
every study, whichever axes that has. Void rules drop or set what means nothing before keys are made; two arms that
differ in nothing else become one run (`experiments.ruled` takes the later one out of the design).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from experiments.errors import LavitError, did_you_mean
from experiments.key import select, with_value, without

FILE = "rules.yaml"
VERDICTS = ("void", "illegal", "limited")
_KEYS = ("id", "when", "verdict", "why", "drop", "set", "stages", "instead")
_CHANGES = ("drop", "set", "stages")  # of void rules alone


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        id: its name, as plan, report and docs call it.
        when: dotted config key -> a value, a list of values, or {not: a value or a list}; all must hold, and a key that
            the config does not have never does.
        verdict: one of `VERDICTS`.
        why: the reason, in words.
        drop: dotted keys that mean nothing there.
        set: dotted keys and the value that they have there, whatever the config says.
        stages: the stages that do not read what is dropped; none named: no stage does.
        instead: what to do, where the combination is refused.
    """

    id: str
    when: dict[str, Any]
    verdict: str
    why: str
    drop: tuple[str, ...] = ()
    set: dict[str, Any] = field(default_factory=dict)
    stages: tuple[str, ...] = ()
    instead: str = ""

    def matches(self, config: Mapping[str, Any]) -> bool:
        """Whether a resolved config is one that the rule is about."""
        return all(_holds(config, key, wanted) for key, wanted in self.when.items())

    def explains(self, path: str) -> bool:
        """Whether a difference at this dotted path means nothing where the rule matches."""
        return any(path == key or path.startswith(f"{key}.") for key in (*self.drop, *self.set))

    def found(self, config: Mapping[str, Any]) -> str:
        """The keys that it looks at, with their values here: `llm.name=frozen, llm_init.name=scratch`."""
        return ", ".join(f"{key}={select(config, key)}" for key in self.when)


class Ruled(NamedTuple):
    """A config without what means nothing in it."""

    config: dict[str, Any]
    dropped: list[str]  # keys that no stage reads any more
    unread: dict[str, list[str]]  # stage -> keys that it alone does not read
    fired: list[Rule]  # the void rules that matched, in order


def apply_rules(config: Mapping[str, Any], rules: Iterable[Rule]) -> Ruled:
    """Drop and set what the void rules say, in their order, each on what the ones before it have left."""
    out, fired = dict(config), []
    dropped: list[str] = []
    unread: dict[str, list[str]] = {}
    for rule in rules:
        if rule.verdict != "void" or not rule.matches(out):
            continue
        fired.append(rule)
        for key, value in rule.set.items():
            out = with_value(out, key, value)
        for stage in rule.stages:
            unread.setdefault(stage, []).extend(rule.drop)
        if not rule.stages:
            out = without(out, rule.drop)
            dropped.extend(rule.drop)
    return Ruled(out, dropped, unread, fired)


def judge(config: Mapping[str, Any], rules: Iterable[Rule], verdict: str) -> list[Rule]:
    """The rules of one verdict that match a config from which the void rules have taken what means nothing."""
    return [rule for rule in rules if rule.verdict == verdict and rule.matches(config)]


def within_reach(rules: Sequence[Rule], read: Iterable[str], read_by_all: Iterable[str]) -> tuple[Rule, ...]:
    """The rules that concern a plan: none that looks at what only stages read which the plan does not have.

    Args:
        rules: all of them.
        read: dotted keys that the plan's stages read.
        read_by_all: those that any declared stage reads.
    """
    near, far = tuple(read), tuple(read_by_all)
    return tuple(rule for rule in rules if all(_under(key, near) or not _under(key, far) for key in rule.when))


def read_rules(config_dir: Path) -> tuple[Rule, ...]:
    """The rules of a config folder, none where it has no `rules.yaml`.

    Raises:
        LavitError: the file is no list of rules; names the rule and the key.
    """
    path = config_dir / FILE
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else ()


@lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> tuple[Rule, ...]:  # `changed` is part of the cache's key
    try:
        nodes = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise LavitError(f"{path} is not YAML: {error}", "correct that line") from error
    if not isinstance(nodes, list):
        raise LavitError(
            f"{path}: {type(nodes).__name__} is not a list of rules", "write - id: ..., when: {KEY: VALUE}"
        )
    rules = [_rule(node, f"{path}: rule {number + 1}") for number, node in enumerate(nodes)]
    ids = [rule.id for rule in rules]
    if twice := next((name for name in ids if ids.count(name) > 1), None):
        raise LavitError(f"{path}: two rules are called {twice}", "give each a name of its own")
    return tuple(rules)


def _rule(node: Any, where: str) -> Rule:
    if not isinstance(node, dict) or not isinstance(node.get("id"), str):
        raise LavitError(f"{where}: {node!r} is not a rule", "write id, when, verdict and why")
    where = f"{where} ({node['id']})"
    for key in node:
        if key not in _KEYS:
            raise LavitError(f"{where}: {key}: unknown key", did_you_mean(key, _KEYS))
    when, verdict, why = node.get("when"), node.get("verdict"), node.get("why")
    if not isinstance(when, dict) or not when:
        raise LavitError(f"{where}: when: {when!r} names no keys", "write when: {KEY: VALUE}")
    for key, wanted in when.items():
        if isinstance(wanted, dict) and set(wanted) != {"not"}:
            raise LavitError(f"{where}: when.{key}: {wanted!r}", "write a value, a list of values, or {not: ...}")
    if verdict not in VERDICTS:
        raise LavitError(f"{where}: verdict: there is no {verdict!r}", did_you_mean(verdict, VERDICTS))
    if not isinstance(why, str) or not why.strip():
        raise LavitError(f"{where}: why: missing", "say why: plan and report print it")
    changes = [key for key in _CHANGES if node.get(key)]
    if (verdict == "void") != bool(node.get("drop") or node.get("set")):
        problem = f"{', '.join(changes)} of a rule that is {verdict}" if changes else "drops and sets nothing"
        raise LavitError(f"{where}: {problem}", "a void rule drops or sets keys, and no other does")
    return Rule(
        node["id"],
        dict(when),
        verdict,
        why.strip(),
        tuple(node.get("drop") or ()),
        dict(node.get("set") or {}),
        tuple(node.get("stages") or ()),
        str(node.get("instead") or ""),
    )


def refusal(rule: Rule, config: Mapping[str, Any], who: str = "") -> LavitError:
    """The error that refuses a config by an illegal rule: its keys, its reason, and what to do.

    Args:
        rule: the rule that matched.
        config: the config, for the values.
        who: whose config it is, before a colon.
    """
    keys = " or ".join(dict.fromkeys(key.removesuffix("._target_").removesuffix(".name") for key in rule.when))
    return LavitError(
        f"{who}{rule.found(config)} is illegal (rule {rule.id}): {rule.why}",
        rule.instead or f"change {keys}; docs/families.md lists the rules",
    )


def _holds(config: Mapping[str, Any], key: str, wanted: Any) -> bool:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    if isinstance(wanted, dict):
        return not _equals(node, wanted["not"])
    return _equals(node, wanted)


def _equals(value: Any, wanted: Any) -> bool:
    return value in wanted if isinstance(wanted, list) else bool(value == wanted)


def _under(key: str, nodes: Iterable[str]) -> bool:
    """Whether a key is one of the nodes, or lies in or above one."""
    return any(f"{key}.".startswith(f"{node}.") or f"{node}.".startswith(f"{key}.") for node in nodes)
