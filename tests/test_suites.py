"""Every file of conf/suite is a suite: it composes, all its benchmarks can be built, and its datasets are described."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evals.benchmarks.from_files import FromFiles
from evals.files import files_fingerprint
from evals.runner import build_suite
from experiments.compose import compose
from lavit.errors import LavitError

ROOT = Path(__file__).parents[1]
SUITES = sorted(path.stem for path in (ROOT / "conf" / "suite").glob("*.yaml"))
DATASETS = ["paper", "paper_lavit", "understanding", "drawing", "few_shot"]
PAPER = ["coco", "nocaps", "flickr30k", "vqav2", "okvqa", "gqa", "vizwiz", "coco_t2i"]


def suite_node(name: str, *overrides: str) -> dict[str, Any]:
    node: dict[str, Any] = compose([f"suite={name}", "scale=smoke", *overrides])["suite"]
    return node


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_can_be_built(name: str) -> None:
    node = suite_node(name)
    assert [benchmark.name for benchmark in build_suite(node)] == list(node["benchmarks"])


@pytest.mark.parametrize("name", SUITES)
def test_datasets_of_suites_are_in_the_documentation(name: str) -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    for benchmark in build_suite(suite_node(name)):
        if isinstance(benchmark, FromFiles):
            assert any(f"{kind.__module__}.{kind.__qualname__}" in pages for kind in type(benchmark).__mro__)
            assert benchmark.split in benchmark.dataset.known_splits


def test_the_papers_suite_has_its_eight_columns_and_tells_what_is_missing_on_one_screen() -> None:
    node = suite_node("paper")
    assert list(node["benchmarks"]) == PAPER
    with pytest.raises(LavitError, match="8 of 8 benchmarks") as caught:
        files_fingerprint(node, None)
    assert all(f"- {name}" in str(caught.value) for name in PAPER)
    assert len(str(caught.value).splitlines()) <= 24
    fewer = suite_node("paper", "suite.benchmarks.nocaps=null", "suite.missing=skip")
    assert "nocaps" not in {benchmark.name for benchmark in build_suite(fewer)}
    assert files_fingerprint(fewer, None)


def test_the_files_of_a_suite_are_looked_for_without_loading_anything_heavy() -> None:
    program = """
import sys
from evals.files import benchmarks_with_files
from experiments.compose import compose
for name in %r:
    benchmarks_with_files(compose([f"suite={name}", "scale=smoke"])["suite"])
heavy = {"torch", "lightning", "transformers", "mlflow", "scipy", "pandas", "optuna"} & set(sys.modules)
sys.exit(f"loaded: {sorted(heavy)}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", program % DATASETS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
