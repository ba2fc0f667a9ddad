"""The files of the datasets that a suite reads: hashed when a plan is made, opened and checked before work starts.

Whether a suite has such datasets is told from the import statements of its benchmarks' modules; only then is any of
``evals`` imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.codeversion import CodeVersions
from experiments.errors import LavitError

# Every benchmark with files of its own imports one of these.
MARKS = {"evals.benchmarks.from_files", "evals.datasets.text_file"}

_checked: set[str] = set()


class DatasetFiles:
    """Hashes for one plan: each suite's files are looked at once, however many arms are evaluated on it.

    Args:
        codes: tells which modules a benchmark imports.
    """

    def __init__(self, codes: CodeVersions):
        self._codes = codes
        self._hashes: dict[str, str] = {}

    def hash(self, suite: Mapping[str, Any], data: Any) -> str:
        """A hash over the annotation files that a suite's benchmarks read; "" where they read none.

        Raises:
            LavitError: files are missing; all of them are named.
        """
        which = _with_files(suite, self._codes)
        root = _root(data)
        if not which["benchmarks"]:
            return ""
        known = repr((which, root))
        if known not in self._hashes:
            from evals.files import files_fingerprint
            from lavit.errors import LavitError as EvaluationError

            try:
                self._hashes[known] = files_fingerprint(which, root)
            except EvaluationError as error:
                raise LavitError(error.message, error.remedy or None) from error
        return self._hashes[known]


def check_dataset_files(config: Mapping[str, Any]) -> None:
    """Open every dataset that a stage with this config would read; once in a process.

    Raises:
        lavit.errors.LavitError: a file is broken or a picture is missing; all that is wrong is told at once.
    """
    suite = config.get("suite")
    if not isinstance(suite, Mapping) or not (which := _with_files(suite, CodeVersions()))["benchmarks"]:
        return
    root = _root(config.get("data"))
    if (known := repr((which, root))) not in _checked:
        from evals.files import check_files

        check_files(which, root)
        _checked.add(known)


def _with_files(suite: Mapping[str, Any], codes: CodeVersions) -> dict[str, Any]:
    """The part of a suite that reads files of its own."""
    entries = suite.get("benchmarks")
    found = {}
    for name, entry in entries.items() if isinstance(entries, Mapping) else ():
        target = entry.get("_target_") if isinstance(entry, Mapping) else None
        if isinstance(target, str) and MARKS & set(codes.modules([target])):
            found[name] = entry
    return {"benchmarks": found, "missing": suite.get("missing")}


def _root(data: Any) -> Path | None:
    root = data.get("root") if isinstance(data, Mapping) else None
    return Path(root).expanduser() if root else None
