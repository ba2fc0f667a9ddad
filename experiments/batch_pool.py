"""Any Hydra launcher as a pool: what is ready goes out as one batch, and the store tells how each job of it fares.

joblib, submitit and others take a list of jobs and return when all of them ended. What they return or raise is not
believed (one killed job raises for the whole batch). While a batch runs, in a thread, its jobs are reported one by one
as they end; what became ready meanwhile is the next batch.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.attempts import attempts
from experiments.fork_pool import GRACE_S
from experiments.lease import ask_holders, end_holders, holder
from experiments.pool import Ended
from experiments.processes import ONE_THREAD, QUIET, cores
from experiments.store import Store

#: Runs a batch of request files, somehow, and returns when all of them ended.
LaunchBatch = Callable[[Sequence[Path]], object]
LOOK_EVERY_S = 0.5
QUEUE = 10_000  # jobs that a launcher takes at once, where it has a queue of its own


@dataclass
class _Sent:
    request: Path
    before: int  # attempts noted before it was sent


class BatchPool:
    """A :class:`experiments.pool.Pool` over a launcher that knows batches only.

    Args:
        launch: starts a batch and returns when it ended.
        parallel: how many jobs of a batch the launcher runs at once; for the time that is left.
        batch: the largest batch; None where the launcher has a queue of its own.
    """

    def __init__(self, launch: LaunchBatch, parallel: int | None = None, batch: int | None = None) -> None:
        self._launch = launch
        self.parallel = parallel or cores()
        self.slots = batch or QUEUE
        self._queue: list[Path] = []
        self._sent: dict[Path, _Sent] = {}
        self._thread: threading.Thread | None = None
        self._trouble = ""

    def start(self, request: Path, size: int = 1) -> None:
        """Put a request into the next batch."""
        self._queue.append(request)

    def wait(self, timeout_s: float) -> list[Ended]:
        """Send the next batch where none runs, then look what ended, as the store has it."""
        if self._thread is None and self._queue:
            self._send()
        deadline = time.monotonic() + max(timeout_s, LOOK_EVERY_S)
        while True:
            over = self._thread is not None and not self._thread.is_alive()
            ended = [found for sent in list(self._sent.values()) if (found := self._look(sent, over))]
            for found in ended:
                del self._sent[found.request]
            if over:
                self._thread = None
            if ended or over or time.monotonic() > deadline:
                return ended
            if self._thread is not None:
                self._thread.join(LOOK_EVERY_S / 5)
            else:
                time.sleep(LOOK_EVERY_S / 5)

    def working(self, request: Path) -> bool:
        """Whether somebody holds its lease."""
        return request in self._sent and holder(request.parent) is not None

    def stop(self) -> None:
        """Ask those of its jobs that run on this machine to save and end; queued ones of a cluster stay queued."""
        folders = [request.parent for request in self._sent]
        end_holders(folders, GRACE_S)
        ask_holders(folders, signal.SIGKILL)

    def _send(self) -> None:
        requests, self._queue = self._queue, []
        self._sent = {request: _Sent(request, len(attempts(request.parent))) for request in requests}
        self._trouble = ""
        os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # inherited by whatever the launcher starts
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        self._thread = threading.Thread(target=self._run, args=(requests,), name="batch", daemon=True)
        self._thread.start()

    def _run(self, requests: Sequence[Path]) -> None:
        try:
            self._launch(requests)
        except BaseException as error:  # told with the jobs that it left unfinished
            self._trouble = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            print(f"the launcher reported {self._trouble[:160]}", file=sys.stderr)

    def _look(self, sent: _Sent, over: bool) -> Ended | None:
        """How a job ended; None while it has not, which is final only when the batch is over."""
        folder = sent.request.parent
        store = Store(sent.request.parents[3])
        identity = (folder.parent.name, folder.name)
        if store.is_done(*identity):
            return Ended(sent.request, "done")
        known = attempts(folder)
        made = known[-1] if len(known) > sent.before else None
        if not over:  # a cluster may start a preempted job again by itself, so only what is done is final
            return None
        if made is not None and made["end"] == "preempted":
            return Ended(sent.request, "preempted", "asked to stop; it saved where it was")
        if made is not None and made["end"] is not None and store.failure(*identity) is not None:
            return Ended(sent.request, "failed", "the stage failed")
        if holder(folder) is not None:
            return Ended(sent.request, "held", "another launch works on it")
        if made is None:
            return Ended(sent.request, "lost", self._trouble or "the launcher returned without having begun it")
        return Ended(sent.request, "died", self._trouble or "its process ended before it did; see log.txt")
