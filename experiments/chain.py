"""A study as Slurm arrays that wait for each other, so that the login shell may close.

Each wave is one array: the jobs whose inputs all lie in earlier waves. It depends on the wave before by ``afterany``: a
failed job holds up only what needs it, whose tasks see that and end at once. The last job brings MLflow up to date and
builds the report. Submitting the same study again, after everything ended, runs what is missing.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import worker
from experiments.attempts import attempts
from experiments.errors import LavitError
from experiments.failures import classify
from experiments.plan import Plan, StageJob
from experiments.processes import ONE_THREAD, QUIET
from experiments.store import LOG, Request, Store

MAX_ARRAY = 1000  # Slurm's own limit, unless an administrator raised it
HELD_S = 10.0  # between two looks at a stage that another launch works on
#: Settings of hydra.launcher that are sbatch options under another name; the others keep theirs, with dashes.
_RENAMED = {"name": "job-name", "timeout_min": "time", "mem_gb": "mem"}
_NOT_SBATCH = {
    "submitit_folder", "max_num_timeout", "signal_delay_s", "array_parallelism", "setup", "additional_parameters",
    "stderr_to_stdout", "tasks_per_node", "nodes",
}  # fmt: skip


def submit_chain(plan: Plan, settings: Mapping[str, Any], config_dir: Path | None = None) -> list[str]:
    """Submit a study's missing jobs and its report, print what was submitted, and return Slurm's job numbers.

    Args:
        plan: what is wanted; its requests are written here.
        settings: of ``hydra/launcher=submitit_slurm``: partition, gpus_per_node, timeout_min, array_parallelism, ...
        config_dir: the config folder, where it is not the one that ships with the packages.
    """
    if shutil.which("sbatch") is None:
        raise LavitError("--chain needs Slurm, but there is no `sbatch` on the PATH", "run it on a login node")
    store = Store(plan.runs_dir)
    folder = _new_folder(plan.runs_dir / plan.study.name / "chain")
    numbers: list[str] = []
    before: list[str] = []
    waves = plan.topological_waves({identity for identity in plan.jobs if store.is_done(*identity)})
    for index, wave in enumerate(waves, 1):
        own: list[str] = []
        for batch in _batches(wave):
            listed = folder / f"wave-{index}-{len(own) + 1}.txt"
            requests = [store.write_request(job.request()) for job in batch]
            listed.write_text("".join(f"{request}\n" for request in requests), encoding="utf-8")
            own.append(_submit(listed, len(requests), batch[0].devices, before, settings))
        print(f"wave {index} of {len(waves)}: {len(wave)} jobs, Slurm {', '.join(own)}")
        numbers += own
        before = own
    number = _submit_report(plan, folder, before, settings, config_dir)
    print(f"report: Slurm {number}; this shell may close")
    print(f"  {shlex.join(['lavit', 'status', *plan.overrides])}   shows how far it is")
    print(f"  scancel {' '.join([*numbers, number])}   ends it; `lavit run ... --chain` then submits what is missing")
    return [*numbers, number]


def _new_folder(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        try:
            (parent / str(number)).mkdir()
        except FileExistsError:
            number += 1
        else:
            return parent / str(number)


def _batches(wave: Sequence[StageJob]) -> list[list[StageJob]]:
    """One array for each number of devices, none longer than Slurm takes."""
    batches = []
    for devices in sorted({job.devices for job in wave}):
        jobs = [job for job in wave if job.devices == devices]
        batches += [jobs[start : start + MAX_ARRAY] for start in range(0, len(jobs), MAX_ARRAY)]
    return batches


def _options(settings: Mapping[str, Any], devices: int) -> dict[str, str]:
    """sbatch's options from hydra.launcher's settings."""
    options = {
        _RENAMED.get(name, name.replace("_", "-")): value
        for name, value in settings.items()
        if name not in _NOT_SBATCH and not name.startswith("_") and value is not None
    }
    if "mem" in options:
        options["mem"] = f"{options['mem']}G"
    if devices > 1:
        if "gpus-per-node" in options:
            options["gpus-per-node"] = devices
        else:
            options["cpus-per-task"] = max(devices, int(options.get("cpus-per-task", 1)))
    options.update({str(name).replace("_", "-"): value for name, value in _extra(settings).items()})
    return {name: str(value) for name, value in options.items()}


def _extra(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    return settings.get("additional_parameters") or {}


def _submit(listed: Path, count: int, devices: int, before: list[str], settings: Mapping[str, Any]) -> str:
    parallel = min(count, int(settings.get("array_parallelism") or count))
    delay = int(settings.get("signal_delay_s") or 120)
    options = {
        **_options(settings, devices),
        "array": f"0-{count - 1}%{parallel}",
        "output": str(listed.with_suffix("")) + "-%a.out",
        "open-mode": "append",
        "requeue": "",
        "signal": f"B:USR1@{delay}",  # to the batch shell, which `exec` makes the job itself
    }
    command = (
        f'exec {shlex.quote(sys.executable)} -m experiments.chain {shlex.quote(str(listed))} "$SLURM_ARRAY_TASK_ID"'
    )
    return _sbatch(listed.with_suffix(".sh"), options, before, settings, [command])


def _submit_report(
    plan: Plan, folder: Path, before: list[str], settings: Mapping[str, Any], config_dir: Path | None
) -> str:
    runs = [] if any(o.startswith("runs=") for o in plan.overrides) else [f"runs={plan.runs_dir}"]
    asked = [*plan.overrides, *runs, *(["--conf", str(config_dir)] if config_dir else [])]
    lavit = [sys.executable, "-m", "experiments.cli"]
    commands = [shlex.join([*lavit, "report", *asked]), shlex.join([*lavit, "sync", *asked])]
    plain = {name: value for name, value in settings.items() if not name.startswith(("gpus", "gres", "cpus_per_gpu"))}
    options = {**_options(plain, 1), "output": str(folder / "report.out"), "open-mode": "append"}
    return _sbatch(folder / "report.sh", options, before, settings, commands)


def _sbatch(
    script: Path, options: Mapping[str, str], before: list[str], settings: Mapping[str, Any], commands: Sequence[str]
) -> str:
    """Write a batch script, submit it after the jobs ``before``, and return its number."""
    lines = ["#!/bin/bash"]
    lines += [
        f"#SBATCH --{name}={shlex.quote(value)}" if value else f"#SBATCH --{name}" for name, value in options.items()
    ]
    lines += [f"export {name}=1" for name in ONE_THREAD]
    lines += [f"export {name}={value}" for name, value in QUIET.items()]
    lines += [*(settings.get("setup") or []), *commands, ""]
    script.write_text("\n".join(lines), encoding="utf-8")
    dependency = [f"--dependency=afterany:{':'.join(before)}"] if before else []
    done = subprocess.run(["sbatch", "--parsable", *dependency, str(script)], capture_output=True, text=True)
    if done.returncode != 0:
        raise LavitError(
            f"sbatch refused {script}: {' '.join(done.stderr.split()) or f'exit code {done.returncode}'}",
            "its options come from hydra.launcher.* (partition, account, gpus_per_node, additional_parameters, ...)",
        )
    return done.stdout.strip().split(";")[0]


def run_task(listed: Path, index: int) -> int:
    """One task of an array: make what its line asks for, unless that is done, blocked, or bound to fail."""
    requests = [Path(line) for line in listed.read_text(encoding="utf-8").splitlines()]
    request = Request.read(requests[index])
    store = request.store
    missing = [f"{stage}/{key}" for stage, key in request.needs.items() if not store.is_done(stage, key)]
    if missing:
        print(f"{request.stage}/{request.key} is blocked: {', '.join(missing)} is not finished")
        return 0
    if (error := _systematic(requests, listed.stat().st_mtime)) is not None:
        print(f"{request.stage}/{request.key} is not started: two others failed with {error}, and none has worked")
        return 0
    worker.redirect(requests[index].with_name(LOG))
    while (code := worker.attempt(str(requests[index]))) == worker.HELD:
        time.sleep(HELD_S)
    if code == worker.PREEMPTED or (code == worker.FAILED and _first_out_of_memory(request)):
        subprocess.run(["scontrol", "requeue", _number()], check=True)
        return 0
    return code


def _number() -> str:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]


def _first_out_of_memory(request: Request) -> bool:
    """Whether it ran out of memory for the first time: once more, on an allocation of its own."""
    ends = [attempt["end"] for attempt in attempts(request.folder)]
    error = request.store.failure(request.stage, request.key)
    return classify(error).name == "memory" and ends.count((error or {}).get("class")) == 1


def _systematic(requests: Sequence[Path], since: float) -> str | None:
    """The error that struck two jobs of this wave at the same place since it was submitted, while none has worked."""
    seen: dict[tuple[str, str], int] = {}
    stages = {request.parent.parent.name for request in requests}
    for request in requests:
        folder = request.parent
        store = Store(request.parents[3])
        if store.is_done(folder.parent.name, folder.name):
            return None
        error = store.failure(folder.parent.name, folder.name) or {}
        if error.get("where") and error["time"] > since and classify(error).name == "bug" and len(stages) == 1:
            same = (error["class"], error["where"])
            seen[same] = seen.get(same, 0) + 1
            if seen[same] == 2:
                return f"{error['class']} at {error['where']}"
    return None


if __name__ == "__main__":
    sys.exit(run_task(Path(sys.argv[1]), int(sys.argv[2])))
