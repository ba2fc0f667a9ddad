"""Every attempt at a stage, noted in the store beside it: who began it, when, and how it ended.

An attempt without an end was lost: killed, or cut off with its machine. A stage that was trained exactly once has
exactly one attempt.
"""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from experiments.store import ATTEMPTS, read_json, write_atomic

KEPT = 100  # the last so many are listed


def attempts(folder: Path) -> list[dict[str, Any]]:
    """The attempts at the stage of a folder, in order; each ``{"begun", "host", "pid", "end", "ended"}``."""
    body = read_json(folder / ATTEMPTS)
    return body if isinstance(body, list) else []


def begin(folder: Path) -> None:
    """Note the beginning of an attempt; only the holder of the lease may."""
    entry = {"begun": time.time(), "host": socket.gethostname(), "pid": os.getpid(), "end": None, "ended": None}
    _write(folder, [*attempts(folder), entry])


def end(folder: Path, how: str) -> None:
    """Note how the running attempt ended: ``done``, ``preempted``, or the class of the error."""
    known = attempts(folder)
    if known:
        known[-1].update(end=how, ended=time.time())
        _write(folder, known)


def _write(folder: Path, known: list[dict[str, Any]]) -> None:
    write_atomic(folder / ATTEMPTS, json.dumps(known[-KEPT:], indent=1))
