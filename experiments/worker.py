"""What a forked worker does: run one request with its own log, and die with the driver that wanted it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from experiments.store import LOG

HELD = 75  # exit code: somebody else works on this stage (EX_TEMPFAIL)
FAILED = 1  # exit code: FAILED.json says why
ORPHANED = 76  # exit code: the driver died, or the lease was lost
PREEMPTED = 77  # exit code: asked to stop, and saved; to be started again


def work(request_path: str, environment: Mapping[str, str] | None = None) -> NoReturn:
    """Run one request in this process and leave with a code that says how it went.

    Ctrl-C is the driver's to answer: a worker ignores SIGINT, and on SIGTERM or SIGUSR1 saves where it is and ends.

    Args:
        request_path: what is to be made.
        environment: variables to set before any device is looked at (CUDA_VISIBLE_DEVICES).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(environment or {})
    _die_with_driver()
    redirect(Path(request_path).with_name(LOG))
    code = attempt(request_path)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # nothing of what libraries registered for the exit of the server's copy may run here


def attempt(request_path: str, forward: bool = False) -> int:
    """Make one attempt at a request and return the exit code that says how it ended.

    Args:
        request_path: what is to be made.
        forward: hand signals to stop on to who handled them before, once the attempt has ended.
    """
    from experiments.job import run_stage
    from experiments.lease import LeaseHeld
    from experiments.stop import StopFlag, stop_on_signals, was_asked

    flag = StopFlag()
    try:
        with stop_on_signals(flag, forward):
            run_stage(request_path, on_lost=lambda: os._exit(ORPHANED), stop=flag)
    except LeaseHeld as error:
        print(error, flush=True)
        return HELD
    except BaseException as error:
        if was_asked(error, flag):
            print(f"{error}; it goes on from there", flush=True)
            return PREEMPTED
        traceback.print_exc()
        return FAILED
    return 0


def attempt_in_log(request_path: str) -> None:
    """One attempt inside somebody else's process (joblib's, submitit's): its output goes to the job's log meanwhile.

    What the signals to stop meant to that process is done afterwards (submitit queues the job again); that the job did
    not end well comes out as an exception, which its launcher may show: the store tells the rest.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    redirect(Path(request_path).with_name(LOG))
    try:
        code = attempt(request_path, forward=True)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, handle in zip((1, 2), kept, strict=True):
            os.dup2(handle, number)
            os.close(handle)
    if code != 0:
        raise RuntimeError(f"{request_path}: ended with code {code}; see {LOG} beside it")


def _die_with_driver() -> None:
    """End this process the moment the driver is gone: its end of a pipe closes, however it died."""
    driver = multiprocessing.parent_process()
    if driver is None:
        return

    def watch() -> None:
        driver.join()
        os._exit(ORPHANED)

    threading.Thread(target=watch, name="driver", daemon=True).start()


def redirect(log: Path) -> None:
    """Send all that the job prints, also from C code, to its log."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
