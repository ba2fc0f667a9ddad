"""Reading the JSONL of texts: every row checked, a wrong one refused with its file and line."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lavit.errors import LavitError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Row:
    """The text of one image, spaces and case made plain; ``line`` is where it stands in the file, from 1."""

    id: str
    name: str
    keywords: tuple[str, ...]
    group: str
    split: str
    line: int


def plain(text: str) -> str:
    """Lower case, single spaces, straight apostrophes, ``and`` for an ampersand."""
    return " ".join(text.lower().replace("\u2019", "'").replace("&", " and ").split())


def read_rows(path: Path, split_key: str) -> list[Row]:
    """All rows of ``path``, in the order of the file.

    Args:
        path: UTF-8, one JSON object a line; blank lines are skipped.
        split_key: the field that holds ``train``, ``val`` or ``test``.

    Raises:
        LavitError: no such file, no rows, a split without rows, or a wrong row (with its line number).
    """
    if not path.is_file():
        raise LavitError(f"data.texts: there is no file {path}.", "Give the JSONL of texts: data.texts=FILE.jsonl.")
    rows: list[Row] = []
    line_of: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise LavitError(f"{path} is not UTF-8 text: {error}.", "Save it as UTF-8.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _parse(line, number, path, split_key)
        if row.id in line_of:
            raise LavitError(
                f"{path}, line {number}: the id {row.id!r} stands on line {line_of[row.id]} already.",
                "Give every image one row.",
            )
        line_of[row.id] = number
        rows.append(row)
    if not rows:
        raise LavitError(f"{path} holds no rows.", "Write one JSON object a line; docs/data.md shows one.")
    count = Counter(row.split for row in rows)
    for split in SPLITS:
        if not count[split]:
            raise LavitError(
                f"{path}: no row has {split_key}={split!r}.",
                "Train, val and test each need at least one row.",
            )
    return rows


def _parse(line: str, number: int, path: Path, split_key: str) -> Row:
    where = f"{path}, line {number}"
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise LavitError(
            f"{where}: this is not JSON: {error.msg} at column {error.colno}.", "Mend the line."
        ) from error
    if not isinstance(value, dict):
        raise LavitError(f"{where}: a JSON object was expected, not {_kind(value)}.", 'Write {"id": …, "name": …}.')
    for field in ("id", "name", "keywords", "group", split_key):
        if field not in value:
            hint = (
                f"Name the field that holds train, val or test: data.split_key=FIELD. This row has {', '.join(value)}."
                if field == split_key
                else "Add it; docs/data.md has the format."
            )
            raise LavitError(f"{where}: the field {field!r} is missing.", hint)
    for field in ("id", "name", "group", split_key):
        if not isinstance(value[field], str) or not value[field].strip():
            raise LavitError(
                f"{where}: {field} must be a non-empty string, not {_show(value[field])}.", "Mend the row."
            )
    keywords = value["keywords"]
    if not isinstance(keywords, list) or not all(isinstance(word, str) and word.strip() for word in keywords):
        raise LavitError(
            f"{where}: keywords must be a list of non-empty strings, not {_show(keywords)}.",
            "Write an empty list where there are none.",
        )
    if value[split_key] not in SPLITS:
        raise LavitError(
            f"{where}: {split_key} is {value[split_key]!r}, which is no split.",
            f"Use one of {', '.join(SPLITS)}.",
        )
    words = tuple(dict.fromkeys(plain(word) for word in keywords))
    return Row(value["id"], plain(value["name"]), words, plain(value["group"]), value[split_key], number)


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "true or false"}
    return names.get(type(value), "null")


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
