"""The version of the code that a stage runs: a hash of the syntax trees that it imports.

A commit hash would retrain everything after an edit of the README. So the modules that a stage's function
imports are found, transitively and without importing them, by reading their import statements; comments,
docstrings and layout do not count. Modules that a config names in a `_target_` are followed as well. Only the
packages that make results are looked at (`lavit`, `evals`): the engine may change how a job is launched,
never what it computes.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from experiments.errors import LavitError

PACKAGES = ("lavit", "evals")
ENGINE = (
    "experiments",
    "reports",
    "hydra_plugins",
)  # how a job is launched and told of, never its result

#: (path, mtime in ns, size) -> (hash of the tree, names that the module imports)
_parsed: dict[tuple[str, int, int], tuple[str, frozenset[str]]] = {}


def source_root() -> Path:
    """The folder that holds the packages."""
    import experiments

    return Path(experiments.__file__).parent.parent


class CodeVersions:
    """Code versions of stages over one source tree; every file is read once.

    Args:
        root: the folder that holds the packages; by default where this package lies.
        packages: the top-level packages whose code counts.
    """

    def __init__(self, root: Path | None = None, packages: tuple[str, ...] = PACKAGES):
        self.root = root or source_root()
        self.packages = packages
        self._files: dict[str, Path | None] = {}
        self._modules: dict[str, tuple[str, frozenset[str]]] = {}
        self._versions: dict[frozenset[str], str] = {}
        self._bases: dict[str, Path | None] = dict.fromkeys(packages, self.root)

    def version(self, run: str, config: Any = None) -> str:
        """Return 16 hex characters for what a stage runs.

        Args:
            run: dotted path of the stage's function.
            config: the subtrees that the stage reads; the modules of every `_target_` in them are followed.
        """
        starts = frozenset([run, *targets(config)])
        if starts not in self._versions:
            if self._locate(run) is None:
                raise LavitError(
                    f"there is no module for the stage function '{run}' under {self.root} or on the path",
                    "stages.STAGE.run in the config is a dotted path like lavit.stages.vision.run",
                )
            digest = hashlib.sha256()
            for module in sorted(self.modules(starts)):
                digest.update(f"{module}:{self._module(module)[0]}\n".encode())
            self._versions[starts] = digest.hexdigest()[:16]
        return self._versions[starts]

    def hashes(self, run: str, config: Any = None) -> dict[str, str]:
        """Hash of the syntax tree of every module that makes up a version: what tells two versions apart."""
        return {name: self._module(name)[0][:16] for name in sorted(self.modules([run, *targets(config)]))}

    def modules(self, starts: Iterable[str]) -> set[str]:
        """All modules of our packages that the dotted names import, transitively, with the packages they lie
        in."""
        found: set[str] = set()
        waiting = [module for name in starts if (module := self._locate(name)) is not None]
        while waiting:
            module = waiting.pop()
            if module in found:
                continue
            found.add(module)
            parent = module.rpartition(".")[0]
            names = {*self._module(module)[1], *([parent] if parent else [])}
            waiting.extend(other for name in names if (other := self._locate(name)) is not None)
        return found

    def _locate(self, name: str) -> str | None:
        """The module that a dotted name lies in: the name itself, or what is left without attributes at its
        end."""
        while name:
            if self._base(name.partition(".")[0]) is None:
                return None
            if self._file(name) is not None:
                return name
            name = name.rpartition(".")[0]
        return None

    def _base(self, top: str) -> Path | None:
        """The folder that holds a top-level module whose code counts: ours, or a user's own on the path.

        What is installed (torch, numpy) is not hashed: the environment of each run is recorded instead.
        """
        if top not in self._bases:
            self._bases[top] = None if top in ENGINE or top in sys.stdlib_module_names else _own_code(top)
        return self._bases[top]

    def _file(self, module: str) -> Path | None:
        if module not in self._files:
            folder = self._base(module.partition(".")[0])
            assert folder is not None
            base = folder.joinpath(*module.split("."))
            candidates = (base.with_suffix(".py"), base / "__init__.py")
            self._files[module] = next((path for path in candidates if path.is_file()), None)
        return self._files[module]

    def _module(self, module: str) -> tuple[str, frozenset[str]]:
        if module not in self._modules:
            path = self._file(module)
            assert path is not None
            package = module if path.name == "__init__.py" else module.rpartition(".")[0]
            self._modules[module] = read_module(path, package)
        return self._modules[module]


def record_version(store: Path, version: str, run: str, config: Any) -> None:
    """Keep the modules of a code version as ``<store>/code/<version>.json``, so that a later change can be named.

    Nothing is written where the code is not that version any more (a file was edited since the plan was made).
    """
    from experiments.store import write_atomic

    path = store / "code" / f"{version}.json"
    if path.exists():
        return
    codes = CodeVersions()
    try:
        if codes.version(run, config) != version:
            return
    except LavitError:  # the stage function is not there: the job will say so
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({"version": version, "run": run, "modules": codes.hashes(run, config)}, indent=1))


def recorded_modules(store: Path, version: str) -> dict[str, str] | None:
    """Module -> hash of a recorded code version; None where its modules were not recorded."""
    from experiments.store import read_json

    body = read_json(store / "code" / f"{version}.json")
    return dict(body["modules"]) if isinstance(body, dict) and isinstance(body.get("modules"), dict) else None


def _own_code(top: str) -> Path | None:
    """The folder of a top-level module that is on the path but not installed; nothing is imported."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    places = [*(spec.submodule_search_locations or []), spec.origin or ""] if spec is not None else []
    for place in map(Path, places):
        if place.name and place.exists() and not {"site-packages", "dist-packages"} & set(place.parts):
            return place.parent
    return None


