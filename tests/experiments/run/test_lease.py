"""Nobody fills the same folder twice; who is dead or silent loses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from experiments import lease as lease_module
from experiments.lease import Lease, LeaseHeld, LeaseLost, holder


def test_a_held_lease_is_refused_and_a_released_one_is_free(tmp_path):
    with Lease(tmp_path), pytest.raises(LeaseHeld, match=str(os.getpid())):
        Lease(tmp_path).acquire()
    assert holder(tmp_path) is None
    Lease(tmp_path).acquire().release()


def write_lease(folder, **changes):
    body = {"pid": os.getpid(), "host": "elsewhere", "process_started": "1", "token": "other", **changes}
    (folder / "LEASE.json").write_text(json.dumps(body))


def test_the_lease_of_a_dead_process_is_taken_over_at_once(tmp_path):
    import socket

    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    write_lease(tmp_path, pid=child.pid, host=socket.gethostname())
    Lease(tmp_path).acquire().release()


def test_a_reused_process_number_does_not_keep_a_lease(tmp_path):
    import socket

    write_lease(tmp_path, pid=os.getpid(), host=socket.gethostname(), process_started="1")
    assert holder(tmp_path) is None


def test_another_host_keeps_its_lease_while_its_heart_beats(tmp_path):
    write_lease(tmp_path)
    assert holder(tmp_path)["host"] == "elsewhere"
    old = time.time() - lease_module.STALE_S - 1
    os.utime(tmp_path / "LEASE.json", (old, old))
    assert holder(tmp_path) is None


def test_who_lost_the_lease_cannot_declare_anything_done(tmp_path):
    mine = Lease(tmp_path).acquire()
    write_lease(tmp_path)
    with pytest.raises(LeaseLost), mine.held():
        raise AssertionError("must not come here")
    mine.release()
    assert (tmp_path / "LEASE.json").exists(), "the other's lease stays"


def test_the_heartbeat_touches_the_file_and_notices_a_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(lease_module, "BEAT_S", 0.02)
    lost = threading.Event()
    mine = Lease(tmp_path, on_lost=lost.set).acquire()
    path = tmp_path / "LEASE.json"
    os.utime(path, (1, 1))
    deadline = time.time() + 2
    while path.stat().st_mtime < 2 and time.time() < deadline:
        time.sleep(0.01)
    assert path.stat().st_mtime > 2
    write_lease(tmp_path)
    assert lost.wait(2)
    mine.release()


def test_of_many_that_find_a_dead_lease_one_gets_it(tmp_path):
    for round_ in range(20):
        folder = tmp_path / str(round_)
        folder.mkdir()
        write_lease(folder)
        os.utime(folder / "LEASE.json", (1, 1))
        won = []
        gate = threading.Barrier(4)

        def attempt(folder=folder, gate=gate, won=won):
            gate.wait()
            try:
                won.append(Lease(folder).acquire())
            except LeaseHeld:
                return

        threads = [threading.Thread(target=attempt) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        won[0].release()
