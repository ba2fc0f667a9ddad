"""What stages will cost: parameters, ledgers, memory and, where asked, time, told by the stages' own modules.

`python -m lavit.count` builds each distinct stage config on the meta device; it runs once, in a child
process, because a plan must not import torch, and its answers are kept in the store. There is no formula
here: one beside the module would sooner or later disagree with it.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.child import Child
from experiments.codeversion import read_module, source_root
from experiments.eval_progress import EvalProgress
from experiments.key import digest, without
from experiments.pace import planned_steps
from experiments.released import files_of

if TYPE_CHECKING:
    from experiments.plan import Plan, StageJob

MODULE = "lavit.count"
PRICING = "lavit/pricing"  # the package that it is made of
TIMEOUT_S = 120  # and for each question:
QUESTION_S = 30  # a step of 32 layers of 7B on one core takes up to 20


def add_counts(
    jobs: Mapping[tuple[str, str], StageJob], store: Path, unpriced: Iterable[str] = (), ask: bool = True
) -> str:
    """Fill in `counts` (the price) of the jobs, from the store or from a child process.

    Args:
        jobs: (stage, key) -> job, with all that they need among them.
        store: where answers are kept, in `counts/`.
        unpriced: keys that change no price.
        ask: whether to start the child process for what is not known yet.

    Returns:
        A sentence on what could not be counted, or "".
    """
    unpriced = list(unpriced)
    counter = _counter()
    if counter is None:
        return ""
    wanted: dict[str, list[StageJob]] = {}
    for job in jobs.values():
        wanted.setdefault(_identity(job, jobs, unpriced, counter), []).append(job)
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
    return problem or (f"not priced: {told}" if failed else "")


def _counter() -> str | None:
    """The version of the module that counts, or None where there is none."""
    path = source_root().joinpath(*MODULE.split(".")).with_suffix(".py")
    if not path.is_file():
        return None
    parts = [path, *sorted((source_root() / PRICING).glob("*.py"))]
    return digest([read_module(part, MODULE.rpartition(".")[0])[0] for part in parts])


def _identity(job: StageJob, jobs: Mapping[tuple[str, str], StageJob], unpriced: list[str], counter: str) -> str:
    """What a price depends on: config and code of the stage and of all that it needs, but no seed."""
    parts = {part.stage: _part(part, unpriced) for part in _with_needs(job, jobs)}
    return digest({"stage": job.stage, "parts": parts, "counter": counter})


_parts: dict[tuple[str, str, str], str] = {}


def _part(job: StageJob, unpriced: list[str]) -> str:
    """The digest of what one stage brings to a price; a job's key stands for its config, which is hashed once."""
    which = (job.stage, job.key, repr(unpriced))
    if which not in _parts:
        _parts[which] = digest([without(job.config, unpriced), job.code, *files_of(job.config)])
    return _parts[which]


def _question(job: StageJob, jobs: Mapping[tuple[str, str], StageJob]) -> dict[str, Any]:
    inputs = {part.stage: part.config for part in _with_needs(job, jobs)[1:]}
    return {"stage": job.stage, "run": job.run, "config": job.config, "inputs": inputs}


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


def add_probes(jobs: Mapping[tuple[str, str], StageJob], store: Path, unpriced: Iterable[str] = ()) -> str:
    """Fill in the seconds of unfinished jobs that no finished stage tells, by taking some real steps of each here.

    What is found is kept by machine in the store's `counts/`; nothing else is written anywhere.

    Returns:
        A sentence on what could not be probed, or "".
    """
    unpriced, counter = list(unpriced), _counter()
    open_jobs = [job for job in jobs.values() if not job.done and not job.seconds_from.startswith("measured")]
    if counter is None or not open_jobs:
        return ""
    wanted: dict[str, list[StageJob]] = {}
    for job in open_jobs:
        wanted.setdefault(f"probe-{_machine()}-{_identity(job, jobs, unpriced, counter)}", []).append(job)
    found = {name: _read(store, name) for name in wanted}
    missing = [name for name, answer in found.items() if answer is None]
    problem = ""
    if missing:
        answers, problem = _ask([{**_question(wanted[name][0], jobs), "probe": True} for name in missing])
        for name, answer in zip(missing, answers, strict=False):
            kept = answer if isinstance(answer, dict) else {}
            found[name] = kept
            if "error" not in kept:  # another moment may have more memory
                problem = _write(store, name, kept) or problem
    failed = {}
    for name, users in wanted.items():
        answer = found[name] or {}
        if "error" in answer:
            failed[users[0].stage] = str(answer["error"]).splitlines()[0][:120]
        for job in users:
            steps = planned_steps(job.stage, job.config)
            if "seconds_per_step" in answer and steps:
                job.seconds, job.seconds_from = float(answer["seconds_per_step"]) * steps, "probed"
    told = "; ".join(f"{stage} ({error})" for stage, error in failed.items())
    return problem or (f"not probed: {told}" if failed else "")


def _machine() -> str:
    return digest([platform.node(), platform.machine(), os.cpu_count()])[:8]


class Pricing:
    """Prices what a plan does not know yet in the background, while its stages run: the report compares with it.

    Args:
        plan: counts are filled in when `finish` is called.
        unpriced: keys that change no price.
    """

    def __init__(self, plan: Plan, unpriced: Iterable[str] = ()):
        self.plan, self.unpriced = plan, list(unpriced)
        self._child: Child | None = None
        counter = _counter()
        if counter is None:
            return
        wanted = {_identity(job, plan.jobs, self.unpriced, counter): job for job in plan.jobs.values()}
        self._missing = [name for name in wanted if _read(plan.store_dir, name) is None]
        if self._missing:
            self._child = _child([_question(wanted[name], plan.jobs) for name in self._missing], nice=10)

    def finish(self) -> str:
        """Wait for the answers, keep them, and fill them in; returns a sentence on what went wrong, or ""."""
        problem = ""
        if self._child is not None:
            answers, problem = self._child.answers()
            for name, counts in zip(self._missing, answers, strict=False):
                problem = _write(self.plan.store_dir, name, counts if isinstance(counts, dict) else {}) or problem
        return add_counts(self.plan.jobs, self.plan.store_dir, self.unpriced, ask=False) or problem

    def __enter__(self) -> Pricing:
        return self

    def __exit__(self, *error: object) -> None:
        """Give up what has not been answered."""
        if self._child is not None:
            self._child.stop()


def _child(questions: list[dict[str, Any]], nice: int = 0) -> Child:
    return Child(MODULE, source_root(), questions, TIMEOUT_S + QUESTION_S * len(questions), nice)


def _ask(questions: list[dict[str, Any]]) -> tuple[list[Any], str]:
    child = _child(questions)
    try:
        with EvalProgress("pricing", "stages") as progress:
            return child.answers(progress)
    finally:
        child.stop()


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
