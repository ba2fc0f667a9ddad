"""Jobs as Ray tasks: a local cluster, or one that is there (``hydra.launcher.address=auto``); one process for
each job at a time.

Ray places the tasks and gives each its devices; the store says what became of them.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from experiments import worker
from experiments.errors import LavitError
from experiments.fork_pool import GRACE_S, judge
from experiments.lease import end_holders, holder
from experiments.pool import Ended, overdue
from experiments.processes import ONE_THREAD, QUIET, cores


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise LavitError(
            "hydra/launcher=ray needs the package ray, which is not installed",
            "pip install 'lavit-lab[ray]', or use hydra/launcher=fork (the default)",
        ) from error
    return ray


def run_request(request: str) -> int:
    """What a Ray task does: one attempt at a request, in a process that ends with it; returns the exit code."""
    worker.redirect(Path(request).with_name(worker.LOG))
    return worker.attempt(request)


class RayPool:
    """A :class:`experiments.pool.Pool` of Ray tasks.

    Args:
        slots: jobs at once; None for as many as the cluster has GPUs, or, without any, cores.
        timeout_s: a job that takes longer is ended and counts as failed; None for no limit.
        address: of a cluster that is there (``auto`` finds it); None starts one on this machine, for this launch.
    """

    def __init__(self, slots: int | None = None, timeout_s: float | None = None, address: str | None = None) -> None:
        self._asked, self.timeout_s, self._address = slots, timeout_s, address
        self.slots = slots or cores()
        self._running: dict[Any, tuple[Path, float]] = {}  # by Ray's reference
        self._gpus = 0
        self._task: Any = None

    def warm(self) -> None:
        """Connect, or start the local cluster."""
        if self._task is not None:
            return
        ray = _ray()
        environment = {**dict.fromkeys(ONE_THREAD, "1"), **{n: os.environ.get(n, v) for n, v in QUIET.items()}}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a job without a GPU keeps its environment
        if path := os.environ.get("PYTHONPATH"):
            environment["PYTHONPATH"] = path
        ours = signal.getsignal(signal.SIGTERM)  # Ray would answer SIGTERM itself, without telling us
        local = {} if self._address else {"num_cpus": self.slots, "include_dashboard": False}
        ray.init(
            address=self._address,
            ignore_reinit_error=True,
            log_to_driver=False,
            logging_level="error",
            runtime_env={"env_vars": environment},
            **local,
        )
        signal.signal(signal.SIGTERM, ours)
        resources = ray.cluster_resources()
        self._gpus = int(resources.get("GPU", 0))
        self.slots = self._asked or self._gpus or int(resources.get("CPU", 1))
        calls = 1 if self._gpus else 0  # a process that has seen one device cannot be given another
        self._task = ray.remote(max_calls=calls, max_retries=0)(run_request)

    def start(self, request: Path, size: int = 1) -> None:
        """Submit one request, with as many GPUs (or cores) as it has processes."""
        self.warm()
        needs = {"num_cpus": 1, "num_gpus": size} if self._gpus else {"num_cpus": size}
        self._running[self._task.options(**needs).remote(str(request))] = (request, time.monotonic())

    def wait(self, timeout_s: float) -> list[Ended]:
        """Tasks that ended or ran out of time."""
        if not self._running:
            time.sleep(timeout_s)
            return []
        ray = _ray()
        found, _ = ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        ended = []
        for reference in found:
            request, _ = self._running.pop(reference)
            try:
                ended.append(judge(request, ray.get(reference)))
            except ray.exceptions.OutOfMemoryError as error:
                ended.append(Ended(request, "died", f"out of memory: {_first(error)}"))
            except ray.exceptions.RayError as error:
                ended.append(Ended(request, "died", f"{type(error).__name__}: {_first(error)}"))
        if self.timeout_s is not None:
            for reference, (request, since) in list(self._running.items()):
                if time.monotonic() - since > self.timeout_s:
                    del self._running[reference]
                    ray.cancel(reference, force=True)
                    ended.append(overdue(request, self.timeout_s))
        return ended

    def working(self, request: Path) -> bool:
        """Whether somebody holds its lease: Ray may have it in its queue."""
        return holder(request.parent) is not None

    def stop(self) -> None:
        """Ask jobs of this machine to save and end, and end all others."""
        if self._task is None:
            return
        ray = _ray()
        end_holders([request.parent for request, _ in self._running.values()], GRACE_S)
        for reference in self._running:
            ray.cancel(reference, force=True)
        self._running.clear()
        self.close()

    def close(self) -> None:
        """Leave the cluster; one that was started for this launch ends."""
        if self._task is not None:
            self._task = None
            _ray().shutdown()


def _first(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
