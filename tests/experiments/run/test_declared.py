"""What a stage reads without declaring it is refused by name, however it asks; what it declares and reads is noted."""

from __future__ import annotations

import ast
import copy
import json
import pickle
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from experiments.declared import DeclaredConfig, UndeclaredReadError
from experiments.job import run_stage

#: Modules whose own business with the environment changes no result.
MAY_READ_ENVIRONMENT: dict[str, str] = {
    "evals/harness/offline.py": "keeps other libraries from the network",
    "evals/metrics/java.py": "where Java is; without it a metric is absent, and said to be, never another number",
    "evals/metrics/spice.py": "where SPICE's models are; the same",
    "lavit/released_files.py": "where hashes of large files are remembered",
}
CONTENT = {"data": {"name": "world", "size": 3}, "tokenizer": {"quantizer": {"size": 8}}}


@pytest.fixture
def config():
    return DeclaredConfig(CONTENT, "pretrain", ["data", "tokenizer.quantizer", "target"])


ASKING = {
    "attribute": lambda config: config.optimizer,
    "item": lambda config: config["optimizer"],
    "get": lambda config: config.get("optimizer"),
    "get with a default": lambda config: config.get("optimizer", 3),
    "in": lambda config: "optimizer" in config,
    "hasattr": lambda config: hasattr(config, "optimizer"),
    "select": lambda config: OmegaConf.select(config, "optimizer.lr"),
    "select with a default": lambda config: OmegaConf.select(config, "optimizer.lr", default=1),
}


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_every_way_of_asking_for_what_is_not_declared_names_stage_key_and_place(config, ask):
    with pytest.raises(UndeclaredReadError, match="pretrain") as caught:
        ask(config)
    assert "reads 'optimizer" in str(caught.value)
    assert "stages.pretrain.reads in conf/config.yaml" in str(caught.value)


def test_beside_a_declared_part_of_a_group_the_group_is_not_declared(config):
    assert config.tokenizer.quantizer.size == 8
    with pytest.raises(UndeclaredReadError, match=r"tokenizer\.selector"):
        config.tokenizer.get("selector")


def test_a_declared_part_reads_as_in_any_config_and_is_noted(config):
    assert config.seen == []
    assert config.data.size == 3
    assert config.data.get("no") is None, "inside a declared part all is part of the key, absence too"
    assert config.seen == ["data"]
    assert "target" not in config
    assert config.get("target") is None, "declared, and dropped by a canonical rule"
    assert config.seen == ["data", "target"]
    assert OmegaConf.to_container(config) == CONTENT
    assert config.seen == ["data", "tokenizer.quantizer", "target"]
    with pytest.raises(Exception, match="read-only"):
        config.data.size = 4
    assert copy.deepcopy(config) == pickle.loads(pickle.dumps(config)) == config  # as a training framework may do


def test_a_job_that_reads_what_it_does_not_declare_fails_with_that_message(store, make_job):
    with pytest.raises(UndeclaredReadError):
        run_stage(store.write_request(make_job("vision", "v", how="undeclared").request()))
    assert store.failure("vision", "v")["class"] == "UndeclaredReadError"
    assert "stages.vision.reads" in store.failure("vision", "v")["message"]


def test_a_job_notes_what_it_read_and_on_what_it_ran_outside_its_checksums(store, make_job):
    job = make_job("vision", "v")
    job.config, job.reads = {**job.config, "idle": {"x": 1}}, ("work", "idle")
    body = run_stage(store.write_request(job.request()))
    assert store.read("vision", "v", "reads.json") == {"declared": ["work", "idle"], "read": ["work"]}
    found = store.read("vision", "v", "environment.json")
    assert found["python"]
    assert found["host"]
    assert "numpy" in found["packages"]
    assert set(found["git"]) == {"commit", "dirty"}
    assert not {"reads.json", "environment.json"} & set(body["files"])
    (store.folder("vision", "v") / "environment.json").write_text(json.dumps({}))
    assert store.verify("vision", "v") == []


def environment_reads(tree: ast.AST) -> list[int]:
    """Lines that read the process's environment."""
    return sorted(
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and {"environ", "getenv"} & _names(node))
    )


def _names(node: ast.ImportFrom) -> set[str]:
    return {alias.name for alias in node.names}


def test_what_makes_results_reads_no_environment_variable(repository: Path):
    """A variable is in no key: what depends on one would be found in the store under the wrong key."""
    found = [
        f"{path.relative_to(repository)}:{line}"
        for package in ("lavit", "evals")
        for path in sorted((repository / package).rglob("*.py"))
        for line in environment_reads(ast.parse(path.read_text(encoding="utf-8")))
        if path.relative_to(repository).as_posix() not in MAY_READ_ENVIRONMENT
    ]
    assert found == []
    assert environment_reads(ast.parse("import os\nx = os.environ.get('A')\ny = os.getenv('B')")) == [2, 3]
