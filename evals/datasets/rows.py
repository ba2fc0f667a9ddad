"""Files of rows, either a JSON list or one JSON object a line; which of the two, their text tells, not their name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evals.datasets.reading import read_json, read_jsonl, read_text
from evals.errors import EvaluationError


def read_any(path: Path) -> Any:
    """A JSON file, or the list of rows of a JSON-lines file.

    Raises:
        EvaluationError: it is neither; names line and column.
    """
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise EvaluationError(f"{path} is empty.", "Was it written to the end?")
    if lines[0].lstrip().startswith("{") and len(lines) > 1 and _is_json(lines[0]):
        return [row for _, row in read_jsonl(path)]
    return read_json(path)


def read_rows(path: Path) -> list[tuple[int, Any]]:
    """The rows with their numbers; a file of a single object has one.

    Raises:
        EvaluationError: see :func:`read_any`; or there are none.
    """
    content = read_any(path)
    rows = content if isinstance(content, list) else [content]
    if not rows:
        raise EvaluationError(f"{path}: the list is empty.", "Is it the right file?")
    return list(enumerate(rows, 1))


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except json.JSONDecodeError:
        return False
    return True
