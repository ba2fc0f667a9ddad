"""Reading annotation files of strangers: JSON and JSON lines, plain or gzipped, with errors that name file and line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evals.errors import EvaluationError

_WHOLE = "Is it whole? Copy or download it again."


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, unpacked where it ends in ``.gz``.

    Raises:
        EvaluationError: it is not there, or its packing is broken.
    """
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except FileNotFoundError:
        raise EvaluationError(f"{path}: there is no such file.", "Check the path.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise EvaluationError(f"{path} cannot be read: {error}.", _WHOLE) from error


def read_text(path: Path) -> str:
    """The text of a UTF-8 file.

    Raises:
        EvaluationError: see :func:`read_bytes`; or it is not UTF-8.
    """
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise EvaluationError(f"{path}: line {line} is not UTF-8 ({error.reason}).", "Convert it to UTF-8.") from error


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        EvaluationError: see :func:`read_text`; or it is not JSON, with line and column; or an object has a key twice.
    """
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except KeyError as error:
        raise EvaluationError(
            f"{path}: {error.args[0]!r} stands twice in one object.", "Keep one of the two."
        ) from None
    except json.JSONDecodeError as error:
        raise EvaluationError(
            f"{path} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.", _WHOLE
        ) from error
    except RecursionError as error:
        raise EvaluationError(f"{path} is not an annotation file: it is nested too deeply.", _WHOLE) from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise KeyError(next(name for place, name in enumerate(names) if name in names[:place]))
    return found


def read_jsonl(path: Path) -> list[tuple[int, Any]]:
    """The lines of a JSON-lines file with their numbers, blank ones left out.

    Raises:
        EvaluationError: see :func:`read_text`; or a line is not JSON.
    """
    rows = []
    # Not splitlines(): that also cuts at characters which JSON allows within a string, such as U+2028.
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            try:
                rows.append((number, json.loads(line)))
            except json.JSONDecodeError as error:
                raise EvaluationError(
                    f"{path}: line {number} is not JSON: {error.msg} at column {error.colno}.",
                    "Mend or remove that line; a cut-off last line means that the file is not whole.",
                ) from error
    return rows


def field_of(row: Any, name: str, kind: type | tuple[type, ...], path: Path, where: str) -> Any:
    """``row[name]`` of a given type.

    Raises:
        EvaluationError: ``row`` is no object, has no such field, or one of another type; ``where`` says which row.
    """
    if not isinstance(row, dict):
        raise EvaluationError(f"{path}: {where} is {type(row).__name__}, not an object.", "See docs/benchmarks.md.")
    value = row.get(name)
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):  # True is an int to Python
        wanted = " or ".join(k.__name__ for k in kinds)
        found = f"is {type(value).__name__}" if name in row else "is missing"
        raise EvaluationError(f"{path}: {where}: {name!r} {found}, not {wanted}.", "See docs/benchmarks.md.")
    return value


def refuse_duplicates(ids: Iterable[Any], path: Path, what: str) -> None:
    """Raises EvaluationError if an id stands twice; ``what`` says of which kind it is, e.g. ``question_id``."""
    seen: set[Any] = set()
    for identity in ids:
        if identity in seen:
            raise EvaluationError(f"{path}: {what} {identity!r} stands twice.", "Keep one of the two.")
        seen.add(identity)
