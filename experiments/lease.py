"""Who works on a stage: a lease file with a heartbeat, so that no two processes ever fill the same folder.

A lease is made with O_EXCL, kept alive by touching it, and taken over when its holder is dead (its process is gone
from this host) or silent for :data:`STALE_S`. Judging and replacing a stale lease happens under a file lock, so that
two processes that find the same dead lease cannot both take it.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from experiments.store import LEASE, read_json

STALE_S = 60.0  # without a heartbeat for that long, the holder counts as dead
BEAT_S = 5.0


class LeaseHeld(Exception):
    """Another live process works on the stage."""

    def __init__(self, folder: Path, holder: dict[str, Any]) -> None:
        super().__init__(f"{folder} is being worked on by process {holder.get('pid')} on {holder.get('host')}")
        self.folder = folder
        self.holder = holder


class LeaseLost(Exception):
    """The lease was taken over while the work went on (the process was suspended, or the disk was away)."""


def process_started(pid: int) -> str | None:
    """A mark of when a process of this host started (so that a reused number is not mistaken), None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
        return _alive_without_proc(pid)
    fields = stat.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    return fields[19]


def _alive_without_proc(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return "unknown"
    return "unknown"


def holder(folder: Path) -> dict[str, Any] | None:
    """The live holder of a folder's lease, or None where it is free or its lease is stale."""
    path = folder / LEASE
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return None
    body = read_json(path)
    if not isinstance(body, dict):  # being written at this moment, or cut off by a crash
        return {"pid": None, "host": "?"} if age < BEAT_S else None
    if body.get("host") == socket.gethostname():
        started = process_started(int(body["pid"]))
        if started is None or started != body.get("process_started", started):
            return None
    return body if age < STALE_S else None


def ask_holders(folders: Iterable[Path], number: int) -> int:
    """Send a signal to the processes of this host, other than this one, that hold these folders; returns how many."""
    asked = 0
    for folder in folders:
        body = holder(folder)
        if body and body.get("host") == socket.gethostname() and body.get("pid") not in (None, os.getpid()):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(body["pid"]), number)
                asked += 1
    return asked


def end_holders(folders: Sequence[Path], grace_s: float) -> None:
    """Ask the processes of this host that hold these folders to save and end, and wait so long for them to."""
    deadline = time.monotonic() + grace_s
    ask_holders(folders, signal.SIGTERM)
    while time.monotonic() < deadline and ask_holders(folders, 0):
        time.sleep(0.05)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Lease:
    """The right to write into one folder, from ``acquire`` to ``release``.

    Args:
        folder: the stage's folder; must exist.
        on_lost: called from the heartbeat thread when the lease turns out to belong to somebody else; a worker
            ends itself here, at once.
    """

    def __init__(self, folder: Path, on_lost: Callable[[], None] | None = None) -> None:
        self.path = folder / LEASE
        self.folder = folder
        self.token = uuid.uuid4().hex
        self._on_lost = on_lost
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> Lease:
        """Take the lease and start its heartbeat; raises :class:`LeaseHeld` where somebody alive has it."""
        now = time.time()
        body = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "process_started": process_started(os.getpid()),
            "started": now,
            "heartbeat": BEAT_S,
            "token": self.token,
        }
        with _locked(self.folder):
            if (other := holder(self.folder)) is not None:
                raise LeaseHeld(self.folder, other)
            self.path.unlink(missing_ok=True)
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            with os.fdopen(handle, "w") as file:
                file.write(json.dumps(body))
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()
        return self

    def mine(self) -> bool:
        """Whether the file still names this lease."""
        body = read_json(self.path)
        return isinstance(body, dict) and body.get("token") == self.token

    @contextmanager
    def held(self) -> Iterator[None]:
        """Prove that the lease is ours and keep it from being taken over: around the moment of declaring done.

        Raises :class:`LeaseLost` where another process has it.
        """
        with _locked(self.folder):
            if not self.mine():
                raise LeaseLost(f"{self.folder}: another process took this stage over")
            yield

    def release(self) -> None:
        """Give the lease back; what is no longer ours is left alone."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)
        with _locked(self.folder):
            if self.mine():
                self.path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            if not self.mine():
                if self._on_lost is not None and not self._stop.is_set():
                    self._on_lost()
                return
            with suppress(OSError):  # a disk that is away for a moment: the age tells if it lasts
                os.utime(self.path)

    def __enter__(self) -> Lease:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
