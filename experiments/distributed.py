"""One stage on several devices: a fresh group of processes from the stage's request file, watched over by its worker.

The worker keeps the lease and declares the stage done; each process of the group (a rank) runs the stage function on
its device. A rank starts from ``request.yaml`` alone, never from the command line of a sweep, and the process group
exists before Lightning looks for one. No rank outlives its group: when one fails, the others are ended; when the
worker is gone, however it died, the ranks see the end of a pipe and leave.

``python -m experiments.distributed REQUEST RANK SIZE FOLDER`` is one rank; only :func:`run_group` starts it.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from experiments.processes import ONE_THREAD
from experiments.store import PROGRESS, REQUEST, Request, read_json
from experiments.trainer import check_devices

if TYPE_CHECKING:
    from experiments.job import Progress

POLL_S = 0.05
STOP = "stop"  # file in the group's folder: save and end
FAILED, ORPHANED = 1, 76  # exit codes of a rank


class Died(Exception):
    """A process of a group ended without a word: killed, or by a library's own exit."""


@dataclass
class _Group:
    """The ranks that run, and the folder in which they meet and leave word of how they failed."""

    folder: Path
    ranks: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, request: Path, size: int) -> None:
        environment = os.environ | dict.fromkeys(ONE_THREAD, "1")
        environment.setdefault(
            "TORCH_CPP_LOG_LEVEL", "ERROR"
        )  # DDP warns of what it was told to look for and not found
        # What this process can import, its ranks can, and the same files.
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path and os.path.exists(path))
        for rank in range(size):
            command = [sys.executable, "-P", "-m", "experiments.distributed"]
            command += [str(request), str(rank), str(size), str(self.folder)]
            self.ranks.append(subprocess.Popen(command, stdin=subprocess.PIPE, env=environment))

    def ended_badly(self) -> bool:
        return any(rank.poll() not in (None, 0) for rank in self.ranks)

    def running(self) -> bool:
        return any(rank.poll() is None for rank in self.ranks)

    def error(self) -> BaseException:
        """Of the rank that failed first: it leaves its word before it ends, and the others fail because it ended."""
        for number, rank in enumerate(self.ranks):
            if (code := rank.poll()) is not None and code < 0:
                name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
                hint = " (out of memory?)" if name == "SIGKILL" else ""
                return Died(
                    f"rank {number} of {len(self.ranks)} was killed by signal {-code} ({name}){hint}; "
                    "its last output is in log.txt"
                )
        words = sorted((path.stat().st_mtime_ns, path) for path in self.folder.glob("error-*.pickle"))
        if words:
            error, trace = pickle.loads(words[0][1].read_bytes())
            error.add_note(f"in rank {words[0][1].stem.removeprefix('error-')} of {len(self.ranks)}:\n{trace}")
            return cast(BaseException, error)
        codes = ", ".join(f"rank {number} with {rank.poll()}" for number, rank in enumerate(self.ranks) if rank.poll())
        return Died(f"the group ended without a word ({codes}); its last output is in log.txt")

    def end(self) -> None:
        """Leave no rank behind: there is nothing that one could still save by itself."""
        for rank in self.ranks:
            rank.kill()
        for rank in self.ranks:
            rank.wait()
            if rank.stdin is not None:
                rank.stdin.close()


def run_group(request: Request, progress: Progress, stop_requested: Callable[[], bool]) -> None:
    """Run a stage in ``request.devices`` processes, and return when all of them have ended well.

    Args:
        request: what to make.
        progress: told what the first rank tells.
        stop_requested: polled; once true the ranks are told, save their state together and raise ``Preempted``.

    Raises:
        Died: a rank was killed.
        Exception: what the rank that failed first raised.
    """
    before = _children_s()
    with tempfile.TemporaryDirectory(prefix="lavit-group-") as folder:
        group = _Group(Path(folder))
        try:
            group.start(request.folder / REQUEST, request.devices)
            told = False
            while group.running() and not group.ended_badly():
                time.sleep(POLL_S)
                if not told and stop_requested():
                    told = True
                    (group.folder / STOP).touch()
                if (body := read_json(group.folder / PROGRESS)) is not None:
                    progress.ranks_s = request.devices * float(body["cpu_s"])
                    progress(body["step"], body["total"], body["metrics"])
            if group.ended_badly():
                raise group.error()
        finally:
            group.end()
            progress.ranks_s = _children_s() - before


def _children_s() -> float:
    """CPU seconds of child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rank_main(path: Path, rank: int, size: int, folder: Path) -> NoReturn:
    """One rank, from start to the end of its process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # the worker's to answer, also where a cluster sends them to all
    threading.Thread(target=_leave_with_worker, name="worker", daemon=True).start()
    code = 0
    try:
        _run_rank(path, rank, size, folder)
    except BaseException as error:
        trace = traceback.format_exc()
        try:
            word = pickle.dumps((error, trace))
            pickle.loads(word)
        except Exception:  # an exception that cannot travel: its text can
            word = pickle.dumps((RuntimeError(f"{type(error).__name__}: {error}"), trace))
        temporary = folder / f".error-{rank}"
        temporary.write_bytes(word)
        os.replace(temporary, folder / f"error-{rank}.pickle")
        print(trace, file=sys.stderr)
        code = FAILED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a group that lost a rank would wait for it at exit


def _leave_with_worker() -> None:
    sys.stdin.buffer.read()
    os._exit(ORPHANED)


def _run_rank(path: Path, rank: int, size: int, folder: Path) -> None:
    request = Request.read(path)
    import torch
    import torch.distributed

    from experiments.job import Progress, call_stage, find_inputs

    accelerator = request.config["trainer"]["accelerator"]
    kind = check_devices(size, accelerator, torch.cuda.device_count() if torch.cuda.is_available() else 0)
    if kind == "cuda":
        torch.cuda.set_device(rank)
    elif sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a group never leaves its machine
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "GROUP_RANK": "0"}
    os.environ |= {"LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    # Ranks meet in a file: a port may be taken by another job between choosing and using it.
    torch.distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=size,
    )
    progress = Progress(folder if rank == 0 else Path(os.devnull))
    call_stage(request, find_inputs(request.store, request), progress, (folder / STOP).exists)


if __name__ == "__main__":
    rank_main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
