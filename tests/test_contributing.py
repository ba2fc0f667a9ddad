"""CONTRIBUTING.md is true: each of its examples, saved under the name that it gives, is found and works."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"`((?:conf|lavit|evals)/[\w/]+\.(?:yaml|py))`[^`]*?:\n\n```\w+\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages and of conf/, with every example of CONTRIBUTING.md saved in it."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("lavit", "evals", "experiments", "reports", "hydra_plugins", "conf"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    examples = dict(BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    assert len(examples) == 9
    for name, content in examples.items():
        assert not (root / name).exists(), f"{name} is an example, and exists"
        (root / name).write_text(content, encoding="utf-8")
    return root


def run(checkout: Path, *command: str) -> str:
    """Run Python in the copy and return what it printed."""
    done = subprocess.run([sys.executable, *command], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_study_and_the_levels_can_be_planned(checkout: Path) -> None:
    code = """
from experiments.plan import make_plan
plan = make_plan(["study=keep_rate", "scale=smoke"], count=False)
print(*plan.arms, sep="|")
make_plan(["study=quickstart", "llm=slow", "tokens=norm", "suite=colour", "scale=smoke"], count=False)
"""
    assert run(checkout, "-c", code).strip() == "default|rate=0.2|rate=0.6"


def test_the_component_and_the_benchmark_can_be_built(checkout: Path) -> None:
    code = """
import torch
from experiments.compose import compose
from evals.runner import build_suite
from lavit.build import build
config = compose(["tokens=norm", "connector=gated", "suite=colour", "scale=smoke"])
print(sorted(benchmark.name for benchmark in build_suite(config["suite"])))
selector = build(config["tokens"]["selector"], width=8, places=16)
print(selector(torch.randn(2, 16, 8)).keep_BM.sum(1).tolist())
print(tuple(build(config["connector"], feature_dim=4, width=6)(torch.randn(3, 4)).shape))
"""
    assert run(checkout, "-c", code).splitlines() == [
        "['caption', 'colour', 't2i', 'tokenizer', 'vqa']",
        "[6.0, 6.0]",
        "(3, 6)",
    ]


@pytest.mark.slow
def test_the_whole_road_with_every_example(checkout: Path) -> None:
    """One study over the new levels, judged by the new benchmark, with the new table."""
    (checkout / "conf" / "study" / "examples.yaml").write_text(
        "# The examples of CONTRIBUTING.md in one study.\n"
        "name: examples\nquestion: Do they work?\ndesign: one_at_a_time\n"
        "axes:\n  tokens: [dynamic, norm]\n  llm: [unfrozen, slow]\n  connector: [mlp, gated]\n"
        "seeds: 1\nheadline: colour/faithful\n",
        encoding="utf-8",
    )
    run(checkout, "-m", "experiments.cli", "run", "study=examples", "suite=colour", "scale=smoke")
    tables = checkout / "runs" / "examples" / "tables"
    assert "colour" in (tables / "main.md").read_text(encoding="utf-8")
    assert (tables / "words.md").is_file()
