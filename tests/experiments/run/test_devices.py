"""Jobs that run together never see the same device."""

from __future__ import annotations

import json

import pytest
from fake_study import fork, take_slots

from experiments import devices as module
from experiments.devices import find_devices
from experiments.errors import LavitError
from experiments.launch import run_graph


def test_devices_come_from_the_environment_or_from_nvidia_smi(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-abc")
    assert find_devices() == ["4", "GPU-abc"]
    assert find_devices(1) == ["4"]
    assert find_devices([7, 9]) == ["7", "9"]
    assert find_devices(0) == []
    with pytest.raises(LavitError, match=r"devices=3.*2 GPUs"):
        find_devices(3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert find_devices() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    command = tmp_path / "nvidia-smi"
    command.write_text(
        "#!/bin/sh\necho 'GPU 0: H100 (UUID: GPU-1)'\necho '  MIG 1g'\necho 'GPU 1: H100 (UUID: GPU-2)'\n"
    )
    command.chmod(0o755)
    monkeypatch.setattr(module.shutil, "which", lambda name: str(command))
    assert find_devices() == ["0", "1"]
    command.write_text("#!/bin/sh\nexit 9\n")
    assert find_devices() == []


def test_no_two_live_jobs_share_a_device(store, make_job, tmp_path):
    """Eight jobs on three devices, two of them with two processes: each interval of a device belongs to one job."""
    jobs = {}
    for index in range(8):
        job = make_job("pretrain", f"p{index}", seconds=0.2, how="kill" if index == 3 else "")
        job.config["work"]["spans"] = str(tmp_path)
        take_slots(job, 2 if index in (1, 4) else 1)
        jobs["pretrain", job.key] = job
    pool = fork(slots=None, devices=["0", "1", "2"])
    assert pool.slots == 3
    outcomes = run_graph(jobs, store, pool)
    assert [outcome.status for outcome in outcomes.values()].count("ran") == 7, "a killed job gives its device back"
    spans = [json.loads(path.read_text()) for path in tmp_path.glob("*.span")]
    assert len(spans) == 7
    assert {len(span["devices"]) for span in spans} == {1, 2}
    for one in spans:
        for other in spans:
            if one is not other and set(one["devices"]) & set(other["devices"]):
                assert one["end"] <= other["start"] or other["end"] <= one["start"]


def test_jobs_told_to_use_cores_see_no_device(store, make_job, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    job = make_job("pretrain", "p")
    job.config["work"]["spans"] = str(tmp_path)
    run_graph({("pretrain", "p"): job}, store, fork(slots=1, devices=0))
    assert json.loads(next(tmp_path.glob("*.span")).read_text())["devices"] == []
