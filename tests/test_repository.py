"""Rules for every file: who may import whom, what a config opens with, how long a file may be."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
PACKAGES = ("lavit", "evals", "experiments", "reports", "hydra_plugins")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
CONFIGS = sorted(CONF.rglob("*.yaml"))
STUDIES = sorted(path.stem for path in (CONF / "study").glob("*.yaml"))

# Package -> what it must never import, at any depth of its files (docs/design.md has the reasons).
FORBIDDEN = {
    "lavit": {"hydra", "hydra_plugins", "mlflow", "evals", "experiments", "reports"},
    "evals": {"hydra", "hydra_plugins", "mlflow", "experiments", "reports"},
    "experiments": set(),
    "reports": {"torch", "lightning", "transformers", "hydra", "hydra_plugins"},
    "hydra_plugins": {"torch", "lightning", "transformers", "lavit", "evals", "reports"},
}
# ... and what it must not import while being imported itself: plan and --help would pay for it in seconds.
HEAVY = {"torch", "lightning", "transformers", "diffusers"}
FORBIDDEN_AT_IMPORT = {
    "experiments": HEAVY | {"lavit", "evals", "reports"},
    "hydra_plugins": HEAVY | {"mlflow", "optuna"},
}

LONGEST_FILE = 400  # lines: what can be read in one sitting


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(node: ast.stmt) -> list[str]:
    """Top-level names of what an import statement imports; relative imports stay inside the package."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module.split(".")[0]]
    return []


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported: no bodies of functions, nothing for type checkers."""
    for node in body:
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for block in ("body", "orelse", "finalbody"):
            if not (block == "body" and is_type_checking(node)):
                yield from at_import(getattr(node, block, []))
        for handler in getattr(node, "handlers", []):
            yield from at_import(handler.body)


def tracked_texts() -> Iterator[tuple[str, str]]:
    """Every text file that git knows of, as (path, content)."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: no list of the project's files to go through")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file():
            content = path.read_bytes()
            if b"\0" not in content:
                yield name, content.decode("utf-8")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_what_lies_downstream_of_it(package: str) -> None:
    wrong = [
        f"{relative(path)}:{node.lineno} imports {name}"
        for path in MODULES
        if path.is_relative_to(ROOT / package)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.stmt)
        for name in imported(node)
        if name in FORBIDDEN[package]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", sorted(FORBIDDEN_AT_IMPORT))
def test_importing_a_planning_package_imports_nothing_heavy(package: str) -> None:
    wrong = [
        f"{relative(path)}:{node.lineno} imports {name} at top level"
        for path in MODULES
        if path.is_relative_to(ROOT / package)
        for node in at_import(parse(path).body)
        for name in imported(node)
        if name in FORBIDDEN_AT_IMPORT[package]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", CONFIGS, ids=relative)
def test_a_config_file_opens_by_saying_what_it_is(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")]
    assert lines, "an empty file"
    assert re.match(r"# \S.{14,}", lines[0]), f"opens with {lines[0]!r}, not with a comment that says what it is"


@pytest.mark.parametrize("path", CONFIGS, ids=relative)
def test_a_config_file_has_no_key_that_yaml_reads_as_a_boolean(path: Path) -> None:
    """``on: ...`` is the key True in YAML 1.1, and ``off:`` and ``no:`` then collide."""

    def keys(node: object) -> Iterator[object]:
        if isinstance(node, dict):
            yield from node
            for value in node.values():
                yield from keys(value)
        elif isinstance(node, list):
            for value in node:
                yield from keys(value)

    assert not [key for key in keys(yaml.safe_load(path.read_text(encoding="utf-8"))) if isinstance(key, bool)]


@pytest.mark.skipif(not STUDIES, reason="conf/study holds no study")
@pytest.mark.parametrize("study", STUDIES)
def test_every_study_composes(study: str) -> None:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", overrides=[f"study={study}", "scale=smoke"])
    OmegaConf.to_container(config, resolve=True)
    assert config.study.name == study, "a study is named like its file"
    assert config.study.question.strip()


def test_every_module_opens_with_a_docstring() -> None:
    assert not [relative(path) for path in MODULES if path.stat().st_size and not ast.get_docstring(parse(path))]


def test_every_public_class_and_function_has_a_docstring() -> None:
    missing = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in MODULES
        for node in parse(path).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert not missing, "\n".join(missing)


def test_no_exception_is_swallowed() -> None:
    swallowed = [
        f"{relative(path)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ExceptHandler)
        if all(isinstance(statement, ast.Pass) for statement in node.body)
        or (node.type is None and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)))
    ]
    assert not swallowed, "\n".join(swallowed)


def test_files_are_short_enough_to_read() -> None:
    long = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert not {name: lines for name, lines in long.items() if lines > LONGEST_FILE}
    assert not [name for name in long if Path(name).stem in ("utils", "helpers", "misc", "common")]


def test_no_file_names_a_machine_or_a_registry() -> None:
    """The lock and the scripts must work anywhere: no package index, no folder of one machine."""
    machine = re.compile(
        r"--(extra-)?index-url|--find-links|(https?|file)://[^\s\"')]*(/simple\b|/whl\b)|"
        r"(?<![\w.$}/~-])/(work|home|Users|root|opt)/\w"
    )
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in tracked_texts()
        if name != relative(Path(__file__))
        for number, line in enumerate(text.splitlines(), 1)
        if machine.search(line)
    ]
    assert not found, "\n".join(found)


def test_the_lock_pins_what_the_project_needs() -> None:
    import tomllib

    def names(lines: list[str]) -> set[str]:
        return {re.split(r"[<>=!~\[; ]", line)[0].lower().replace("_", "-") for line in lines if line}

    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lock if not re.fullmatch(r"[a-z0-9-]+==[^\s+]+", line)], "plain name==version only"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert names(project["dependencies"] + project["optional-dependencies"]["dev"]) <= names(lock)
