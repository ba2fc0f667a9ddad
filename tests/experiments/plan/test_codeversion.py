"""Code versions: what a stage imports counts, comments and docstrings do not, nothing is imported to find out."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from experiments.codeversion import CodeVersions, hash_tree, targets
from experiments.errors import LavitError

FILES = {
    "pack/__init__.py": '"""A package."""\n',
    "pack/stage.py": "from pack.parts import wheel\nfrom . import sibling\nimport numpy\n\ndef run(): ...\n",
    "pack/sibling.py": "def help():\n    from .late import thing\n    return thing\n",
    "pack/late.py": "thing = 1\n",
    "pack/parts/__init__.py": "from .wheel import Wheel\n",
    "pack/parts/wheel.py": "class Wheel:\n    'Round.'\n    size = 1\n",
    "pack/typed.py": "x = 1\n",
    "pack/hidden.py": (
        "import typing\nif typing.TYPE_CHECKING:\n    from pack import typed\nraise RuntimeError('imported')\n"
    ),
    "pack/plugin.py": "import pack.typed\nclass Plugin: ...\n",
    "pack/alone.py": "y = 2\n",
    "experiments/__init__.py": "",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def version(root: Path, config: object = None, run: str = "pack.stage.run") -> str:
    return CodeVersions(root, ("pack",)).version(run, config)


def test_imports_are_followed_without_importing(root: Path) -> None:
    codes = CodeVersions(root, ("pack",))
    found = {"pack", "pack.stage", "pack.sibling", "pack.late", "pack.parts", "pack.parts.wheel"}
    assert codes.modules(["pack.stage.run"]) == found
    assert codes.modules(["pack.hidden"]) == {"pack", "pack.hidden"}
    assert not any(name.split(".")[0] == "pack" for name in sys.modules)


@pytest.mark.parametrize("name", ["pack/__init__.py", "pack/stage.py", "pack/late.py", "pack/parts/wheel.py"])
def test_code_that_is_imported_counts(name: str, root: Path) -> None:
    before = version(root)
    (root / name).write_text(FILES[name] + "z = 3\n")
    assert version(root) != before


@pytest.mark.parametrize("name", ["pack/alone.py", "pack/typed.py", "pack/plugin.py"])
def test_code_that_is_not_imported_does_not(name: str, root: Path) -> None:
    before = version(root)
    (root / name).write_text("w = 4\n")
    assert version(root) == before


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\nclass Wheel:\n    'Round.'\n    size = 1\n",
        '"""A docstring."""\nclass Wheel:\n    """Rounder."""\n\n    size = (1)  # one\n',
        "class Wheel:\n    size = 1\n",
    ],
)
def test_comments_docstrings_and_layout_do_not_count(text: str, root: Path) -> None:
    before = version(root)
    (root / "pack/parts/wheel.py").write_text(text)
    assert version(root) == before


def test_a_target_in_the_config_is_followed(root: Path) -> None:
    config = {"a": [{"_target_": "pack.plugin.Plugin", "lr": 1}], "b": {"_target_": "torch.optim.AdamW"}}
    assert list(targets(config)) == ["pack.plugin.Plugin", "torch.optim.AdamW"]
    before = version(root, config)
    assert before != version(root)
    (root / "pack/typed.py").write_text("x = 2\n")
    assert version(root, config) != before


def test_a_users_own_module_counts_and_installed_ones_do_not(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "my_stages.py").write_text("import numpy, experiments\nfrom pack import late\ndef run(): ...\n")
    monkeypatch.syspath_prepend(str(own))
    codes = CodeVersions(root, ("pack",))
    assert codes.modules(["my_stages.run"]) == {"my_stages", "pack", "pack.late"}


def test_a_stage_function_that_is_not_there_is_refused(root: Path) -> None:
    with pytest.raises(LavitError, match=r"no_such_module\.run"):
        version(root, run="no_such_module.run")


def test_a_file_that_does_not_parse_is_named(root: Path) -> None:
    (root / "pack/late.py").write_text("def broken(:\n")
    with pytest.raises(LavitError, match=r"late\.py, line 1"):
        version(root)


@pytest.mark.parametrize(
    ("first", "second"),
    [("x = 1", "x = 1.0"), ("x = None", "x = True"), ("f(a, b)", "f(b, a)"), ("def f(): pass", "async def f(): pass"),
     ("x = {**a}", "x = {a: b}"), ("x = 'a'", "x = b'a'"), ("def f():\n 'x'\n return 1", "def f():\n 'x'\n return 2"),
     ("'only a text'\nx = 'kept'", "'only a text'\nx = 'other'")],
)  # fmt: skip
def test_trees_that_differ_have_different_hashes(first: str, second: str) -> None:
    assert hash_tree(ast.parse(first)) != hash_tree(ast.parse(second))


def test_the_real_stages_have_versions() -> None:
    codes = CodeVersions()
    assert "lavit.stages.vision" in codes.modules(["lavit.stages.vision.run"])
    assert not any(module.startswith("evals") for module in codes.modules(["lavit.stages.pretrain.run"]))
