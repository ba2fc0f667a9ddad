"""Hydra finds our plugins, and values survive its grammar."""

from __future__ import annotations

import pytest


def test_hydra_finds_the_sweeper_and_the_launcher():
    from hydra.core.plugins import Plugins

    names = set(Plugins.instance().class_name_to_class)
    assert "hydra_plugins.lavit_study.study_sweeper.StudySweeper" in names
    assert "hydra_plugins.lavit_study.fork_launcher.ForkLauncher" in names


@pytest.mark.parametrize(
    "text",
    ["a=b", "it's", r"a\b", "end\\", r"\'", "x=${scale.y}", "with,comma [1,2] {a: b}", "ü · x", "study.axes={a: [1]}"],
)
def test_text_survives_hydras_grammar(text):
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    from experiments.main import quoted

    value = OverridesParser.create().parse_override(f"k={quoted(text)}").value()
    assert OmegaConf.create({"k": str(value)}).k == text
