"""What a forked worker does: run one request with its own log, and die with the driver that wanted it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from experiments.store import LOG

HELD = 75  # exit code: somebody else works on this stage (EX_TEMPFAIL)
FAILED = 1  # exit code: FAILED.json says why
ORPHANED = 76  # exit code: the driver died, or the lease was lost


def work(request_path: str) -> NoReturn:
    """Run one request in this process and leave with a code that says how it went.

    Ctrl-C is the driver's to answer: a worker ignores SIGINT and ends on SIGTERM.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with_driver()
    _redirect(Path(request_path).with_name(LOG))

    from experiments.job import run_stage
    from experiments.lease import LeaseHeld

    code = 0
    try:
        run_stage(request_path, on_lost=lambda: os._exit(ORPHANED))
    except LeaseHeld as error:
        print(error, flush=True)
        code = HELD
    except BaseException:
        import traceback

        traceback.print_exc()
        code = FAILED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # nothing of what libraries registered for the exit of the server's copy may run here


def _die_with_driver() -> None:
    """End this process the moment the driver is gone: its end of a pipe closes, however it died."""
    driver = multiprocessing.parent_process()
    if driver is None:
        return

    def watch() -> None:
        driver.join()
        os._exit(ORPHANED)

    threading.Thread(target=watch, name="driver", daemon=True).start()


def _redirect(log: Path) -> None:
    """Send all that the job prints, also from C code, to its log."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
