"""The files of a suite's datasets, before any work: all that is missing or wrong in one error, and one hash over them.

Planning uses this, so nothing here loads torch or pandas.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from evals.benchmark import Benchmark
from evals.benchmarks.from_files import FromFiles
from evals.errors import EvaluationError
from lavit.build import build
from lavit.data.protocol import Corpus, Examples
from lavit.errors import LavitError

Found = TypeVar("Found")

_IN_FULL = 3  # with more errors than this, each is told without the layout of its files: all have to fit a screen


def benchmarks_with_files(suite: Mapping[str, Any]) -> list[FromFiles]:
    """Those of a suite's benchmarks that read datasets of their own.

    Raises:
        LavitError: an entry that cannot be built.
    """
    return [each for each in _built(suite) if isinstance(each, FromFiles)]


def _built(suite: Mapping[str, Any]) -> list[Benchmark]:
    """The benchmarks of a suite or of a part of one; a suite of none is no error here."""
    entries = suite.get("benchmarks") or {}
    found: list[Benchmark] = [build(entry, name=str(name)) for name, entry in entries.items() if entry]
    for benchmark in found:
        benchmark.skip_missing(suite.get("missing"))
    return found


def files_fingerprint(suite: Mapping[str, Any], root: Path | None) -> str:
    """A hash over the annotation files that a suite's benchmarks read, "" where they read none.

    Another file is another result; where the files lie is none of it. A benchmark that is to be skipped for want of its
    files counts as such, so that it is evaluated when they are there.

    Raises:
        EvaluationError: files are missing, all at once.
    """

    def of_one(benchmark: FromFiles) -> str:
        if lack := benchmark.lacking(root):
            if not benchmark.skips_missing:
                raise EvaluationError(lack, benchmark.dataset.how_to_get())
            return "missing"
        return benchmark.files_fingerprint(root)

    built = _built(suite)
    datasets = [each for each in built if isinstance(each, FromFiles)]
    found = dict(zip([each.name for each in datasets], all_or_all_errors(datasets, of_one), strict=True))
    others = (each for each in built if not isinstance(each, FromFiles))
    found |= {each.name: own for each in others if (own := each.files_fingerprint(root))}
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest() if found else ""


def check_files(suite: Mapping[str, Any], root: Path | None) -> list[str]:
    """Open every dataset of a suite, so that a broken file or a missing picture is told now and not in an hour.

    Returns:
        One line for each benchmark that says what there is.

    Raises:
        EvaluationError: all that is wrong, at once.
    """
    side = 16  # no picture is decoded
    return all_or_all_errors(benchmarks_with_files(suite), lambda each: each.source(None, root, side).describe())


def open_sources(
    suite: Sequence[Benchmark], corpus: Corpus | None, root: Path | None, image_size: int
) -> list[Examples]:
    """Where the examples of each benchmark are from.

    Raises:
        EvaluationError: all that is wrong, at once.
    """
    return all_or_all_errors(suite, lambda benchmark: benchmark.source(corpus, root, image_size))


def all_or_all_errors(suite: Sequence[Any], ask: Callable[[Any], Found]) -> list[Found]:
    """What ``ask`` says of each benchmark.

    Raises:
        EvaluationError: one for all that went wrong, equal ones told once.
    """
    found: list[Found] = []
    wrong: dict[tuple[str, str], list[str]] = {}
    for benchmark in suite:
        try:
            found.append(ask(benchmark))
        except LavitError as error:
            wrong.setdefault((error.message, error.remedy), []).append(benchmark.name)
    if not wrong:
        return found
    if len(wrong) == 1 and len(suite) == 1:
        ((message, remedy),) = wrong
        raise EvaluationError(message, remedy)
    told = []
    for (message, remedy), names in wrong.items():
        how = remedy if len(wrong) <= _IN_FULL else remedy.partition("\n")[0]
        told.append(f"- {', '.join(names)}: {message}\n  {how}".rstrip())
    raise EvaluationError(
        f"{sum(map(len, wrong.values()))} of {len(suite)} benchmarks cannot be run:\n" + "\n".join(told),
        "data.root=DIR names the folder of datasets; suite.benchmarks.NAME=null leaves a benchmark out; "
        "suite.missing=skip runs what is there and says in the table what is not. docs/benchmarks.md has all layouts.",
    )