def targets(config: Any) -> Iterator[str]:
    """Yield the dotted path of every `_target_` in nested config."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            if key == "_target_" and isinstance(value, str):
                yield value
            else:
                yield from targets(value)
    elif isinstance(config, list):
        for value in config:
            yield from targets(value)


def read_module(path: Path, package: str) -> tuple[str, frozenset[str]]:
    """Return the hash of a file's syntax tree and the dotted names that it imports; unchanged files are not
    read again."""
    stat = path.stat()
    known = (str(path), stat.st_mtime_ns, stat.st_size)
    if known not in _parsed:
        try:
            tree = ast.parse(path.read_bytes(), filename=str(path))
        except SyntaxError as error:
            raise LavitError(
                f"{path}, line {error.lineno}: {error.msg}", "a stage that imports it cannot run"
            ) from error
        _parsed[known] = (hash_tree(tree), frozenset(_imports(tree, package)))
    return _parsed[known]


def hash_tree(tree: ast.AST) -> str:
    """Hash a syntax tree without docstrings; positions, comments and layout are not part of a tree.

    Empty and absent fields are left out, so that a Python version that adds a field to a node changes no
    hash.
    """
    digest = hashlib.sha256()
    parts: list[str] = []
    _write(tree, parts)
    digest.update("".join(parts).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _write(node: Any, parts: list[str]) -> None:
    if isinstance(node, ast.AST):
        parts.append(f"({type(node).__name__}")
        for field in node._fields:
            value = getattr(node, field, None)
            if field == "body" and isinstance(value, list) and _has_docstring(node):
                value = value[1:]
            if value is None or value == [] or field in ("ctx", "type_comment", "kind"):
                if isinstance(node, ast.Constant) and field == "value":
                    parts.append(" value:None")
                continue
            parts.append(f" {field}:")
            _write(value, parts)
        parts.append(")")
    elif isinstance(node, list):
        parts.append("[")
        for item in node:
            _write(item, parts)
            parts.append(",")
        parts.append("]")
    else:
        parts.append(f"{type(node).__name__}={node!r}")


def _has_docstring(node: ast.AST) -> bool:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
        return False
    first = node.body[0]
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Dotted names that a module imports, also inside functions; what only a type checker sees is left
    out."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                above = parents[: len(parents) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _is_type_checking(test: ast.AST) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"
