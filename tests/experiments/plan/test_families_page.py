"""docs/families.md says what the rules file says, and its families are arms that can be planned."""

from __future__ import annotations

import re

import pytest

from experiments.compose import Composer, config_folder
from experiments.rules import Rule, apply_rules, judge, read_rules

PAGE = (config_folder().parent / "docs" / "families.md").read_text()
FAMILIES = re.findall(r"^\| ([^|]+) \| `([a-z_]+=[^`]+)` \|", PAGE, re.MULTILINE)


def written(value: object) -> str:
    """A wanted value as the page writes it."""
    if isinstance(value, dict):
        return f"not {written(value['not'])}"
    if isinstance(value, list):
        return " or ".join(map(written, value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value).rsplit(".", 1)[-1] if isinstance(value, str) else str(value)


def row(rule: Rule) -> str:
    """The line of a rule."""
    when = " and ".join(f"`{key}`: {written(value)}" for key, value in rule.when.items())
    return f"| {rule.id} | {when} | {rule.verdict} | {rule.why} |"


def test_the_table_of_rules_is_the_file() -> None:
    table = [line for line in PAGE.splitlines() if line.count(" | ") == 3 and "`: " in line]
    assert table == [row(rule) for rule in read_rules(config_folder())]


def test_every_family_is_there() -> None:
    assert len(FAMILIES) >= 14


@pytest.mark.parametrize(("family", "overrides"), FAMILIES)
def test_a_family_is_a_legal_arm(family: str, overrides: str) -> None:
    config = Composer().resolved(overrides.split(), 0)[0]
    rules = read_rules(config_folder())
    assert judge(apply_rules(config, rules).config, rules, "illegal") == []
