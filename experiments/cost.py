"""What a stage's modules hold and cost: parameters and FLOPs, asked from the modules themselves.

`python -m lavit.count` builds each distinct stage config on the meta device; it runs once, in a child
process, because a plan must not import torch, and its answers are kept in the store. There is no formula
here: one beside the module would sooner or later disagree with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.codeversion import read_module, source_root
from experiments.key import digest, without

if TYPE_CHECKING:
    from experiments.plan import StageJob

MODULE = "lavit.count"
TIMEOUT_S = 120


def add_counts(
    jobs: Mapping[tuple[str, str], StageJob], store: Path, incidental: Iterable[str] = (), ask: bool = True
) -> str:
    """Fill in `counts` of the jobs, from the store or from a child process.

    Args:
        jobs: (stage, key) -> job, with all that they need among them.
        store: where answers are kept, in `counts/`.
        incidental: keys that change no count.
        ask: whether to start the child process for what is not known yet.

    Returns:
        A sentence on what could not be counted, or "".
    """
    incidental = list(incidental)
    counter = _counter()
    if counter is None:
        return ""
    wanted: dict[str, list[StageJob]] = {}
    for job in jobs.values():
        wanted.setdefault(_identity(job, jobs, incidental, counter), []).append(job)
    found = {name: _read(store, name) for name in wanted}
    missing = [name for name, counts in found.items() if counts is None]
    problem = ""
    if missing and ask:
        answers, problem = _ask([_question(wanted[name][0], jobs) for name in missing])
        for name, counts in zip(missing, answers, strict=False):
            kept = counts if isinstance(counts, dict) else {}
            problem = _write(store, name, kept) or problem
            found[name] = kept
    failed: dict[str, list[str]] = {}
    for name, users in wanted.items():
        counts = found[name]
        if counts is not None and "error" in counts:  # kept as well: it would fail again until the code changes
            stages = failed.setdefault(str(counts["error"]).splitlines()[0][:120], [])
            stages.extend(s for s in [users[0].stage] if s not in stages)
            continue
        for job in users:
            job.counts = counts
    told = "; ".join(f"{', '.join(stages)} ({error})" for error, stages in failed.items())
    return problem or (f"parameters not counted: {told}" if failed else "")


def _counter() -> str | None:
    """The version of the module that counts, or None where there is none."""
    path = source_root().joinpath(*MODULE.split(".")).with_suffix(".py")
    return read_module(path, MODULE.rpartition(".")[0])[0] if path.is_file() else None


def _identity(job: StageJob, jobs: Mapping[tuple[str, str], StageJob], incidental: list[str], counter: str) -> str:
    """What a count depends on: config and code of the stage and of all that it needs, but no seed."""
    parts = {part.stage: [without(part.config, incidental), part.code] for part in _with_needs(job, jobs)}
    return digest({"stage": job.stage, "parts": parts, "counter": counter})


def _question(job: StageJob, jobs: Mapping[tuple[str, str], StageJob]) -> dict[str, Any]:
    inputs = {part.stage: part.config for part in _with_needs(job, jobs)[1:]}
    return {"stage": job.stage, "config": job.config, "inputs": inputs}


def _with_needs(job: StageJob, jobs: Mapping[tuple[str, str], StageJob]) -> list[StageJob]:
    """The job itself, then everything that it needs, directly or not."""
    found = {job.stage: job}
    waiting = [job]
    while waiting:
        for need in waiting.pop().needs.items():
            if need[0] not in found:
                found[need[0]] = jobs[need]
                waiting.append(jobs[need])
    return list(found.values())


def _ask(questions: list[dict[str, Any]]) -> tuple[list[Any], str]:
    try:
        child = subprocess.run(
            [sys.executable, "-m", MODULE],
            input=json.dumps(questions),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            cwd=source_root(),
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f"parameters not counted: {MODULE}: {error}"
    if child.returncode != 0:
        last = (child.stderr.strip().splitlines() or ["no message"])[-1]
        return [], f"parameters not counted: {MODULE} ended with {child.returncode}: {last}"
    try:
        answers = json.loads(child.stdout)
    except ValueError:
        return [], f"parameters not counted: {MODULE} did not answer in JSON"
    if not isinstance(answers, list) or len(answers) != len(questions):
        return [], f"parameters not counted: {MODULE} did not answer every question"
    return answers, ""


def _read(store: Path, name: str) -> dict[str, Any] | None:
    try:
        counts = json.loads((store / "counts" / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None
    return counts if isinstance(counts, dict) else None


def _write(store: Path, name: str, counts: dict[str, Any]) -> str:
    """Keep an answer; a store that cannot be written to is no reason not to plan, but it is said."""
    try:
        folder = store / "counts"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, prefix=f".{name}.", delete=False) as file:
            json.dump(counts, file)
        os.replace(file.name, folder / f"{name}.json")
    except OSError as error:
        return f"counts are not kept: {error}"
    return ""
