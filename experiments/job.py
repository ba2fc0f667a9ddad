"""One job: a request file becomes a finished folder in the store, or a note of how it failed, and nothing between.

This runs in a worker process (or in the driver's own, for one arm). It takes the folder's lease, gives the stage only
the config that it declared, and writes DONE.json last; who dies on the way leaves a folder that does not count.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments import attempts
from experiments.distributed import run_group
from experiments.environment import stage_environment
from experiments.errors import LavitError
from experiments.failures import place
from experiments.lease import Lease
from experiments.stop import StopFlag, was_asked
from experiments.store import ENVIRONMENT, PROGRESS, PRUNE, READS, RESUME, Request, Store, read_json, write_atomic

PROGRESS_EVERY_S = 0.5


class Pruned(Exception):
    """A search has seen enough of this training: it falls behind the others."""


class Progress:
    """Where a job is, as a small file that the driver and ``lavit status`` read; writes at most twice a second.

    Args:
        folder: the stage's folder.
        spent: seconds of wall and CPU time that an interrupted attempt, which this one goes on from, has used.
        stop: ends a stage that does not look at it by itself once somebody asked.
    """

    def __init__(self, folder: Path, spent: tuple[float, float] = (0.0, 0.0), stop: StopFlag | None = None) -> None:
        self._path = folder / PROGRESS
        self._stop = stop or StopFlag()
        self._start = (time.monotonic() - spent[0], time.process_time() - spent[1])
        self._written = 0.0
        self.ranks_s = 0.0  # CPU seconds of the processes that do the work where this one only watches them

    def spent(self) -> tuple[float, float]:
        """Wall and CPU seconds so far, earlier attempts included."""
        return time.monotonic() - self._start[0], time.process_time() - self._start[1] + self.ranks_s

    def __call__(self, step: int, total: int, metrics: dict[str, float]) -> None:
        """Note step ``step`` of ``total``; cheap enough to be called at every step."""
        if self._stop.requested and not self._stop.looked:
            from lavit.stages.context import Preempted

            raise Preempted(f"asked to stop at step {step} of {total}")
        now = time.monotonic()
        if now - self._written < PROGRESS_EVERY_S:
            return
        self._written = now
        wall, cpu = self.spent()
        body = {
            "step": int(step),
            "total": int(total),
            "metrics": {name: float(value) for name, value in metrics.items()},
            "time": time.time(),
            "wall_s": wall,
            "cpu_s": cpu,
        }
        temporary = self._path.with_name(f".{PROGRESS}.{os.getpid()}")
        temporary.write_text(json.dumps(body), encoding="utf-8")
        os.replace(temporary, self._path)
        if (prune := self._path.with_name(PRUNE)).exists():
            raise Pruned(prune.read_text(encoding="utf-8"))


def run_stage(
    request_path: str | os.PathLike[str],
    on_lost: Callable[[], None] | None = None,
    stop: StopFlag | None = None,
) -> dict[str, Any]:
    """Make what a request file asks for, unless it is already done, and return the content of DONE.json.

    Args:
        request_path: ``<runs>/store/<stage>/<key>/request.yaml``.
        on_lost: called from another thread when the lease was taken over; see :class:`experiments.lease.Lease`.
        stop: set when the stage is to save where it is and to end.

    Raises:
        Preempted: the stage was asked to stop; started again, it goes on where it was.
        LeaseHeld: somebody else is making it at this moment.
        LavitError: the request, or an input that it needs, is not there.
        Exception: whatever the stage raised; FAILED.json then tells it too.
    """
    request = Request.read(Path(request_path))
    store, stage, key = request.store, request.stage, request.key
    with Lease(request.folder, on_lost) as lease:
        if (body := store.done(stage, key)) is not None:
            return body
        stop = stop or StopFlag()
        progress = Progress(request.folder, _spent(request.folder), stop)
        store.clear(stage, key)
        attempts.begin(request.folder)
        try:
            inputs = find_inputs(store, request)
            progress(0, 0, {})
            if request.devices > 1:
                run_group(request, progress, stop)
            else:
                call_stage(request, inputs, progress, stop)
            with lease.held():
                body = store.finish(stage, key, *progress.spent())
                attempts.end(request.folder, "done")
                return body
        except BaseException as error:
            if lease.mine():
                _note(store, request, error, stop)
            raise


def _note(store: Store, request: Request, error: BaseException, stop: StopFlag) -> None:
    """Note how an attempt ended; being stopped is no failure, whichever exception it came out as."""
    if was_asked(error, stop):
        attempts.end(request.folder, "preempted")
        return
    kind = type(error).__name__
    attempts.end(request.folder, kind)
    if isinstance(error, Exception):
        store.fail(request.stage, request.key, kind, str(error), traceback.format_exc(), place(error))


def call_stage(
    request: Request, inputs: dict[str, Path], progress: Progress, stop_requested: Callable[[], bool]
) -> None:
    """Run the stage's function in this process."""
    function = _resolve(request.run)
    _settle(request.seed)
    context = _context(request, inputs, progress, stop_requested)
    function(context)
    _describe(request, context.config)


def _spent(folder: Path) -> tuple[float, float]:
    """Time used by the attempt that is gone on from: only where there is something to go on from."""
    body = read_json(folder / PROGRESS)
    if not isinstance(body, dict) or not (folder / RESUME).is_dir():
        return 0.0, 0.0
    return float(body.get("wall_s", 0.0)), float(body.get("cpu_s", 0.0))


def find_inputs(store: Store, request: Request) -> dict[str, Path]:
    """Finished folder of each stage that a request needs."""
    folders = {}
    for stage, key in request.needs.items():
        if not store.is_done(stage, key):
            raise LavitError(
                f"Stage {request.stage} needs {stage}/{key}, which is not finished in {store.root}.",
                "Run the study again: `lavit run` makes what is missing, in order.",
            )
        folders[stage] = store.folder(stage, key)
    return folders


def _resolve(dotted: str) -> Callable[..., None]:
    module_name, _, name = dotted.rpartition(".")
    try:
        function: Callable[..., None] = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise LavitError(
            f"The stage function {dotted} cannot be loaded: {type(error).__name__}: {error}.",
            "It is named under `stages` in conf/config.yaml.",
        ) from error
    return function


def _settle(seed: int) -> None:
    """One thread and a known state of every global generator, so that a forgotten one cannot differ between runs."""
    random.seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed % 2**32)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
        torch.manual_seed(seed)


def _context(request: Request, inputs: dict[str, Path], progress: Progress, stop_requested: Callable[[], bool]) -> Any:
    from experiments.declared import DeclaredConfig
    from lavit.stages.context import StageContext

    return StageContext(
        stage=request.stage,
        config=DeclaredConfig(request.config, request.stage, request.reads),
        seed=request.seed,
        inputs=inputs,
        out=request.folder,
        progress=progress,
        stop_requested=stop_requested,
    )


def _describe(request: Request, config: Any) -> None:
    """Note, beside what the stage made, what it read of its config and on what it was made; no result hangs on it."""
    notes = {READS: {"declared": list(request.reads), "read": config.seen}, ENVIRONMENT: stage_environment()}
    for name, body in notes.items():  # by each process of a group: the last one stays, whole
        write_atomic(request.folder / name, json.dumps(body, indent=1))
