"""Forked workers: one process and one thread per job, from a server that has the heavy imports in memory.

A job costs 0.02 s to start instead of six seconds of imports, a job that dies takes nobody with it, and each job sees
its own devices only.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import cast

from experiments import worker
from experiments.devices import DeviceSlots, environment, find_devices
from experiments.pool import Ended, overdue
from experiments.processes import ONE_THREAD, QUIET, cores

GRACE_S = 10.0  # between asking a worker to save and end, and making it
PRELOAD = "LAVIT_PRELOAD"  # read by experiments.preload: modules to import in the server, with commas between


@dataclass
class _Running:
    process: ForkServerProcess
    request: Path
    started: float
    devices: list[str]


class ForkPool:
    """A :class:`experiments.launch.Pool` of forked workers.

    Args:
        slots: jobs at once; None for as many as there are devices, or, without any, cores.
        timeout_s: a job that takes longer is ended and counts as failed; None for no limit.
        preload: modules to import once, in the server.
        devices: GPUs to share out, one for each process of a job: how many, or which; None for all that are there,
            0 for none.
    """

    def __init__(
        self,
        slots: int | None = None,
        timeout_s: float | None = None,
        preload: Iterable[str] = (),
        devices: int | Sequence[int | str] | None = None,
    ) -> None:
        self.devices = find_devices(devices)
        self.slots = slots or len(self.devices) or cores()
        if self.devices:
            self.slots = min(self.slots, len(self.devices))
        self._device_slots = DeviceSlots(self.devices)
        self._own_devices = bool(self.devices) or devices == 0
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

    def start(self, request: Path, size: int = 1) -> None:
        """Fork a worker for one request, with as many devices of its own as it has processes."""
        self.warm()
        devices = self._device_slots.take(size)
        arguments = (str(request), environment(devices, self._own_devices))
        process = self._context.Process(target=worker.work, args=arguments, name=request.parent.parent.name)
        with _no_main():
            process.start()
        self._running[process.sentinel] = _Running(process, request, time.monotonic(), devices)

    def wait(self, timeout_s: float) -> list[Ended]:
        """Workers that ended or ran out of time."""
        ended = []
        for sentinel in connection.wait(list(self._running), timeout_s):
            running = self._running.pop(cast(int, sentinel))
            running.process.join()
            self._device_slots.give_back(running.devices)
            ended.append(judge(running.request, running.process.exitcode))
            running.process.close()
        if self.timeout_s is not None:
            ended += self._overdue(self.timeout_s)
        return ended

    def working(self, request: Path) -> bool:
        """Always: it has no queue."""
        return True

    def stop(self) -> None:
        """Ask all workers to save and end, and make those that do not; a second Ctrl-C does not wait for them."""
        for running in self._running.values():
            running.process.terminate()
        deadline = time.monotonic() + GRACE_S
        try:
            for running in self._running.values():
                running.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for running in self._running.values():
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
            self._device_slots.give_back(running.devices)
            ended.append(overdue(running.request, limit))
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


def judge(request: Path, code: int | None) -> Ended:
    """What a worker's exit code says."""
    if code == 0:
        return Ended(request, "done")
    if code == worker.HELD:
        return Ended(request, "held")
    if code == worker.PREEMPTED:
        return Ended(request, "preempted", "asked to stop; it saved where it was")
    if code == worker.ORPHANED:
        return Ended(request, "lost", "another process took its lease over")
    if code == worker.FAILED:
        return Ended(request, "failed", "the stage failed")
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return Ended(request, "died", f"killed by signal {-code} ({name}){hint}; its last output is in log.txt")
    return Ended(request, "died", f"the process ended with exit code {code}; its last output is in log.txt")
