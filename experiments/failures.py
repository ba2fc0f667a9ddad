"""How a stage can fail and what is done about it: one table, for the scheduler, ``lavit status`` and the report.

A failure is told by what the worker noted (FAILED.json) or by how its process ended; it is a state of an attempt, never
of an arm: the same command line tries again whatever is missing, unless ``--retry`` says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.errors import LavitError, did_you_mean

DIED, LOST, TIMED_OUT, PRUNED = "Died", "Lost", "TimedOut", "Pruned"  # classes that no Python error has
ALWAYS = 1_000_000


@dataclass(frozen=True)
class Failure:
    """One kind of failure.

    Attributes:
        name: its word, as in ``lavit status`` and ``--retry``.
        retries: how often the job is started again within one launch.
        alone: whether it is started again with no neighbour on the machine.
        meaning: what happened.
        answer: what is done.
    """

    name: str
    retries: int
    alone: bool
    meaning: str
    answer: str


FAILURES = {
    failure.name: failure
    for failure in (
        Failure(
            "bug",
            0,
            False,
            "the stage raised an error",
            "marked; the same error at the same place in the first two arms stops the study",
        ),
        Failure("memory", 1, True, "no memory was left, or the kernel killed the worker", "once more, alone"),
        Failure("nan", 0, False, "the loss was not finite", "marked; it would come again"),
        Failure("pruned", 0, False, "its search had seen enough of it", "marked; it is kept, and never ranked"),
        Failure("timeout", 0, False, "it took longer than hydra.launcher.timeout_s", "marked; goes on with more time"),
        Failure(
            "preempted", ALWAYS, False, "SIGTERM, SIGUSR1 or SIGUSR2 asked for the machine", "goes on where it was"
        ),
        Failure("lost", 2, False, "its process, its lease or its launcher vanished", "up to twice more"),
    )
}
_ALIASES = {"oom": "memory", "died": "lost", "error": "bug"}
_OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError")
_NOT_FINITE = ("TrainingError", "FloatingPointError")


def classify(error: Mapping[str, Any] | None) -> Failure:
    """The kind of a failure from its note: ``{"class", "message", ...}``."""
    kind = str((error or {}).get("class") or "")
    message = str((error or {}).get("message") or "")
    if kind == TIMED_OUT:
        return FAILURES["timeout"]
    if kind == PRUNED:
        return FAILURES["pruned"]
    if kind == "Preempted":
        return FAILURES["preempted"]
    if kind in _OUT_OF_MEMORY or "out of memory" in message or (kind == DIED and "SIGKILL" in message):
        return FAILURES["memory"]
    if kind in _NOT_FINITE:
        return FAILURES["nan"]
    if kind in (DIED, LOST, "LeaseLost"):
        return FAILURES["lost"]
    return FAILURES["bug"]


def place(error: BaseException) -> str:
    """``module.py:12 in f``: where an error was raised, so that two can be told to be the same."""
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f"{'/'.join(code.co_filename.split('/')[-2:])}:{trace.tb_lineno} in {code.co_name}"


def parse_retry(text: str | None) -> frozenset[str] | None:
    """The kinds that ``--retry`` names, by commas; None (the default, also ``failed`` or ``all``) for every kind."""
    if text is None or text.strip() in ("failed", "all"):
        return None
    if text.strip() in ("none", ""):
        return frozenset()
    names = [_ALIASES.get(word.strip(), word.strip()) for word in text.split(",")]
    for name in names:
        if name not in FAILURES:
            known = [*FAILURES, "failed", "none"]
            raise LavitError(f"--retry {text}: there is no kind of failure '{name}'", did_you_mean(name, known))
    return frozenset(names)
