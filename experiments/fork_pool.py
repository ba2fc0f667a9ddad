"""Forked workers: one process and one thread per job, from a server that has the heavy imports in memory.

A job costs 0.02 s to start instead of six seconds of imports, and a job that dies takes nobody with it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Literal, cast

from experiments import worker
from experiments.launch import Ended

GRACE_S = 3.0  # between asking a worker to end and making it
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PRELOAD = "LAVIT_PRELOAD"  # read by experiments.preload: modules to import in the server, with commas between
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}


def cores() -> int:
    """CPU cores that this process may really use: its affinity, cut by a container's quota where there is one."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            count = min(count, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        return count
    return count


@dataclass
class _Running:
    process: ForkServerProcess
    request: Path
    started: float


class ForkPool:
    """A :class:`experiments.launch.Pool` of forked workers.

    Args:
        slots: jobs at once; None for as many as there are cores.
        timeout_s: a job that takes longer is ended and counts as failed; None for no limit.
        preload: modules to import once, in the server.
    """

    def __init__(self, slots: int | None = None, timeout_s: float | None = None, preload: Iterable[str] = ()) -> None:
        self.slots = slots or cores()
        self.timeout_s = timeout_s
        self._preload = tuple(dict.fromkeys(preload))
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._running: dict[int, _Running] = {}  # by sentinel

    def warm(self) -> None:
        """Start the server, so that its imports run while the driver does something else; does not wait for it."""
        from multiprocessing import forkserver

        before = {name: os.environ.get(name) for name in (*ONE_THREAD, *QUIET, PRELOAD)}
        os.environ.update(dict.fromkeys(ONE_THREAD, "1"), **{PRELOAD: ",".join(self._preload)})
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        ctrl_c = signal.signal(signal.SIGINT, signal.SIG_IGN) if _in_main_thread() else None
        try:
            self._context.set_forkserver_preload(["experiments.preload"])
            forkserver.ensure_running()
        finally:
            if ctrl_c is not None:
                signal.signal(signal.SIGINT, ctrl_c)
            for name, old in before.items():
                if old is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = old

    def start(self, request: Path) -> None:
        """Fork a worker for one request."""
        self.warm()
        process = self._context.Process(target=worker.work, args=(str(request),), name=request.parent.parent.name)
        with _no_main():
            process.start()
        self._running[process.sentinel] = _Running(process, request, time.monotonic())

    def wait(self, timeout_s: float) -> list[Ended]:
        """Workers that ended or ran out of time."""
        ended = []
        for sentinel in connection.wait(list(self._running), timeout_s):
            running = self._running.pop(cast(int, sentinel))
            running.process.join()
            ended.append(_judge(running.request, running.process.exitcode))
            running.process.close()
        if self.timeout_s is not None:
            ended += self._overdue(self.timeout_s)
        return ended

    def stop(self) -> None:
        """Ask all workers to end, and make those that do not."""
        for running in self._running.values():
            running.process.terminate()
        deadline = time.monotonic() + GRACE_S
        for running in self._running.values():
            running.process.join(max(0.0, deadline - time.monotonic()))
            if running.process.is_alive():
                running.process.kill()
                running.process.join()
        self._running.clear()

    def _overdue(self, limit: float) -> list[Ended]:
        now = time.monotonic()
        late = {sentinel: run for sentinel, run in self._running.items() if now - run.started > limit}
        ended = []
        for sentinel, running in late.items():
            del self._running[sentinel]
            running.process.kill()
            running.process.join()
            ended.append(Ended(running.request, "died", f"took longer than hydra.launcher.timeout_s={limit:g} s"))
        return ended


@contextmanager
def _no_main() -> Iterator[None]:
    """Hide ``__main__``: a worker would import the driver's script again, which it has no use for."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _in_main_thread() -> bool:
    import threading

    return threading.current_thread() is threading.main_thread()


def _judge(request: Path, code: int | None) -> Ended:
    if code == 0:
        return Ended(request, "done")
    if code == worker.HELD:
        return Ended(request, "held")
    if code == worker.FAILED:
        return Ended(request, "failed", "the stage failed")
    kind: Literal["died"] = "died"
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return Ended(request, kind, f"killed by signal {-code} ({name}){hint}; its last output is in log.txt")
    return Ended(request, kind, f"the process ended with exit code {code}; its last output is in log.txt")
