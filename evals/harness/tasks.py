"""Finding tasks of lm-eval: in a folder of one's own first, among its fourteen thousand only where they are needed."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.errors import EvaluationError


def find_tasks(names: Sequence[str], include_path: str | Path | None, metadata: dict[str, Any] | None = None) -> Any:
    """A task manager that knows all ``names``: that of ``include_path`` alone if it does (``has_defaults`` tells).

    Raises:
        EvaluationError: there is no such folder, or no such task.
    """
    from lm_eval.tasks import TaskManager

    if include_path is not None and not Path(include_path).expanduser().is_dir():
        raise EvaluationError(f"include_path={include_path}: there is no such folder.", "It holds tasks as YAML files.")
    folder = None if include_path is None else str(Path(include_path).expanduser())
    manager = TaskManager(include_path=folder, include_defaults=False, metadata=metadata or {})
    manager.has_defaults = bool(_unknown(names, manager))
    if manager.has_defaults:
        manager = TaskManager(include_path=folder, metadata=metadata or {})
        manager.has_defaults = True
    if missing := _unknown(names, manager):
        own = [name for name in manager.all_tasks if folder and _is_own(manager, name, folder)]
        listed = f"{folder} has: {', '.join(own)}" if own else "`lavit lm-eval ls tasks` lists lm-eval's own"
        raise EvaluationError(f"lm-eval has no task {missing[0]!r}.", f"{listed}.")
    return manager


def _unknown(names: Sequence[str], manager: Any) -> list[str]:
    known = set(manager.all_tasks)
    return [
        name
        for name in names
        if name not in known and not Path(name).is_file() and not fnmatch.filter(manager.all_tasks, name)
    ]


def _is_own(manager: Any, name: str, folder: str) -> bool:
    path = getattr(manager.task_index[name], "yaml_path", None)
    return path is not None and Path(folder).resolve() in Path(path).resolve().parents
